"""Damage: what befalls a name on a form besides the form itself, each at a modest rate.

The rates are higher than on the Kaggle crops, where these are most of the remaining errors
(docs/log.md), and low enough that a plain name stays the rule. Every name can still be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from penname.synthesis.ink import COMB, SCALE, Ink, Polyline, stamped

if TYPE_CHECKING:
    from penname.synthesis.paper import Sheet

Other = Callable[[], Ink]  # handwriting in the name's ink


@dataclass(frozen=True)
class Spot:
    """Where a name stands on its sheet; half pixels."""

    left: float
    right: float
    base: float
    cap: float
    thickness: float


def overwritten(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Write a letter over another one: ink as wide as half a letter, somewhere on the name."""
    ink = other()
    wide = min(round(spot.cap * rng.uniform(0.35, 0.7)), ink.shape[1] - 1)
    start = rng.integers(ink.shape[1] - wide)
    x = rng.uniform(spot.left, max(spot.right - wide, spot.left + 1))
    top = spot.base - ink.shape[0] * 1.7 / 2.4
    sheet.put(ink[:, start : start + wide], x / SCALE, top / SCALE)


def scribbled(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Cross a first attempt out, in front of the name, where there is room."""
    wide = spot.cap * rng.uniform(0.5, 1.1)
    right = spot.left - rng.uniform(3, 10)
    if right - wide < 2:
        return
    turns = int(rng.integers(5, 14))
    x = right - wide + wide * rng.random(turns)
    y = spot.base - spot.cap * np.where(np.arange(turns) % 2, 0.95, 0.05)
    y += rng.normal(0, 0.1 * spot.cap, turns)
    _drawn(sheet, [np.stack((x, y), axis=1)], spot.thickness)


def struck(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Draw one thin line through the name, which can be read all the same."""
    heights = spot.base - spot.cap * rng.uniform(0.25, 0.7, 2)
    ends = spot.left - rng.uniform(-5, 10), spot.right + rng.uniform(-5, 10)
    _drawn(sheet, [np.stack((ends, heights), axis=1)], min(spot.thickness, 2.5))


def boxed(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Draw the printed box that the name stands in; some of its sides lie outside the crop."""
    left, right = spot.left - rng.uniform(4, 16), spot.right + rng.uniform(6, 120)
    top, foot = spot.base - spot.cap * rng.uniform(1.15, 1.6), spot.base + rng.uniform(4, 14)
    corners = [(left, top), (right, top), (right, foot), (left, foot), (left, top)]
    _drawn(sheet, [np.array(corners)], float(rng.uniform(1.5, 2.5)))


def combed(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Draw the comb that letters stand in: a rule with ticks, half of them full boxes."""
    foot = spot.base + rng.uniform(2, 8)
    tall = spot.cap * (rng.uniform(0.15, 0.4) if rng.random() < 0.5 else rng.uniform(1.2, 1.5))
    first = spot.left - rng.uniform(2, 8)
    ticks = np.arange(first, max(spot.right, first) + COMB * rng.integers(1, 6), COMB)
    lines = [np.array([(x, foot), (x, foot - tall)]) for x in ticks]
    lines.append(np.array([(ticks[0], foot), (ticks[-1], foot)]))
    if tall > spot.cap:
        lines.append(np.array([(ticks[0], foot - tall), (ticks[-1], foot - tall)]))
    _drawn(sheet, lines, float(rng.uniform(1.2, 2.2)))


def stamp(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Set a part of a round rubber stamp beside or on the end of the name, unevenly inked."""
    radius = float(rng.uniform(30, 60))
    x, y = spot.right + rng.uniform(-20, 90), spot.base + rng.uniform(-60, 30)
    picture = Image.new("L", sheet.ink.shape[::-1])
    pen = ImageDraw.Draw(picture)
    for r in (radius, radius - 12):
        pen.ellipse((x - r, y - r, x + r, y + r), outline=255, width=3)
    worn = rng.random(sheet.ink.shape) < rng.uniform(0.4, 0.8)
    np.maximum(sheet.ink, np.asarray(picture) * worn, out=sheet.ink)


def shown_through(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Let the writing on the back show through: mirrored, so faint that it half drops out."""
    back = (other()[:, ::-1] * rng.uniform(0.25, 0.42)).astype(np.uint8)
    x = rng.uniform(0, max(1, sheet.ink.shape[1] - back.shape[1])) / SCALE
    sheet.put(back, x, rng.uniform(-0.7, 0.3) * sheet.ink.shape[0] / SCALE)


Damage = Callable[["Sheet", Spot, Other, np.random.Generator], None]
RATES: tuple[tuple[float, Damage], ...] = (
    (0.02, overwritten),
    (0.012, scribbled),
    (0.004, struck),
    (0.012, boxed),
    (0.012, combed),
    (0.008, stamp),
    (0.015, shown_through),
)


def damaged(sheet: Sheet, spot: Spot, other: Other, rng: np.random.Generator) -> None:
    """Do at most one of these to the sheet, in place."""
    u = rng.random()
    for rate, damage in RATES:
        if (u := u - rate) < 0:
            return damage(sheet, spot, other, rng)
    return None


def _drawn(sheet: Sheet, lines: list[Polyline], thickness: float) -> None:
    stamped(sheet.ink, [np.asarray(line, np.float32) for line in lines], thickness)
