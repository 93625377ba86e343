"""Paper: a crop in the making, and what scanning does to it; shared by the looks."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from penname.synthesis.ink import SCALE, Ink

NOISE = (160, 2600)  # a tile that paper grain is cut from
FULL = 1020  # of ink after softening
BOLD, THIN = 10.5, 9.5  # heights of printed capitals


class Sheet:
    """A crop in the making: ink (2h, 2w) uint8, 255 = ink."""

    def __init__(self, width: int, height: int) -> None:
        self.ink = np.zeros((height * SCALE, width * SCALE), np.uint8)

    def put(self, ink: Ink, x: float, top: float) -> None:
        """Lay `ink` with its left top corner at pixel (x, top); what is outside is cut off."""
        column, row = round(x * SCALE), round(top * SCALE)
        height, width = ink.shape
        y0, x0 = max(row, 0), max(column, 0)
        y1, x1 = min(row + height, self.ink.shape[0]), min(column + width, self.ink.shape[1])
        if y0 < y1 and x0 < x1:
            part = self.ink[y0:y1, x0:x1]
            np.maximum(part, ink[y0 - row : y1 - row, x0 - column : x1 - column], out=part)

    def wipe(self, x0: float, x1: float) -> None:
        """Make the columns from pixel x0 to x1 paper."""
        self.ink[:, max(0, round(x0 * SCALE)) : max(0, round(x1 * SCALE))] = 0


def grain(rng: np.random.Generator) -> np.ndarray:
    """Return a tile of smooth paper noise: int16, standard deviation 60."""
    noise = rng.normal(0, 1, NOISE)
    noise += np.roll(noise, 1, 0) + np.roll(noise, 1, 1)
    noise += np.roll(noise, 1, 0) + np.roll(noise, 1, 1)
    return np.asarray(np.clip(noise * (60 / noise.std()), -230, 230), dtype=np.int16)


def smooth(
    shape: tuple[int, ...], knots: tuple[int, int], spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Return smooth noise (h, w) float32 of standard deviation `spread` at random `knots`."""
    grid = Image.fromarray(rng.normal(0, spread, knots).astype(np.float32))
    return np.array(grid.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def pressed(ink: Ink, limit: int, rng: np.random.Generator, *, faint: bool = False) -> Ink:
    """Return ink with a pressure that changes along the line; weak strokes break up later.

    It never falls so low that a thin line, which `developed` softens to 0.75, drops out whole;
    only of `faint` ink the thinnest parts do.
    """
    mean = rng.uniform(0.5, 0.65) if faint else 1.0 - 0.36 * rng.random() ** 2.5
    if mean > 0.9:
        return ink
    grid = rng.normal(mean, 0.08, (3, max(2, ink.shape[1] // 24)))
    least = limit / ((0.74 if faint else 0.7) * FULL)
    grid = (np.clip(grid, min(least, 1.0), 1.0) * 255).astype(np.uint8)
    field = np.asarray(Image.fromarray(grid).resize(ink.shape[::-1], Image.Resampling.BILINEAR))
    return np.asarray((ink.astype(np.uint16) * field) >> 8, dtype=np.uint8)


def developed(sheet: Sheet, limit: int, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the crop (h, w) uint8: scanned with grain, thresholded, halved and saved as JPEG.

    `limit` of `FULL` is the softened ink from which a half pixel turns black.
    """
    ink = sheet.ink
    height, width = ink.shape
    soft = ink.astype(np.int16)
    soft[1:-1] += (ink[:-2].astype(np.int16) + ink[2:]) >> 1
    soft[:, 1:-1] += (soft[:, :-2] + soft[:, 2:]) >> 1  # 0..FULL
    y, x = rng.integers(grain.shape[0] - height), rng.integers(grain.shape[1] - width)
    strength = float(rng.uniform(0.4, 1.5))
    noise = (grain[y : y + height, x : x + width] * np.int16(strength * 16)) >> 4
    dark = (soft + noise > limit).view(np.uint8)
    count = dark[::2, ::2] + dark[1::2, ::2] + dark[::2, 1::2] + dark[1::2, 1::2]
    grey = np.array([255, 190, 120, 55, 0], np.uint8)[count]
    _specks(grey, rng)
    return _saved(grey, rng)


def _specks(grey: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(rng.poisson(0.35)):
        y, x = rng.integers(grey.shape[0]), rng.integers(grey.shape[1])
        size = 1 + (rng.random() < 0.25) + (rng.random() < 0.08)
        spot = grey[y : y + size, x : x + size]
        np.minimum(spot, rng.integers(0, 200, spot.shape, dtype=np.uint8), out=spot)
    if rng.random() < 0.02:  # a stray line of the scan at an edge
        grey[:, -1 - rng.integers(3)] = rng.integers(0, 90)


def _saved(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    u = rng.random()
    if u < 0.4:
        return grey
    picture = Image.fromarray(grey)
    if u < 0.7:
        picture = picture.filter(ImageFilter.Kernel((3, 3), (0, 1, 0, 1, 10, 1, 0, 1, 0)))
    return as_jpeg(picture, int(rng.integers(72, 96)))


def as_jpeg(picture: Image.Image, quality: int) -> np.ndarray:
    """Return the picture (h, w) uint8 as it comes back from a JPEG file."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


@cache
def printed(text: str, width: int, *, bold: bool = False) -> Ink:
    """Return printed text `width` pixels wide, its baseline at the foot of a capital."""
    cap = 2 * round((BOLD if bold else THIN) * SCALE)  # drawn twice as large: strokes are whole
    font = ImageFont.load_default(cap / 0.71)
    stroke = 1 if bold else 0
    left, _, right, _ = font.getbbox(text, anchor="ls", stroke_width=stroke)
    picture = Image.new("L", (round(right - left) + 1, cap + 16))
    ImageDraw.Draw(picture).text(
        (-left, cap), text, font=font, fill=255, anchor="ls", stroke_width=stroke
    )
    size = width * SCALE, picture.height // 2
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
