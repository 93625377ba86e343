"""Strokes: names drawn with a pen along recorded movements (UNIPEN), one writer at a time."""

from __future__ import annotations

from itertools import pairwise
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
    stamped,
)
from penname.synthesis.texts import NAMES

if TYPE_CHECKING:
    from pathlib import Path

UNITS = 200.0  # height of a recorded character or word
FEWEST = 18  # capitals a writer must have to compose names


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

    def lines(self, row: int) -> list[Polyline]:
        """Return the polylines (n, 2) of one row, y down, about `UNITS` high."""
        ends = self._lines[self._rows[row] : self._rows[row + 1] + 1] // 2
        pairs = pairwise(ends)
        return [self._points[start:end] for start, end in pairs if end > start]


class Strokes:
    """Writers whose single characters were recorded."""

    def __init__(self, path: Path) -> None:
        """Read single characters; writers with fewer than `FEWEST` capitals are left out."""
        self._recordings = Recordings(path)
        self._hands: list[dict[str, list[int]]] = []
        self._digits: dict[str, list[int]] = {}
        hands: dict[str, dict[str, list[int]]] = {}
        rows = zip(self._recordings.texts, self._recordings.writers, strict=True)
        for row, (text, writer) in enumerate(rows):
            hands.setdefault(writer, {}).setdefault(text, []).append(row)
            self._digits.setdefault(text, []).append(row)
        self._hands = [h for h in hands.values() if sum("A" <= c <= "Z" for c in h) >= FEWEST]
        if not self._hands:
            raise GroundTruthError(f"{path}: no writer has {FEWEST} different capitals")

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters in the hand of one recorded writer."""
        own = self._hands[rng.integers(len(self._hands))]
        letters = [self._letter(parts(c)[0], own, hand, rng) for c in drawn]
        widths = np.array([width for _, width in letters])
        left, width = places(widths, hand, max_width, rng)
        wobble = rng.normal(0, hand.wobble * hand.cap, len(drawn))
        lines: list[Polyline] = []
        for i, character in enumerate(drawn):
            letter, accents = parts(character)
            move = np.array([left[i], wobble[i] + hand.turn * left[i]], np.float32)
            lines += [line + move for line in letters[i][0]]
            for mark in accents + (letter if letter in MARKS else ""):
                centre = left[i] + (0.0 if mark == letter else widths[i] / 2)
                lines += marks_of(mark, centre, hand)
        return _penned(lines, width, hand, rng)

    def _letter(
        self, letter: str, own: dict[str, list[int]], hand: Hand, rng: np.random.Generator
    ) -> tuple[list[Polyline], float]:
        """Return polylines on the canvas with x from 0, and the width."""
        rows = own.get(letter) or self._digits.get(letter) or self._digits.get(letter.upper())
        if rows is None:
            return [], (0.55 if letter == " " else 0.4) * hand.cap
        lines = self._recordings.lines(rows[rng.integers(len(rows))])
        over, below = heights(letter)
        size = np.clip(1 + rng.normal(0, hand.sizes), 0.75, 1.3)
        scale = (over + below) * hand.cap / UNITS * size
        stretch = float(rng.uniform(0.85, 1.15))
        lean = hand.slant * 0.6 + rng.normal(0, 0.04)
        foot = base_row(hand.cap) + below * hand.cap
        placed = [_leaned(line, scale, stretch, lean, foot) for line in lines]
        low = min(float(line[:, 0].min()) for line in placed)
        high = max(float(line[:, 0].max()) for line in placed)
        if high - low > 1.6 * hand.cap:  # a slip of the recording, or far too wide to read
            squeeze = np.array([1.6 * hand.cap / (high - low), 1.0], np.float32)
            placed = [line * squeeze for line in placed]
            low, high = low * squeeze[0], high * squeeze[0]
        start = np.array([low, 0.0], np.float32)
        return [line - start for line in placed], high - low


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
        lines = self._recordings.lines(row)
        scale = (over + tails) * hand.cap / UNITS
        wide = max(float(line[:, 0].max()) for line in lines) * scale
        stretch = min(rng.uniform(0.9, 1.15), max_width / max(wide, 1.0))
        foot = base_row(hand.cap) + tails * hand.cap
        placed = [_leaned(line, scale, stretch, hand.slant * 0.5, foot) for line in lines]
        low = min(float(line[:, 0].min()) for line in placed) - 2
        high = max(float(line[:, 0].max()) for line in placed)
        placed = [line - np.array([low, 0.0], np.float32) for line in placed]
        return _penned(placed, int(high - low) + 3, hand, rng), text.upper()


def _usable(text: str) -> bool:
    return 1 < len(text) <= 14 and not NAMES.missing(text.upper())


def _leaned(line: Polyline, scale: float, stretch: float, lean: float, foot: float) -> Polyline:
    """Return a recorded line in half pixels, its lowest units on row `foot`."""
    y = (line[:, 1] - UNITS) * scale
    x = line[:, 0] * (scale * stretch) - lean * y
    return np.stack((x, y + foot), axis=1)


def _penned(lines: list[Polyline], width: int, hand: Hand, rng: np.random.Generator) -> Ink:
    ink = np.zeros((canvas_height(hand.cap), width + 2), np.uint8)
    if lines:
        wide = hand.thickness * (1 + rng.normal(0, 0.12, len(lines)))
        stamped(ink, lines, np.maximum(wide, 1.6))
    return ink
