"""Alphabet: the ordered characters a model can write, and text <-> labels.

Label 0 is the CTC blank (`BLANK`), so character number i has label i + 1. Text is NFC everywhere.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from penname.errors import AlphabetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BLANK = 0
TYPOGRAPHIC = dict.fromkeys("’‘`´", "'") | dict.fromkeys("‐‑‒–—", "-")
LIGATURES = str.maketrans(
    {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


@lru_cache(maxsize=1 << 16)  # a line's text is asked for some eight times, and names come again
def nfc(text: str) -> str:
    """Return `text` in Unicode normalisation form C, with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def without_accents(text: str) -> str:
    """Return `text` without combining marks: É is E, ç is c; ø and œ are letters and stay."""
    letters = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in letters if not unicodedata.combining(c)))


@dataclass(frozen=True)
class Alphabet:
    """Ordered characters, each one code point and as NFC writes it; the only white space is ` `.

    >>> names = Alphabet("AB")
    >>> names.encode("ABBA").tolist()
    [1, 2, 2, 1]
    >>> names.decode([2, 1])
    'BA'

    Raises:
        AlphabetError: when empty, when a character comes twice, or is never one in a text.
    """

    characters: str

    def __post_init__(self) -> None:
        repeated = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if repeated:
            raise AlphabetError(f"alphabet has {repeated} more than once")
        if not self.characters:
            raise AlphabetError("alphabet is empty; give at least one character")
        if never := [c for c in self.characters if c != " " and nfc(c) != c]:
            raise AlphabetError(f"alphabet has {never}, which no text has: texts are NFC")

    @classmethod
    def given(cls, characters: str) -> Alphabet:
        """Return the alphabet of characters that a person wrote, in NFC or not."""
        return cls(unicodedata.normalize("NFC", characters))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Alphabet:
        """Return the alphabet of all characters in `texts`, in code point order."""
        return cls("".join(sorted(set().union(*(set(nfc(text)) for text in texts)))))

    def __len__(self) -> int:
        """Return the number of characters, the blank not counted."""
        return len(self.characters)

    @property
    def classes(self) -> int:
        """Number of network outputs: the characters and the blank."""
        return len(self.characters) + 1

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {character: i + 1 for i, character in enumerate(self.characters)}

    def missing(self, text: str) -> str:
        """Return the distinct characters of `text` that the alphabet lacks, in order."""
        characters = nfc(text)
        if self._labels.keys() >= set(characters):  # nearly always, and at once
            return ""
        return "".join(dict.fromkeys(c for c in characters if c not in self._labels))

    def encode(self, text: str) -> np.ndarray:
        """Return the labels of `text`: int32 (L,).

        Raises:
            AlphabetError: for characters that are not in the alphabet.
        """
        if missing := self.missing(text):
            raise AlphabetError(f"text {text!r} has {missing!r}, which the alphabet lacks")
        return np.array([self._labels[c] for c in nfc(text)], dtype=np.int32)

    def decode(self, labels: Sequence[int] | np.ndarray) -> str:
        """Return the text of `labels`; blanks must have been removed."""
        return "".join(self.characters[int(label) - 1] for label in labels)

    def merge(self, other: Alphabet) -> Alphabet:
        """Return this alphabet with the characters that only `other` has at its end.

        Every character of this one keeps its label, so a model's trained outputs stay valid.
        """
        return Alphabet(
            self.characters + "".join(c for c in other.characters if c not in self._labels)
        )
