"""Glyphs: names composed of scanned single characters, each by another writer (EMNIST)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from penname.errors import GroundTruthError
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
    warped,
    with_thickness,
)

if TYPE_CHECKING:
    from pathlib import Path

ASCENDERS = "bdfhijklt"
DESCENDERS = "gpqyj"
NEIGHBOURS = 24  # glyphs of a similar stroke width that one letter is chosen from


def heights(letter: str) -> tuple[float, float]:
    """Return how far a letter reaches over and under the baseline, in caps."""
    if not letter.islower():
        return 1.0, 0.0
    return (0.95 if letter in ASCENDERS else 0.66), (0.35 if letter in DESCENDERS else 0.0)


class Glyphs:
    """Writers that put single scanned characters in a row."""

    def __init__(self, images: np.ndarray, codes: np.ndarray) -> None:
        """Take ink on black (N, 28, 28) uint8 and the code point of each."""
        self._images = images
        dark = images > 100
        area = dark.sum(axis=(1, 2))
        edge = (dark[:, 1:] != dark[:, :-1]).sum(axis=(1, 2))
        edge += (dark[:, :, 1:] != dark[:, :, :-1]).sum(axis=(1, 2))
        width = area / np.maximum(edge, 1)
        self._of: dict[str, np.ndarray] = {}
        for code in np.unique(codes):
            indices = np.flatnonzero((codes == code) & (area > 8))
            if len(indices):
                self._of[chr(code)] = indices[np.argsort(width[indices], kind="stable")]

    @classmethod
    def load(cls, path: Path) -> Glyphs:
        """Read `images` and `ascii` from an .npz file.

        Raises:
            GroundTruthError: when it is missing or has other arrays.
        """
        try:
            with np.load(path) as arrays:
                return cls(arrays["images"], arrays["ascii"])
        except (OSError, KeyError, ValueError) as error:
            raise GroundTruthError(f"{path}: cannot read the glyphs ({error})") from None

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters, with glyphs of about one stroke width."""
        band = rng.random()
        letters = [self._letter(parts(c)[0], hand, band, rng) for c in drawn]
        left, width = places(np.array([p.shape[1] for p in letters]), hand, max_width, rng)
        ink = np.zeros((canvas_height(hand.cap), width), np.uint8)
        marks: list[Polyline] = []
        for character, picture, x in zip(drawn, letters, left, strict=True):
            letter, accents = parts(character)
            row = base_row(hand.cap) + round(heights(letter)[1] * hand.cap)
            under = ink[row - picture.shape[0] : row, int(x) : int(x) + picture.shape[1]]
            np.maximum(under, picture[:, : under.shape[1]], out=under)
            for mark in accents + (letter if letter in MARKS else ""):
                centre = x + (0.0 if mark == letter else picture.shape[1] / 2)
                marks += marks_of(mark, centre, hand)
        ink = with_thickness(ink, hand.thickness)
        if marks:
            stamped(ink, marks, hand.thickness)
        return warped(ink, hand, rng)

    def _letter(self, letter: str, hand: Hand, band: float, rng: np.random.Generator) -> Ink:
        indices = self._of.get(letter, self._of.get(letter.upper()))
        if indices is None:  # a space, hyphen or apostrophe; marks are drawn with the pen
            return np.zeros((1, max(1, round((0.55 if letter == " " else 0.4) * hand.cap))), "u1")
        near = int(band * max(1, len(indices) - NEIGHBOURS))
        glyph = self._images[indices[(near + rng.integers(NEIGHBOURS)) % len(indices)]]
        rows, columns = np.flatnonzero(glyph.max(1) > 60), np.flatnonzero(glyph.max(0) > 60)
        box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        over, below = heights(letter)
        tall = max(3, round((over + below) * hand.cap * (1 + rng.normal(0, hand.sizes))))
        tall = min(tall, round((over + below) * hand.cap * 1.3))
        wide = tall * (box[2] - box[0]) / (box[3] - box[1]) * rng.uniform(0.85, 1.15)
        size = (int(np.clip(round(wide), 2, 1.5 * hand.cap)), tall)
        return np.asarray(Image.fromarray(glyph).resize(size, Image.Resampling.BILINEAR, box))
