"""Marks: accents and punctuation as pen strokes, for inks whose source recorded letters alone."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from penname.synthesis.ink import Hand, Polyline

ASCENDERS = "bdfhijklt"
DESCENDERS = "gpqyj"
Shape = tuple[tuple[tuple[float, float], ...], ...]

# In capital heights, (0, 0) on the baseline, y up; x from 0, or around 0 for accents.
ACCENTS: dict[str, Shape] = {
    "\u0300": (((-0.15, 1.38), (0.1, 1.15)),),
    "\u0301": (((0.18, 1.4), (-0.05, 1.15)),),
    "\u0302": (((-0.18, 1.15), (0.0, 1.36), (0.18, 1.15)),),
    "\u0303": (((-0.2, 1.18), (-0.08, 1.28), (0.08, 1.2), (0.2, 1.3)),),
    "\u0308": (((-0.16, 1.24), (-0.15, 1.26)), ((0.16, 1.25), (0.17, 1.26))),
    "\u0327": (((0.0, 0.0), (0.06, -0.14), (-0.08, -0.2)),),
}
_ROUND = ((0.08, 0.95), (0.0, 0.87), (0.08, 0.78), (0.16, 0.87), (0.08, 0.95))
PUNCTUATION: dict[str, Shape] = {
    "-": (((0.0, 0.42), (0.38, 0.45)),),
    "–": (((0.0, 0.42), (0.6, 0.44)),),
    "—": (((0.0, 0.42), (0.9, 0.45)),),
    "_": (((0.0, -0.08), (0.6, -0.06)),),
    "'": (((0.08, 1.05), (0.02, 0.75)),),
    "’": (((0.06, 1.05), (0.1, 0.95), (0.02, 0.75)),),
    '"': (((0.05, 1.05), (0.02, 0.78)), ((0.24, 1.07), (0.21, 0.8))),
    ".": (((0.0, 0.03), (0.04, 0.05)),),
    ",": (((0.07, 0.06), (0.08, -0.05), (0.0, -0.2)),),
    ":": (((0.0, 0.05), (0.03, 0.06)), ((0.04, 0.5), (0.07, 0.52))),
    ";": (((0.07, 0.06), (0.08, -0.05), (0.0, -0.2)), ((0.06, 0.5), (0.09, 0.52))),
    "!": (((0.1, 1.05), (0.05, 0.3)), ((0.0, 0.04), (0.03, 0.06))),
    "?": (
        ((0.0, 0.85), (0.15, 1.05), (0.36, 0.9), (0.3, 0.65), (0.16, 0.5), (0.16, 0.28)),
        ((0.15, 0.04), (0.18, 0.06)),
    ),
    "(": (((0.22, 1.12), (0.05, 0.8), (0.0, 0.4), (0.06, 0.05), (0.2, -0.22)),),
    ")": (((0.0, 1.12), (0.17, 0.8), (0.22, 0.4), (0.16, 0.05), (0.02, -0.22)),),
    "[": (((0.2, 1.1), (0.0, 1.1), (0.0, -0.15), (0.2, -0.15)),),
    "]": (((0.0, 1.1), (0.2, 1.1), (0.2, -0.15), (0.0, -0.15)),),
    "/": (((0.0, -0.15), (0.42, 1.12)),),
    "«": (((0.2, 0.6), (0.0, 0.4), (0.2, 0.2)), ((0.42, 0.6), (0.22, 0.4), (0.42, 0.2))),
    "»": (((0.0, 0.6), (0.2, 0.4), (0.0, 0.2)), ((0.22, 0.6), (0.42, 0.4), (0.22, 0.2))),
    "°": (_ROUND,),
    "+": (((0.0, 0.42), (0.5, 0.44)), ((0.25, 0.68), (0.24, 0.16))),
    "=": (((0.0, 0.52), (0.48, 0.54)), ((0.0, 0.28), (0.48, 0.3))),
    "*": (((0.0, 0.6), (0.36, 0.9)), ((0.02, 0.92), (0.34, 0.58)), ((0.18, 1.0), (0.18, 0.5))),
    "%": (((0.0, -0.05), (0.5, 1.05)), _ROUND, tuple((x + 0.4, y - 0.75) for x, y in _ROUND)),
    "€": (
        ((0.58, 0.88), (0.38, 1.0), (0.16, 0.8), (0.12, 0.4), (0.25, 0.06), (0.56, 0.1)),
        ((0.0, 0.6), (0.45, 0.63)),
        ((0.0, 0.38), (0.42, 0.41)),
    ),
    "&": (
        (
            *((0.62, 0.0), (0.14, 0.72), (0.2, 0.98), (0.4, 0.95), (0.38, 0.72)),
            *((0.04, 0.36), (0.06, 0.06), (0.3, 0.0), (0.6, 0.38)),
        ),
    ),
    "ß": (
        (
            *((0.0, -0.2), (0.08, 0.6), (0.16, 0.98), (0.34, 1.02), (0.42, 0.84), (0.22, 0.58)),
            *((0.44, 0.4), (0.46, 0.14), (0.28, 0.0), (0.14, 0.08)),
        ),
    ),
}
MARKS = ACCENTS | PUNCTUATION
LIGATURES = {"œ": "oe", "æ": "ae", "Œ": "OE", "Æ": "AE"}  # two letters, one text character


def parts(character: str) -> tuple[str, str]:
    """Return a drawn character's letter and its combining accents: 'É' is 'E' and U+0301."""
    decomposed = unicodedata.normalize("NFD", character)
    return decomposed[0], "".join(c for c in decomposed[1:] if c in ACCENTS)


def spelled(text: str) -> str:
    """Return the characters that are drawn one by one: ligatures are two letters."""
    return "".join(LIGATURES.get(c, c) for c in text)


def writable(text: str) -> bool:
    """Return whether letters A-Z, digits and these marks suffice to draw the text."""
    for character in spelled(text):
        letter, *accents = list(unicodedata.normalize("NFD", character))
        if not (letter in PUNCTUATION or letter == " " or (letter.isascii() and letter.isalnum())):
            return False
        if any(accent not in ACCENTS for accent in accents):
            return False
    return True


def heights(letter: str) -> tuple[float, float]:
    """Return how far a letter reaches over and under the baseline, in caps."""
    if not letter.islower():
        return 1.0, 0.0
    return (0.95 if letter in ASCENDERS else 0.66), (0.35 if letter in DESCENDERS else 0.0)


def mark_width(mark: str) -> float:
    """Return the width of a punctuation mark in caps, with a little room around it."""
    return 0.12 + max(x for line in PUNCTUATION[mark] for x, _ in line)


def marks_of(
    character: str, left: float, base: float, hand: Hand, over: float = 1.0
) -> list[Polyline]:
    """Return the strokes of a mark on row `base`, an accent on a letter `over` caps high."""
    lift = over - 1.0 if character in ACCENTS and MARKS[character][0][0][1] > 1 else 0.0
    return [
        np.array(
            [
                (left + (x + hand.slant * (y + lift)) * hand.cap, base - (y + lift) * hand.cap)
                for x, y in line
            ],
            np.float32,
        )
        for line in MARKS[character]
    ]
