"""Fingerprint: a line image made very small, and which pictures are nearly the same.

Two prints are compared by correlation, so paper and contrast do not count. Measured on names
(docs/log.md): no two different crops reach `NEAR`, though they share printed words; nine in ten of
those compressed again or with noise do, and most of those scaled or cut otherwise do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penname.line_image import Grey

ROWS, COLUMNS = 16, 96
NEAR = 0.98  # correlation from which two pictures are nearly the same
BLOCK = 1024  # prints compared at once with as many; 20 MB


def fingerprint(line: Grey) -> np.ndarray:
    """Return the ink of a line image (H, w) in 16 x 96 cells: (1536,) uint8, 0 is paper."""
    ink = 255.0 - line
    return np.round(_means(_means(ink, ROWS).T, COLUMNS).T).astype(np.uint8).ravel()


def near_pairs(prints: np.ndarray, parts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs i < j of nearly equal fingerprints (N, 1536) that lie in different parts."""
    parts_of = np.unique(np.array(parts, dtype=object).astype(str), return_inverse=True)[1]
    pairs: list[tuple[int, int]] = []
    if len(set(parts)) < 2:
        return pairs
    for start in range(0, len(prints), BLOCK):
        rows = slice(start, start + BLOCK)
        ours = _unit(prints[rows])
        for later in range(start, len(prints), BLOCK):
            columns = slice(later, later + BLOCK)
            near = ours @ _unit(prints[columns]).T >= NEAR
            near &= parts_of[rows, None] != parts_of[columns]
            if start == later:
                near = np.triu(near, 1)
            found = zip(*np.nonzero(near), strict=True)
            pairs += [(start + int(i), later + int(j)) for i, j in found]
    return sorted(pairs)


def _unit(prints: np.ndarray) -> np.ndarray:
    """Return the prints with mean 0 and length 1, so that products are correlations."""
    centred = prints - prints.mean(axis=1, keepdims=True, dtype=np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6))  # an empty picture is like none


def _means(values: np.ndarray, cells: int) -> np.ndarray:
    """Return the means of `cells` equally high runs of rows: (R, C) -> (cells, C), R >= 1."""
    edges = np.linspace(0, len(values), cells + 1)
    whole = np.floor(edges).astype(int)
    below = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    row = np.concatenate([values, values[-1:]])[whole]  # the one that an edge cuts
    sums = np.diff(below[whole] + (edges - whole)[:, None] * row, axis=0)
    return np.asarray(sums * cells / len(values))
