"""Corpus: what synthetic lines say, from a text file, a table of names or a pattern.

A line is a whole line of the file or a stretch of its words as long as some other line, so that
the lengths stay those of the file while the words get new neighbours.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from penname.alphabet import Alphabet, nfc
from penname.errors import GroundTruthError
from penname.lexicon import read_names

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

LATIN = Alphabet(
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz"
    "{|}~£§«°»ÀÂÄÇÈÉÊËÎÏÔÖÙÛÜßàáâäæçèéêëíîïñóôöùúûüŒœȼ–—’€"
)
WHOLE = 0.4  # of the lines are lines of the file as they are
PATTERNS = 0.07  # of the lines are dates, amounts, addresses
LONGER = 0.04  # of the stretches are two to three times as long
LONGEST = 150  # characters
UNDRAWN = set("^|{}~#<>\\`@")  # signs of transcribers, and what hardly any ink has
_MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)
_STREETS = ("rue", "rue", "rue", "Rue", "avenue", "place", "boulevard", "quai", "impasse")


class Corpus:
    """Lines to write: `pick` one."""

    def __init__(self, lines: list[str], weights: np.ndarray | None = None) -> None:
        """Take lines, drawn by weight; without weights each alike, and cut at words."""
        self._lines = lines
        self._sum = None if weights is None else np.cumsum(weights.astype(np.float64))
        self._words = [word for line in lines for word in line.split(" ")]
        self._lengths = np.array([len(line) for line in lines])

    @classmethod
    def load(cls, path: Path, flatten: float, alphabet: Alphabet = LATIN) -> Corpus:
        """Read one line of text a line, or a list of names when the file ends in .csv.

        Raises:
            GroundTruthError: when the text cannot be read or has no line of the alphabet.
            LexiconError: when the list cannot be read.
        """
        is_list = path.suffix.lower() == ".csv"
        if is_list:
            rows = list(read_names(path).items())
        else:
            try:
                rows = [(nfc(line), 1) for line in path.read_text("utf-8-sig").split("\n")]
            except (OSError, ValueError) as error:
                raise GroundTruthError(f"{path}: not text, a line each ({error})") from None
        texts = [(text, count) for text, count in rows if text]
        rows = [(t, n) for t, n in texts if not UNDRAWN & set(t) and not alphabet.missing(t)]
        if not rows:
            raise GroundTruthError(f"{path}: no text made of {alphabet.characters!r}")
        if len(rows) < len(texts):
            logger.warning(
                "%s: %d of %d lines left out, with characters that are not drawn",
                *(path, len(texts) - len(rows), len(texts)),
            )
        counts = np.array([n for _, n in rows], np.float64) ** flatten
        return cls([t for t, _ in rows], counts if is_list else None)

    def pick(self, rng: np.random.Generator) -> str:
        """Return one line of text."""
        u = rng.random()
        if self._sum is not None:
            return self._lines[int(np.searchsorted(self._sum, u * self._sum[-1], "right"))]
        if u < PATTERNS:
            return self._pattern(rng)
        if u < PATTERNS + WHOLE:
            return self._lines[rng.integers(len(self._lines))]
        return self._stretch(self.length(rng), rng)

    def length(self, rng: np.random.Generator) -> int:
        """Return the length of some line, in characters, now and then of one much longer."""
        length = int(self._lengths[rng.integers(len(self._lengths))])
        longer = rng.uniform(2, 3) if rng.random() < LONGER else 1.0
        return min(int(length * longer), LONGEST)

    def _stretch(self, length: int, rng: np.random.Generator) -> str:
        start = int(rng.integers(len(self._words)))
        text = self._words[start]
        for word in self._words[start + 1 : start + 40]:
            if len(text) + 1 + len(word) > length:
                break
            text += f" {word}"
        return text

    def _pattern(self, rng: np.random.Generator) -> str:
        day, year = rng.integers(1, 32), rng.integers(1780, 2025)
        kind = rng.integers(8)
        if kind < 2:
            return f"{day} {_MONTHS[rng.integers(12)]} {year}"
        if kind == 2:
            return f"{day:02d}/{rng.integers(1, 13):02d}/{year}"
        if kind == 3:
            return f"{day}.{rng.integers(1, 13)}.{year}"
        if kind == 4:
            return str(rng.integers(1, 10 ** rng.integers(1, 6)))
        if kind == 5:
            unit = ("€", "f", "fr", "francs", "F")[rng.integers(5)]
            return f"{rng.integers(1, 10000)},{rng.integers(100):02d} {unit}"
        if kind == 6:
            return f"n° {rng.integers(1, 1000)}"
        street = _STREETS[rng.integers(len(_STREETS))]
        return f"{rng.integers(1, 200)} {street} {self._stretch(24, rng)}"
