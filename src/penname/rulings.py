"""Rulings: the printed lines and boxes of forms around writing, found in its ink.

A ruling is a straight line of ink, half as long as the picture and twice as long as the picture is
high or longer, or the upper or lower side of a box. It also says how far a scan is turned. What
crosses letter after letter, but at their feet, is no ruling but strikes them out, and stays.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from penname.writing import writing_size

LONG = 2.0  # times the height of the picture, and half of its width, that it is long without a box
THICK = 0.12  # of the height that it is thick at most, or three pixels
STEEP = math.tan(math.radians(3))  # most that it may rise along the picture
POINTS = 20_000  # of the ink that the descent is sought with, at most
BAR = 2  # pixels in a row at the edge of a ruling that are the bar of a letter, not a step
UPRIGHT = 0.95  # of the rows between two rulings that the side of a box fills
STRUCK = 3  # strokes across a line from which it strikes them out
FEET = 0.2  # of the ink beside a line, on its other side, with which writing stands on it
APART = 0.25  # of the height between two rulings; nearer ones strike out, too


def descent(ink: np.ndarray) -> int | None:
    """Return how many rows the rulings descend from the left edge to the right one.

    None where there are none. Of all descents it is the one with the sharpest rows.

    Args:
        ink: where there is ink (h, w) bool.
    """
    full = np.packbits(ink, axis=1) == 0xFF  # eight columns; a twentieth of the time of runs
    if 8 * np.count_nonzero(full.any(axis=0)) < len(ink) / 2:
        return None
    flat = _flat_runs(ink)
    if np.count_nonzero(flat.any(axis=0)) < len(ink):
        return None
    points = np.argwhere(flat)
    points = points[:: 1 + len(points) // POINTS]  # a page of ink has millions
    most = min(round(STEEP * flat.shape[1]), 4 * len(flat))  # steeper ones leave the picture

    def sharp(rows_down: int) -> tuple[int, int]:
        rows = points[:, 0] - _fall(points[:, 1], rows_down, flat.shape[1]) + most
        return int(np.square(np.bincount(rows)).sum()), -abs(rows_down)

    best = max(range(-most, most + 1), key=sharp)
    return best if _level(_turned(flat, best)) else None


def rulings(ink: np.ndarray, rows_down: int, *, boxes_alone: bool = False) -> np.ndarray:
    """Return where rulings and the sides of boxes between them are: (h, w) bool.

    The strokes that cross them are left out, and lines that strike writing out. Their edges, grey
    or with steps where a scan is turned, are part of them.

    Args:
        ink: where there is ink (h, w) bool.
        rows_down: their descent.
        boxes_alone: leave out all but closed boxes, which no writing stands on.
    """
    flat, ink = (_turned(each, rows_down) for each in (_flat_runs(ink), ink))
    found = np.zeros_like(ink)
    lines = _lines(flat, ink, boxes_alone=boxes_alone)
    for rows in lines:
        first, last = _ends(flat, rows)
        across = slice(max(0, first - 2), last + 3)
        above, below = (_wider(side) for side in _beside(ink, rows))
        only = ~(above & below)[across]
        found[rows, across] = only
        for edge, met in ((rows.start - 1, above), (rows.stop, below)):
            if 0 <= edge < len(ink):
                letters = ink[edge] & met | _runs(ink[edge], BAR)
                found[edge, across] = only & ~letters[across]
    for upper, lower in pairwise(lines):
        sides, rows = _sides(ink, upper, lower), slice(upper.start, lower.stop)
        found[rows] |= sides | _wider(sides) & ~ink[rows]
    return _turned(found, -rows_down)


def _turned(ink: np.ndarray, rows_down: int) -> np.ndarray:
    """Return ink (h, w) bool turned so that what descends by `rows_down` rows is level.

    By whole pixels: thin lines would fade between two rows.
    """
    if not rows_down:
        return ink
    height, width = ink.shape
    row, column = np.ogrid[:height, :width]
    rows = row + _fall(column, rows_down, width)
    columns = column - _fall(row + (width - height) // 2, rows_down, width)
    inside = (rows >= 0) & (rows < height)
    return np.asarray(inside & ink[rows.clip(0, height - 1), columns.clip(0, width - 1)])


def _fall(column: np.ndarray, rows_down: int, width: int) -> np.ndarray:
    """Return by how many rows what is level in the middle has descended at a column."""
    return np.asarray(np.floor(rows_down * (column / width - 0.5) + 0.5), dtype=np.int64)


def _flat_runs(ink: np.ndarray) -> np.ndarray:
    """Return the ink (h, w) bool that lies in runs along a row of a third of the height or more."""
    return _runs(ink, max(16, len(ink) // 3))


def _runs(ink: np.ndarray, length: int) -> np.ndarray:
    """Return the ink (..., w) bool that lies in runs of `length` or more."""
    runs, reach = ink.copy(), 1
    while reach < length:  # where runs of `reach` pixels begin
        step = min(reach, length - reach)
        runs[..., :-step] &= runs[..., step:]
        runs[..., -step:] = False
        reach += step
    reach = 1
    while reach < length:  # and from there their first `reach` pixels
        step = min(reach, length - reach)
        runs[..., step:] |= runs[..., :-step].copy()
        reach += step
    return runs


def _lines(flat: np.ndarray, ink: np.ndarray, *, boxes_alone: bool) -> list[slice]:
    """Return the rows of each level line that is a ruling or the side of a closed box."""
    lines = _alone(_level(flat), APART * len(ink))
    strokes = ink.copy()
    for upper, lower in pairwise(lines):  # the columns of a table go on beyond its rows
        strokes &= ~_wider(_sides(ink, upper, lower))
    lines = [rows for rows in lines if not _strikes_out(strokes, rows)]
    boxes = [box for box in pairwise(lines) if _closed(flat, ink, *box)]
    single = [] if boxes_alone else [rows for rows in lines if _long(flat, rows)]
    return [rows for rows in lines if rows in single or any(rows in box for box in boxes)]


def _level(flat: np.ndarray) -> list[slice]:
    """Return the rows of each level line as long as the picture is high, and thin."""
    filled = flat.sum(axis=1) >= len(flat) / 8
    edges = np.flatnonzero(np.diff(filled, prepend=False, append=False))
    return [
        slice(int(top), int(bottom))
        for top, bottom in edges.reshape(-1, 2)
        if bottom - top <= max(3, THICK * len(flat))
        and np.count_nonzero(flat[top:bottom].any(axis=0)) >= len(flat)
    ]


def _ends(flat: np.ndarray, rows: slice) -> tuple[int, int]:
    """Return the first and the last column of a line."""
    columns = np.flatnonzero(flat[rows].any(axis=0))
    return int(columns[0]), int(columns[-1])


def _long(flat: np.ndarray, rows: slice) -> bool:
    """Return whether a line is long enough for a ruling without a box."""
    columns = np.count_nonzero(flat[rows].any(axis=0))
    return bool(columns >= max(LONG * len(flat), flat.shape[1] / 2))


def _sides(ink: np.ndarray, upper: slice, lower: slice) -> np.ndarray:
    """Return the columns where ink stands upright from one line to the next: (w,) bool."""
    return np.asarray(_wider(ink[upper.stop : lower.start]).mean(axis=0) >= UPRIGHT)


def _closed(flat: np.ndarray, ink: np.ndarray, upper: slice, lower: slice) -> bool:
    """Return whether two lines and sides at all their ends are a box."""
    ends = [*_ends(flat, upper), *_ends(flat, lower)]
    return bool(_wider(_sides(ink, upper, lower), 2)[ends].all())


def _alone(lines: list[slice], apart: float) -> list[slice]:
    """Return the lines without another one nearer than that many rows."""
    near = [lower.start - upper.stop < apart for upper, lower in pairwise(lines)]
    both = zip([False, *near], [*near, False], strict=True)
    return [rows for rows, each in zip(lines, both, strict=False) if not any(each)]


def _beside(ink: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return where strokes meet a line from above and from below: (w,) bool each."""
    above, below = rows.start - 2, rows.stop + 1  # the rows next to it may be its own edges
    none = np.zeros(ink.shape[1], dtype=bool)
    return (ink[above] if above >= 0 else none, ink[below] if below < len(ink) else none)


def _wider(ink: np.ndarray, by: int = 1) -> np.ndarray:
    """Return ink (..., w) bool and what is at most `by` pixels beside it."""
    wider = ink.copy()
    for step in range(1, by + 1):
        wider[..., step:] |= ink[..., :-step]
        wider[..., :-step] |= ink[..., step:]
    return wider


def _strikes_out(ink: np.ndarray, rows: slice) -> bool:
    """Return whether a line goes through writing, as several strokes, slanted ones too, cross it.

    Writing that only reaches a little across it stands on it.
    """
    above, below = _beside(ink, rows)
    crossing = np.diff(above & _wider(below, 3), prepend=False, append=False)
    if np.count_nonzero(crossing) // 2 < STRUCK:
        return False
    size = max(1, round(writing_size(ink)))
    over = np.count_nonzero(ink[max(0, rows.start - 1 - size) : max(0, rows.start - 1)])
    under = np.count_nonzero(ink[rows.stop + 1 : rows.stop + 1 + size])
    return bool(min(over, under) >= FEET * (over + under))
