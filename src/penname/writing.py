"""Writing: how large it is in a picture, and where most of it stands.

Scans have any resolution and crops any margin, and a network reads what is about as large as what
it was trained on. So a line image is drawn for its writing, not for the picture's edges alone.
"""

from __future__ import annotations

import math

import numpy as np

ROWS = 0.7  # power of the rows in the size, the rest of the stroke: chosen in docs/log.md
WIDTH = math.pi / 2  # what a stroke's width counts in it
UPRIGHT = 0.8  # share of a column's rows with ink from which it is the side of a box, not writing
FLAT = 3.0  # rows a stroke's width, so counted; a dash or dots have fewer, and are no measure


def writing_size(ink: np.ndarray) -> float:
    """Return how large the writing in a picture is, in pixels; 0 where there is none.

    It is the weighted geometric mean of two lengths that grow with the scale. The rows that
    strokes begin in, counted by how many do ((sum q)^2 / sum q^2), change little with cut pieces
    of other lines, which deceive the height of the ink; the width of a stroke is that of any part
    of it. The sides of a box are left out.

    Args:
        ink: where there is ink (h, w) bool.
    """
    upright = ink.sum(axis=0, dtype=np.uint32) >= UPRIGHT * len(ink)
    if upright.any():  # few pictures have any, and to choose columns takes as long as all the rest
        ink = ink[:, ~upright]
    begun = _begun(ink)  # (h,)
    if not begun.any():
        return 0.0
    stroke = WIDTH * _stroke_width(ink, begun)
    rows = float(begun.sum()) ** 2 / float(np.square(begun, dtype=np.float64).sum())
    return float(stroke ** (1 - ROWS) * rows**ROWS) if rows >= FLAT * stroke else 0.0


def stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of strokes in pixels, from their area and edges; 0 where there is none.

    A stroke much longer than wide, in any direction, has 4 / pi edges a pixel of length on the
    sides where it begins.

    Args:
        ink: where there is ink (h, w) bool.
    """
    return _stroke_width(ink, _begun(ink))


def _stroke_width(ink: np.ndarray, begun: np.ndarray) -> float:
    edges = int(begun.sum()) + np.count_nonzero(ink[1:] > ink[:-1]) + np.count_nonzero(ink[0])
    return float(np.count_nonzero(ink)) * 4 / math.pi / max(int(edges), 1)


def densest_rows(ink: np.ndarray, count: int) -> slice:
    """Return the `count` rows of ink (h, w) bool, or all where there are fewer, with most strokes.

    Where several are as good, as with blank rows around, it is the one in the middle of them.
    """
    if len(ink) <= count:
        return slice(0, len(ink))
    until = np.concatenate([[0], _begun(ink).cumsum()])  # (h + 1,)
    within = until[count:] - until[:-count]
    best = np.flatnonzero(within == within.max())
    top = int(best[len(best) // 2])
    return slice(top, top + count)


def _begun(ink: np.ndarray) -> np.ndarray:
    """Return how many strokes begin in each row of ink (h, w) bool: (h,)."""
    starts, flat = np.empty_like(ink, order="C"), ink.ravel()
    np.greater(flat[1:], flat[:-1], out=starts.ravel()[1:])  # half the time of all rows' slices
    starts[:, :1] = ink[:, :1]
    return np.asarray(starts.sum(axis=1, dtype=np.uint32))
