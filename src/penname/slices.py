"""Slices: lines that share something that may make them hard to read, in their text or their look.

What a picture looks like is measured on its pieces of ink, which touch along sides or corners.
Sizes are in pixels of the picture as it came. They are cheap estimates; docs/log.md says how often
a printed label is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from penname.alphabet import without_accents
from penname.writing import stroke_width

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penname.line_image import Grey

LENGTHS = {"1-4": 4, "5-8": 8, "9-12": 12, "13+": 1 << 62}  # name: longest reference
SIGNS: dict[str, Callable[[str], bool]] = {
    "accent": lambda text: without_accents(text) != text,
    "apostrophe": lambda text: "'" in text or "\u2019" in text,
    "digit": lambda text: any(c.isdigit() for c in text),
    "hyphen": lambda text: "-" in text,
    "space": lambda text: " " in text,
    "lower case": lambda text: text != text.upper(),
    "none of these": lambda text: text.isalpha() and text == without_accents(text).upper(),
}
SIZES = {
    "stroke": "stroke width",
    "contrast": "contrast",
    "width": "picture width",
    "height": "picture height",
}
PRINTED = (7, 13)  # pixels, height of printed letters
FAINT = 12  # grey levels from paper that are not ink
FEW = 4  # different sizes that are slices of their own; more are cut into thirds

Members = dict[str, list[int]]  # what lines share -> which lines


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture looks like.

    `contrast` is how much darker ink is than paper, of 255, and `stroke` the mean width of
    strokes; a printed label counts for neither.
    """

    width: int
    height: int
    contrast: float
    stroke: float
    printed_label: bool


def by_text(references: Sequence[str]) -> dict[str, Members]:
    """Return the slices by reference text; a line is in one slice for each of its letters."""
    letters = [set(without_accents(text).upper()) for text in references]
    every = sorted(c for c in set().union(*letters) if c.isalpha())
    return {
        "length": _chosen(LENGTHS, [_length(text) for text in references]),
        "letter": {c: [i for i, held in enumerate(letters) if c in held] for c in every},
        "signs": {
            name: [i for i, text in enumerate(references) if holds(text)]
            for name, holds in SIGNS.items()
        },
    }


def by_look(looks: Sequence[Look | None]) -> dict[str, Members]:
    """Return the slices by the look of the pictures, those without one left out."""
    printed = ["" if look is None else "yes" if look.printed_label else "no" for look in looks]
    slices = {"printed label": by_value(printed)}
    for field, name in SIZES.items():
        sizes = [None if look is None else float(getattr(look, field)) for look in looks]
        slices[name] = _by_size(sizes, digits=1 if field == "stroke" else 0)
    return slices


def by_value(values: Sequence[str]) -> Members:
    """Return the lines by a value they have; an empty one makes no slice."""
    return _chosen(sorted(set(values) - {""}), values)


def _chosen(order: Sequence[str] | dict[str, int], values: Sequence[str]) -> Members:
    return {name: [i for i, value in enumerate(values) if value == name] for name in order}


def _length(text: str) -> str:
    return next(name for name, most in LENGTHS.items() if len(text) <= most)


def _by_size(sizes: Sequence[float | None], digits: int) -> Members:
    """Return the lines by size: each size where there are few, else the three thirds."""
    known = np.array([size for size in sizes if size is not None])
    if len(different := np.unique(known)) <= FEW:
        names = ["" if size is None else f"{size:.{digits}f}" for size in sizes]
        return _chosen([f"{size:.{digits}f}" for size in different], names)
    low, high = np.round(np.quantile(known, [1 / 3, 2 / 3]), digits)
    edges = [f"{edge:.{digits}f}" for edge in (low, high)]
    names = [f"up to {edges[0]}", f"{edges[0]} to {edges[1]}", f"over {edges[1]}"]
    third = ["" if size is None else names[int(size > low) + int(size > high)] for size in sizes]
    return _chosen(names, third)


def look(grey: Grey) -> Look | None:
    """Return what a picture (h, w) looks like; nothing when it holds no ink."""
    away = np.abs(grey - np.median(grey))
    ink = away > max(float(away.max()) / 2, FAINT)
    if not ink.any():
        return None
    piece, rows, starts, ends = pieces(ink)
    printed = _printed(piece, rows, starts, ends)
    for run in np.flatnonzero(printed[piece]):
        ink[rows[run], starts[run] : ends[run]] = False
    return Look(
        width=grey.shape[1],
        height=grey.shape[0],
        contrast=float(away[ink].mean()) if ink.any() else 0.0,
        stroke=stroke_width(ink),
        printed_label=bool(printed.any()),
    )


def _printed(
    piece: np.ndarray, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Return which pieces are letters of a printed label: (P,) bool.

    Print stands in a row: a letter has another close to its left and one close to its right, and
    the heads and the feet of all three are level.
    """
    count = int(piece.max()) + 1
    top, left = np.full((2, count), 1 << 30)
    bottom, right = np.zeros((2, count), dtype=int)
    np.minimum.at(top, piece, rows)
    np.maximum.at(bottom, piece, rows + 1)
    np.minimum.at(left, piece, starts)
    np.maximum.at(right, piece, ends)
    likely = np.flatnonzero((bottom - top >= PRINTED[0] - 2) & (bottom - top <= PRINTED[1] + 2))
    top, bottom, left, right = (edge[likely] for edge in (top, bottom, left, right))
    height = bottom - top
    wide = int(right.max(initial=0)) + PRINTED[1]  # so that no row of places reaches the next
    places = top * wide + left
    order = np.argsort(places, kind="stable")
    places = places[order]
    found = []
    for away in (-1, 0, 1):  # rows between the heads of the two
        ends = (top + away) * wide + right
        after = np.searchsorted(places, ends + PRINTED[1] // 4, "right")
        found.append(_pairs(np.searchsorted(places, ends, "left"), after))
    one, place = np.concatenate(found, axis=1)
    other = order[place]  # (M,), to the right of `one`
    near = abs(bottom[one] - bottom[other]) <= 1
    near &= left[other] - right[one] <= height[other] / 4
    near &= (height[other] >= PRINTED[0]) & (height[other] <= PRINTED[1])
    one, other = one[near], other[near]
    middle = np.intersect1d(one, other)
    near = np.isin(one, middle) | np.isin(other, middle)
    printed = np.zeros(count, dtype=bool)
    printed[likely[one[near]]] = printed[likely[other[near]]] = True
    return printed


def _pairs(first: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each i with each number from first[i] up to after[i]: two arrays (M,)."""
    count = np.maximum(after - first, 0)
    low = np.repeat(np.arange(len(first)), count)
    return low, np.arange(count.sum()) - np.repeat(count.cumsum() - count - first, count)


def pieces(ink: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the piece, row, start and end of each run of ink in a row: four arrays (R,)."""
    width = ink.shape[1] + 2
    steps = np.diff(np.pad(ink, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    first = np.searchsorted(rows * width + ends, (rows - 1) * width + starts, "left")
    after = np.searchsorted(rows * width + starts, (rows - 1) * width + ends, "right")
    low, high = _pairs(first, after)
    piece = np.arange(len(rows))
    while True:
        merged = piece.copy()
        np.minimum.at(merged, low, piece[high])
        np.minimum.at(merged, high, piece[low])
        merged = merged[merged]
        if (merged == piece).all():
            return np.unique(piece, return_inverse=True)[1], rows, starts, ends
        piece = merged
