"""Neighbours: handwriting of the lines above and below a name, of which a crop shows a strip.

They are written once for each ink source and chosen by the thickness of the name's pen: drawing
them anew would cost a fifth of the time and nobody sees more than their feet or heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from penname.synthesis.ink import SCALE, Hand, Ink

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 128  # of each kind
CLOSE = 12  # neighbours of the next thickness to choose from
WIDTH = 125 * SCALE
_DIGITS = "0123456789"


class Writer(Protocol):
    """An ink source that writes texts."""

    def can_write(self, text: str) -> bool:
        """Return whether the source has every character of a text."""

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters."""


class Neighbours:
    """School codes and birth dates in one kind of ink, sorted by the thickness of the pen."""

    def __init__(self, writer: Writer) -> None:
        rng = np.random.default_rng(0)
        hands = sorted((Hand.drawn(rng) for _ in range(COUNT)), key=lambda hand: hand.thickness)
        self._thickness = np.array([hand.thickness for hand in hands])
        kinds: dict[str, Callable[[np.random.Generator], str]] = {"code": _code, "date": _date}
        self._inks = {
            kind: [(writer.write(text(rng), hand, WIDTH, rng), hand.cap) for hand in hands]
            for kind, text in kinds.items()
        }

    def near(self, kind: str, thickness: float, rng: np.random.Generator) -> tuple[Ink, int]:
        """Return the ink of a "code" or "date" and its capital height, in about this thickness."""
        start = int(np.searchsorted(self._thickness, thickness)) - CLOSE // 2
        inks = self._inks[kind]
        return inks[min(max(start + int(rng.integers(CLOSE)), 0), len(inks) - 1)]


def _code(rng: np.random.Generator) -> str:
    digits = "".join(_DIGITS[i] for i in rng.integers(0, 10, 6))
    return f"0{digits}{'ABCDEFGHJKLMNPRSTUVWXYZ'[rng.integers(23)]}"


def _date(rng: np.random.Generator) -> str:
    gap = " " if rng.random() < 0.5 else ""
    day, month, year = rng.integers(1, 31), rng.integers(1, 13), rng.integers(1999, 2006)
    return f"{day:02d}{gap}{month:02d}{gap}{year}"
