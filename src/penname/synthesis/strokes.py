"""Strokes: names drawn with a pen along recorded movements (UNIPEN), one writer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from penname.errors import GroundTruthError
from penname.synthesis.ink import (
    Hand,
    Ink,
    Polyline,
    base_row,
    canvas_height,
    places,
    stamped_points,
)
from penname.synthesis.marks import (
    ASCENDERS,
    DESCENDERS,
    PUNCTUATION,
    heights,
    mark_width,
    marks_of,
    parts,
    spelled,
    writable,
)
from penname.synthesis.texts import NAMES

if TYPE_CHECKING:
    from pathlib import Path

UNITS = 200.0  # height of a recorded character or word
FEWEST = 18  # capitals a writer must have to compose names
THINNEST = 1.8  # half pixels
NARROWEST = 12.0  # half pixels a letter of a word; less leaves CTC no frame for it
LATIN_WORD = frozenset(map(chr, range(33, 127))) - set("|^{}~`@<>")
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

    def sound(self, row: int) -> bool:
        """Return whether a word is as wide as one line of so many letters can be."""
        points, letters = self.row(row)[0], len(self.texts[row])
        if not len(points):
            return False
        return letters < 3 or 25 * letters < float(points[:, 0].max()) < 300 * letters


class Strokes:
    """Writers whose single characters were recorded."""

    def __init__(self, path: Path) -> None:
        """Read single characters; writers with fewer than `FEWEST` capitals are left out."""
        self._recordings = Recordings(path)
        self._anyone: dict[str, list[int]] = {}
        hands: dict[str, dict[str, list[int]]] = {}
        rows = zip(self._recordings.texts, self._recordings.writers, strict=True)
        for row, (text, writer) in enumerate(rows):
            hands.setdefault(writer, {}).setdefault(text, []).append(row)
            self._anyone.setdefault(text, []).append(row)
        self._hands = [h for h in hands.values() if sum("A" <= c <= "Z" for c in h) >= FEWEST]
        if not self._hands:
            raise GroundTruthError(f"{path}: no writer has {FEWEST} different capitals")

    def can_write(self, text: str) -> bool:
        """Return whether recorded letters and pen-drawn marks suffice."""
        return writable(text)

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters in the hand of one recorded writer."""
        drawn = spelled(drawn)
        own = self._owner(drawn, rng)
        letters = [self._letter(parts(c)[0], own, hand, rng) for c in drawn]
        widths = np.array([width for _, _, width in letters])
        left, width = places(widths, hand, max_width, rng)
        wobble = rng.normal(0, hand.wobble * hand.cap, len(drawn)) + hand.turn * left
        points: list[Polyline] = []
        lengths: list[int] = []
        before: Polyline | None = None  # where the pen left the letter before, if joined
        for i, character in enumerate(drawn):
            letter, accents = parts(character)
            shift = np.array([left[i], wobble[i]], np.float32)
            placed, base = letters[i][0] + shift, base_row(hand.cap) + wobble[i]
            lines = [placed] if len(placed) else []
            lengths += letters[i][1].tolist()
            joins = hand.joined and letter.islower() and len(placed) > 0
            if joins and before is not None:
                lines.append(_link(before, placed[0]))
                lengths.append(len(lines[-1]))
            before = placed[letters[i][1][0] - 1] if joins else None
            over, marks = heights(letter)[0], []
            if letter in PUNCTUATION:
                marks += marks_of(letter, left[i], base, hand)
            for accent in accents:
                marks += marks_of(accent, left[i] + widths[i] / 2, base, hand, over)
            points += lines + marks
            lengths += [len(mark) for mark in marks]
        if not points:
            return np.zeros((canvas_height(hand.cap), width + 2), np.uint8)
        return _penned(np.concatenate(points), np.array(lengths), width, hand, rng)

    def _owner(self, drawn: str, rng: np.random.Generator) -> dict[str, list[int]]:
        """Return a writer; for lower case, of three the one who recorded most of it."""
        tries = 1 if drawn.upper() == drawn else 3
        hands = [self._hands[int(i)] for i in rng.integers(0, len(self._hands), tries)]
        return hands[int(np.argmax([len(set(drawn) & hand.keys()) for hand in hands]))]

    def _letter(
        self, letter: str, own: dict[str, list[int]], hand: Hand, rng: np.random.Generator
    ) -> tuple[Polyline, np.ndarray, float]:
        """Return points on the canvas with x from 0, the lengths of the lines, and the width."""
        rows = own.get(letter) or self._anyone.get(letter) or self._anyone.get(letter.upper())
        if rows is None:
            wide = mark_width(letter) if letter in PUNCTUATION else hand.space
            gap = wide * hand.cap * (rng.uniform(0.7, 1.3) if letter == " " else 1.0)
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
        self._by: dict[str, list[int]] = {}  # words of each writer
        for i, text in enumerate(self._recordings.texts):
            if text and LATIN_WORD.issuperset(text) and self._recordings.sound(i):
                self._by.setdefault(self._recordings.writers[i], []).append(i)
        self._writers = list(self._by)

    def write(self, hand: Hand, max_width: int, rng: np.random.Generator) -> tuple[Ink, str]:
        """Return the ink of one recorded word and its text in capitals."""
        rows = self._capitals if rng.random() < 0.5 else self._others
        row = rows[rng.integers(len(rows))]
        text = self._recordings.texts[row]
        placed, lengths, width = self._word(row, hand, max_width, rng)
        placed[:, 0] += 2
        return _penned(placed, lengths, width, hand, rng), text.upper()

    def write_line(
        self, length: int, hand: Hand, max_width: int, rng: np.random.Generator
    ) -> tuple[Ink, str]:
        """Return the ink and the text of words of one writer, about `length` characters."""
        own = self._by[self._writers[rng.integers(len(self._writers))]]
        rows = rng.permutation(own)[:40]
        points: list[Polyline] = []
        lengths: list[np.ndarray] = []
        text, x = "", 2.0
        for row in rows:
            if points and (len(text) >= length or x > max_width * 0.8):
                break
            placed, ends, width = self._word(row, hand, max_width - round(x), rng)
            placed += np.array([x, rng.normal(0, hand.wobble * hand.cap) + hand.turn * x])
            points.append(placed)
            lengths.append(ends)
            text += f" {self._recordings.texts[row]}" if text else self._recordings.texts[row]
            x += width + hand.cap * hand.space * rng.uniform(0.6, 1.5)
        ink = _penned(np.concatenate(points), np.concatenate(lengths), round(x), hand, rng)
        return ink, text

    def _word(
        self, row: int, hand: Hand, max_width: int, rng: np.random.Generator
    ) -> tuple[Polyline, np.ndarray, int]:
        """Return the points of a word with x from 0 and y on the canvas, lengths and width."""
        text = self._recordings.texts[row]
        over, tails = _reach(text)
        points, lengths = self._recordings.row(row)
        scale = (over + tails) * hand.cap / UNITS
        wide = max(float(points[:, 0].max()) * scale, 1.0)
        stretch = max(rng.uniform(0.9, 1.15), NARROWEST * len(text) / wide)
        stretch = min(stretch, max_width / wide)
        foot = base_row(hand.cap) + tails * hand.cap
        placed = _leaned(points, scale, stretch, hand.slant * 0.5, foot)
        placed[:, 0] -= placed[:, 0].min()
        return placed, lengths, int(placed[:, 0].max()) + 3


def _reach(text: str) -> tuple[float, float]:
    """Return how far a recorded word reaches over and under its baseline, in caps."""
    if all(c in ".,_;" for c in text):
        return 0.1, 0.15 if text != "." else 0.0
    if text in "-–=+":
        return 0.5, -0.4
    tall = any(c in ASCENDERS or not c.islower() for c in text.strip(".,;-"))
    over = 1.05 if tall else 0.68
    return over, 0.35 if any(c in DESCENDERS for c in text) else (0.15 if text[-1] in ",;" else 0.0)


def _link(start: Polyline, end: Polyline) -> Polyline:
    """Return a curve (5, 2) from one letter's end to the next one's start, sagging a little."""
    t = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    sag = np.array([0.0, 0.15 * abs(float(end[1] - start[1]))], np.float32)
    return np.asarray(start + (end - start) * t + sag * (4 * t * (1 - t)), np.float32)


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
        wide = np.repeat(hand.thickness * (1 + rng.normal(0, 0.12, len(lengths))), lengths)
        if hand.flex:
            wide *= 1 - 0.25 * hand.flex + hand.flex * _downward(points)
        stamped_points(ink, points, lengths, np.maximum(wide, THINNEST))
    return ink


def _downward(points: Polyline) -> np.ndarray:
    """Return how much the pen goes down at each point, 0 to 1, smoothly."""
    step = np.diff(points, axis=0, append=points[-1:])
    down = np.clip(step[:, 1] / np.maximum(np.hypot(step[:, 0], step[:, 1]), 0.1), 0, 1)
    return np.convolve(down, np.full(5, 0.2), "same") if len(down) > 5 else down
