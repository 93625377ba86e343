"""Glyphs: names composed of scanned single characters, each by another writer (EMNIST)."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from penname.errors import GroundTruthError
from penname.synthesis.ink import (
    Hand,
    Ink,
    Polyline,
    base_row,
    canvas_height,
    places,
    stamped,
    warped,
    with_thickness,
)
from penname.synthesis.marks import (
    PUNCTUATION,
    heights,
    mark_width,
    marks_of,
    parts,
    spelled,
    writable,
)

if TYPE_CHECKING:
    from pathlib import Path

NEIGHBOURS = 24  # glyphs of a similar stroke width that one letter is chosen from


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
            GroundTruthError: when it is missing, damaged or has other arrays.
        """
        try:
            with path.open("rb") as stream, np.load(stream) as arrays:
                return cls(arrays["images"], arrays["ascii"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise GroundTruthError(f"{path}: cannot read the glyphs ({error})") from None

    def can_write(self, text: str) -> bool:
        """Return whether scanned letters and pen-drawn marks suffice."""
        return writable(text)

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters, with glyphs of about one stroke width."""
        drawn, band = spelled(drawn), rng.random()
        letters = [self._letter(parts(c)[0], hand, band, rng) for c in drawn]
        left, width = places(np.array([p.shape[1] for p in letters]), hand, max_width, rng)
        ink = np.zeros((canvas_height(hand.cap), width), np.uint8)
        marks: list[Polyline] = []
        upright = replace(hand, slant=0.0)  # all of it leans in the end
        for character, picture, x in zip(drawn, letters, left, strict=True):
            letter, accents = parts(character)
            row = base_row(hand.cap) + round(heights(letter)[1] * hand.cap)
            under = ink[row - picture.shape[0] : row, int(x) : int(x) + picture.shape[1]]
            np.maximum(under, picture[:, : under.shape[1]], out=under)
            if letter in PUNCTUATION:
                marks += marks_of(letter, x, base_row(hand.cap), upright)
            for accent in accents:
                over, centre = heights(letter)[0], x + picture.shape[1] / 2
                marks += marks_of(accent, centre, base_row(hand.cap), upright, over)
        ink = with_thickness(ink, hand.thickness, thinned=not hand.running)
        if marks:
            stamped(ink, marks, hand.thickness)
        return warped(ink, hand, rng)

    def _letter(self, letter: str, hand: Hand, band: float, rng: np.random.Generator) -> Ink:
        indices = self._of.get(letter, self._of.get(letter.upper()))
        if indices is None:  # a space, or a mark that the pen draws
            wide = mark_width(letter) if letter in PUNCTUATION else hand.space
            return np.zeros((1, max(1, round(wide * hand.cap))), "u1")
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
