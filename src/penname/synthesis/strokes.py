"""Strokes: names drawn with a pen along recorded movements (UNIPEN), one writer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from penname.errors import GroundTruthError
from penname.synthesis.glyphs import heights
from penname.synthesis.ink import (
    MARKS,
    Hand,
    Ink,
    Polyline,
    base_row,
    canvas_height,
    marks_of,
    parts,
    places,
    stamped_points,
)
from penname.synthesis.texts import NAMES

if TYPE_CHECKING:
    from pathlib import Path

UNITS = 200.0  # height of a recorded character or word
FEWEST = 18  # capitals a writer must have to compose names
THINNEST = 1.8  # half pixels
NARROWEST = 12.0  # half pixels a letter of a word; less leaves CTC no frame for it
WIDEST = 1.5  # of a letter, in capital heights


class Recordings:
    """Pen strokes of a table, flat: row -> lines -> points."""

    def __init__(self, path: Path) -> None:
        """Read the columns text, writer and strokes of a Parquet file.

        Raises:
            GroundTruthError: when it is missing or has other columns.
        """
        try:
            table = pq.read_table(path, columns=["text", "writer", "strokes"])
        except (OSError, pa.ArrowException) as error:
            raise GroundTruthError(f"{path}: cannot read the strokes ({error})") from None
        self.texts: list[str] = table["text"].to_pylist()
        self.writers: list[str] = table["writer"].to_pylist()
        lines = table["strokes"].combine_chunks()
        self._rows = lines.offsets.to_numpy()
        self._lines = lines.values.offsets.to_numpy()
        self._points = lines.values.values.to_numpy().astype(np.float32).reshape(-1, 2)

    def row(self, row: int) -> tuple[Polyline, np.ndarray]:
        """Return the points (n, 2) of one row, y down, about `UNITS` high, and of each line."""
        ends = self._lines[self._rows[row] : self._rows[row + 1] + 1] // 2
        return self._points[ends[0] : ends[-1]], np.diff(ends)


class Strokes:
    """Writers whose single characters were recorded."""

    def __init__(self, path: Path) -> None:
        """Read single characters; writers with fewer than `FEWEST` capitals are left out."""
        self._recordings = Recordings(path)
        self._hands: list[dict[str, list[int]]] = []
        self._anyone: dict[str, list[int]] = {}
        hands: dict[str, dict[str, list[int]]] = {}
        rows = zip(self._recordings.texts, self._recordings.writers, strict=True)
        for row, (text, writer) in enumerate(rows):
            hands.setdefault(writer, {}).setdefault(text, []).append(row)
            self._anyone.setdefault(text, []).append(row)
        self._hands = [h for h in hands.values() if sum("A" <= c <= "Z" for c in h) >= FEWEST]
        if not self._hands:
            raise GroundTruthError(f"{path}: no writer has {FEWEST} different capitals")

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters in the hand of one recorded writer."""
        own = self._hands[rng.integers(len(self._hands))]
        letters = [self._letter(parts(c)[0], own, hand, rng) for c in drawn]
        widths = np.array([width for _, _, width in letters])
        left, width = places(widths, hand, max_width, rng)
        wobble = rng.normal(0, hand.wobble * hand.cap, len(drawn)) + hand.turn * left
        points: list[Polyline] = []
        lengths: list[np.ndarray] = []
        for i, character in enumerate(drawn):
            letter, accents = parts(character)
            points.append(letters[i][0] + np.array([left[i], wobble[i]], np.float32))
            lengths.append(letters[i][1])
            for mark in accents + (letter if letter in MARKS else ""):
                centre = left[i] + (0.0 if mark == letter else widths[i] / 2)
                lines = marks_of(mark, centre, hand)
                points += lines
                lengths += [np.array([len(line)]) for line in lines]
        return _penned(np.concatenate(points), np.concatenate(lengths), width, hand, rng)

    def _letter(
        self, letter: str, own: dict[str, list[int]], hand: Hand, rng: np.random.Generator
    ) -> tuple[Polyline, np.ndarray, float]:
        """Return points on the canvas with x from 0, the lengths of the lines, and the width."""
        rows = own.get(letter) or self._anyone.get(letter) or self._anyone.get(letter.upper())
        if rows is None:
            gap = (0.55 if letter == " " else 0.4) * hand.cap
            return np.zeros((0, 2), np.float32), np.zeros(0, np.intp), gap
        points, lengths = self._recordings.row(rows[rng.integers(len(rows))])
        over, below = heights(letter)
        u = rng.normal(0, 1, 3)
        size = min(max(1 + u[0] * hand.sizes, 0.75), 1.3)
        scale = (over + below) * hand.cap / UNITS * size
        lean = hand.slant * 0.6 + u[1] * 0.04
        foot = base_row(hand.cap) + below * hand.cap
        placed = _leaned(points, scale, 1 + u[2] * 0.08, lean, foot)
        x = placed[:, 0]
        x -= x.min()
        width = float(x.max())
        if width > WIDEST * hand.cap:  # a slip of the recording, or far too wide to read
            x *= WIDEST * hand.cap / width
            width = WIDEST * hand.cap
        return placed, lengths, width


class Words:
    """Whole words as they were written; they bring their own text."""

    def __init__(self, path: Path) -> None:
        """Read words; those that the alphabet cannot write are left out."""
        self._recordings = Recordings(path)
        rows = [(i, t) for i, t in enumerate(self._recordings.texts) if _usable(t)]
        self._capitals = [i for i, text in rows if text == text.upper()]
        self._others = [i for i, text in rows if text != text.upper()] or self._capitals
        self._capitals = self._capitals or self._others
        if not rows:
            raise GroundTruthError(f"{path}: no word made of {NAMES.characters!r}")

    def write(self, hand: Hand, max_width: int, rng: np.random.Generator) -> tuple[Ink, str]:
        """Return the ink of one recorded word and its text in capitals."""
        rows = self._capitals if rng.random() < 0.5 else self._others
        row = rows[rng.integers(len(rows))]
        text = self._recordings.texts[row]
        lower = text != text.upper()
        over = 1.15 if lower else 1.0
        tails = 0.35 if any(c in "gjpqy" for c in text) else 0.0
        points, lengths = self._recordings.row(row)
        scale = (over + tails) * hand.cap / UNITS
        wide = float(points[:, 0].max()) * scale
        wide = max(wide, 1.0)
        stretch = max(rng.uniform(0.9, 1.15), NARROWEST * len(text) / wide)
        stretch = min(stretch, max_width / wide)
        foot = base_row(hand.cap) + tails * hand.cap
        placed = _leaned(points, scale, stretch, hand.slant * 0.5, foot)
        placed[:, 0] -= placed[:, 0].min() - 2
        width = int(placed[:, 0].max()) + 1
        return _penned(placed, lengths, width, hand, rng), text.upper()


def _usable(text: str) -> bool:
    return 1 < len(text) <= 14 and not NAMES.missing(text.upper())


def _leaned(points: Polyline, scale: float, stretch: float, lean: float, foot: float) -> Polyline:
    """Return recorded points in half pixels, their lowest units on row `foot`."""
    placed = np.empty_like(points)
    np.multiply(points[:, 1] - UNITS, scale, out=placed[:, 1])
    np.subtract(points[:, 0] * (scale * stretch), lean * placed[:, 1], out=placed[:, 0])
    placed[:, 1] += foot
    return placed


def _penned(
    points: Polyline, lengths: np.ndarray, width: int, hand: Hand, rng: np.random.Generator
) -> Ink:
    ink = np.zeros((canvas_height(hand.cap), width + 2), np.uint8)
    if len(points):
        wide = hand.thickness * (1 + rng.normal(0, 0.12, len(lengths)))
        stamped_points(ink, points, lengths, np.maximum(wide, THINNEST))
    return ink
