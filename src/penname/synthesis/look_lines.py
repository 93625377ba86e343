"""Look of lines: how a line cut from a scanned page looks, in grey, around its handwriting.

Modelled by eye on the text-line crops of htr_lines: registers and letters of the 19th and 20th
century on grey paper, cut out along a wavy outline filled with even paper, and the clean scans of
today's volunteers. Here an ink is reduced to the crop's size once and everything else happens on
`cover` (h, w) float32 in pixels of the crop: 0 is paper, 1 is full ink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from penname.synthesis.ink import SCALE, Hand, Ink, base_row
from penname.synthesis.paper import as_jpeg, smooth

Cover = np.ndarray  # (h, w) float32
SHADES = 255.0


@dataclass(frozen=True)
class Page:
    """The page that a line is cut from; grey levels 0 to 255, lengths in pixels or caps."""

    paper: float  # grey of the paper
    contrast: float  # of full ink against it, in grey levels
    grain: float  # standard deviation of the paper's grain, grey levels
    light: float  # standard deviation of uneven light, grey levels
    fading: float  # spread of the ink's strength along the line
    blur: float  # pixels
    rules: str  # none, line, grid
    neighbours: float  # probability of lines above and below
    bleed: float  # strength of the writing on the back
    outline: bool  # cut out along a wavy outline, filled with paper around
    bars: float  # probability of a vertical rule at each end

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Page:
        """Return a page: one in three clean and modern, the others old."""
        u = rng.random(8)
        rules = ("none", "line", "grid")[int(np.searchsorted((0.6, 0.9), u[0]))]
        if u[1] < 0.3:
            return cls(
                paper=255.0 - 12 * u[2] ** 3,
                contrast=255.0 * (0.45 + 0.55 * u[3] ** 0.7),
                grain=1.5 * u[4] ** 3,
                light=0.0,
                fading=0.1 * u[5],
                blur=float(0.3 + 0.4 * u[6]),
                rules=rules if rules != "grid" else "none",
                neighbours=0.4,
                bleed=0.0,
                outline=False,
                bars=0.02,
            )
        dark = u[1] > 0.85
        paper = rng.uniform(105, 165) if dark else float(np.clip(rng.normal(210, 20), 165, 250))
        return cls(
            paper=paper,
            contrast=paper * (rng.uniform(0.4, 0.85) if dark else 0.25 + 0.72 * u[2] ** 0.45),
            grain=0.5 + 4 * u[3] ** 2,
            light=9 * u[4] ** 2,
            fading=0.08 + 0.3 * u[5],
            blur=float(0.3 + 0.55 * u[6] ** 2),
            rules=rules,
            neighbours=0.75,
            bleed=0.3 * rng.random() ** 2 if u[7] < 0.35 else 0.0,
            outline=bool(rng.random() < 0.7),
            bars=0.2,
        )


def developed(
    ink: Ink, hand: Hand, others: list[Ink], grain: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the crop (h, w) uint8 of a line's ink on a page.

    `others` are inks of other lines, for what stands above, below and on the back.
    """
    page, cap = Page.drawn(rng), hand.cap / SCALE
    line, base = _cropped(_reduced(_pressed_together(ink, rng)), cap, hand, rng)
    height, width = line.shape
    cover = line * _strength(line.shape, page.fading, rng)
    for side in (-1, 1):
        if rng.random() < page.neighbours:
            other = _reduced(others[rng.integers(len(others))])
            apart = cap * rng.uniform(2.0, 3.0)
            top = round(base + side * apart - base_row(hand.cap) / SCALE)
            _laid(cover, other * float(rng.uniform(0.7, 1.0)), int(-rng.integers(0, 40)), top)
    if page.bleed:
        back = _reduced(others[rng.integers(len(others))])[:, ::-1] * page.bleed
        _laid(cover, _soft(back, 1.2), 0, round(rng.normal(0, 0.4 * cap)))
    _ruled(cover, page, base, cap, rng)
    grey = page.paper - page.contrast * cover
    if page.light:
        grey += smooth(grey.shape, (3, 2 + width // 150), page.light, rng)
    if page.grain:
        y, x = rng.integers(grain.shape[0] - height), rng.integers(max(1, grain.shape[1] - width))
        tile = grain[y : y + height, x : x + width]
        grey[:, : tile.shape[1]] += tile * np.float32(page.grain / 60)
    if page.outline:
        grey = _cut_out(grey, page.paper, base, cap, rng)
    return _scanned(grey, page.blur, rng)


def _pressed_together(ink: Ink, rng: np.random.Generator) -> Ink:
    """Return the ink made narrower, as most hands of the time are."""
    size = max(4, round(ink.shape[1] * float(np.clip(rng.normal(0.93, 0.14), 0.6, 1.3))))
    picture = Image.fromarray(ink).resize((size, ink.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _reduced(ink: Ink) -> Cover:
    height, width = ink.shape[0] // SCALE * SCALE, ink.shape[1] // SCALE * SCALE
    blocks = ink[:height, :width].reshape(height // SCALE, SCALE, width // SCALE, SCALE)
    return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float32) / (SHADES * SCALE * SCALE))


def _cropped(line: Cover, cap: float, hand: Hand, rng: np.random.Generator) -> tuple[Cover, float]:
    """Return the line on a crop of its own size with margins, and the row of its baseline."""
    above, below = cap * rng.uniform(1.2, 2.3), cap * rng.uniform(0.45, 1.25)
    left, right = (round(cap * v) for v in rng.uniform(0.2, 0.9, 2))
    columns = np.flatnonzero(line.max(axis=0))
    if len(columns):
        line = line[:, columns[0] : columns[-1] + 1]
    size = round(above + below), line.shape[1] + left + right
    crop = np.zeros(size, np.float32)
    _laid(crop, line, left, round(above - base_row(hand.cap) / SCALE))
    return crop, above


def _laid(cover: Cover, other: Cover, x: int, y: int) -> None:
    """Lay `other` over `cover` in place, the darker one counting; what is outside is cut off."""
    top, left = max(y, 0), max(x, 0)
    bottom = min(y + other.shape[0], cover.shape[0])
    right = min(x + other.shape[1], cover.shape[1])
    if top < bottom and left < right:
        part = cover[top:bottom, left:right]
        np.maximum(part, other[top - y : bottom - y, left - x : right - x], out=part)


def _strength(shape: tuple[int, ...], fading: float, rng: np.random.Generator) -> Cover:
    """Return how strong the ink is from place to place, at most 1."""
    field = smooth(shape, (2, 2 + shape[1] // 25), fading, rng)
    return np.asarray(np.clip(1.0 - np.abs(field), 0.35, 1.0), np.float32)


def _soft(cover: Cover, radius: float) -> Cover:
    picture = Image.fromarray((cover * SHADES).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.BoxBlur(radius)), np.float32) / SHADES


def _ruled(cover: Cover, page: Page, base: float, cap: float, rng: np.random.Generator) -> None:
    """Draw printed rules and the bars between columns."""
    height, width = cover.shape
    dark = float(rng.uniform(0.08, 0.6))
    if page.rules != "none":
        y = base + rng.uniform(0.0, 0.35) * cap
        slope = rng.normal(0, 0.002)
        rows = (y + slope * np.arange(width)).astype(np.intp)
        good = (rows >= 0) & (rows < height)
        columns = np.arange(width)[good]
        cover[rows[good], columns] = np.maximum(cover[rows[good], columns], dark)
    if page.rules == "grid":
        step = cap * rng.uniform(0.8, 1.6)
        for x in np.arange(rng.uniform(0, step), width, step):
            np.maximum(cover[:, int(x)], dark * 0.8, out=cover[:, int(x)])
        for row in np.arange(y % step, height, step):
            np.maximum(cover[int(row)], dark * 0.8, out=cover[int(row)])
    for x in (rng.integers(0, 4), width - 1 - rng.integers(0, 4)):
        if rng.random() < page.bars:
            wide = int(rng.integers(1, 4))
            part = cover[:, x : x + wide]
            np.maximum(part, float(rng.uniform(0.3, 1.0)), out=part)


def _cut_out(
    grey: np.ndarray, paper: float, base: float, cap: float, rng: np.random.Generator
) -> np.ndarray:
    """Fill what is outside of a wavy outline around the line with even paper."""
    height, width = grey.shape
    knots = 2 + width // 60
    at = np.linspace(0, width, knots)
    x = np.arange(width)
    top = np.interp(x, at, base - cap * rng.uniform(1.1, 1.5) + rng.normal(0, 0.1 * cap, knots))
    foot = np.interp(x, at, base + cap * rng.uniform(0.35, 0.6) + rng.normal(0, 0.1 * cap, knots))
    rows = np.arange(height)[:, None]
    inside = np.clip(np.minimum(rows - top, foot - rows) / 2 + 0.5, 0, 1).astype(np.float32)
    return np.asarray(paper + (grey - paper) * inside, np.float32)


def _scanned(grey: np.ndarray, blur: float, rng: np.random.Generator) -> np.ndarray:
    """Return the crop, blurred and saved as a lossy picture."""
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    if blur > 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    if rng.random() < 0.5:
        return np.array(picture)
    return as_jpeg(picture, int(rng.integers(45, 92)))
