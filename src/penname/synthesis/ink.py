"""Ink: letters laid side by side by one hand, drawn at twice the size of the final picture.

An ink is (h, w) uint8 where 255 is ink and 0 is paper, in half pixels: `SCALE` of them to a pixel
of the finished crop. Its letters stand on row `base_row(cap)` of `canvas_height(cap)` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

SCALE = 2
COMB = 32.0  # half pixels from letter to letter on the forms, whose boxes dropped out
Ink = np.ndarray  # (h, w) uint8, 255 = ink
Polyline = np.ndarray  # (n, 2) float32, x and y

FAINTEST = 2.2  # half pixels; thinner rasters break up when thresholded
_CRISP = np.clip((np.arange(256) - 70) * 3, 0, 255).astype(np.uint8)  # glyphs come blurred


@dataclass(frozen=True)
class Hand:
    """How one writer writes one name; lengths in half pixels or in capital heights (caps)."""

    cap: int  # height of a capital, half pixels
    gap: float  # paper between two letters, caps
    pitch: float  # from letter to letter, half pixels; 0 spaces by `gap`
    spread: float  # standard deviation of a letter's place, half pixels
    thickness: float  # of the pen, half pixels
    slant: float  # to the right, x per y
    turn: float  # of the baseline, y per x
    wobble: float  # of the letters around the baseline, caps
    sizes: float  # standard deviation of a letter's size around 1
    joined: bool = False  # the letters of a word are drawn in one go
    space: float = 0.55  # between two words, caps
    flex: float = 0.0  # how much thicker a pointed pen is going down
    running: bool = False  # running text, in which any font goes and hairlines stay

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Hand:
        """Return a writer as the real crops have them."""
        u = rng.random(8)
        return cls(
            cap=int(np.clip(np.exp(rng.normal(3.26, 0.19)), 15, 42)),
            gap=float(0.1 + 0.7 * u[0] ** 1.3),
            pitch=float(COMB + rng.normal(0, 1.0)) if u[1] < 0.78 else 0.0,
            spread=float(0.6 + 1.8 * u[2]),
            thickness=float(1.7 + 1.1 * u[3] + (3.5 * u[4] if u[5] < 0.16 else 0.0)),
            slant=float(rng.normal(0.06, 0.12)),
            turn=float(rng.normal(0.0, 0.012)),
            wobble=float(0.02 + 0.06 * u[6]),
            sizes=float(0.03 + 0.07 * u[7]),
        )

    @classmethod
    def of_line(cls, rng: np.random.Generator) -> Hand:
        """Return a writer of running text: smaller gaps, steadier lines, mostly joined."""
        u = rng.random(8)
        return cls(
            cap=int(np.clip(np.exp(rng.normal(3.6, 0.16)), 26, 52)),
            gap=float(0.02 + 0.2 * u[0] ** 1.5),
            pitch=0.0,
            spread=float(0.3 + 1.2 * u[1]),
            thickness=float(1.8 + 1.7 * u[2] ** 1.5 + (2.0 * u[3] if u[4] < 0.12 else 0.0)),
            slant=float(rng.normal(0.2, 0.22)),
            turn=float(rng.normal(0.0, 0.003)),
            wobble=float(0.01 + 0.04 * u[5]),
            sizes=float(0.02 + 0.06 * u[6]),
            joined=bool(u[7] < 0.75),
            flex=float(rng.uniform(0.4, 1.6)) if rng.random() < 0.45 else 0.0,
            running=True,
            space=float(np.clip(rng.normal(0.75, 0.25), 0.3, 1.6)),
        )


def base_row(cap: int) -> int:
    """Return the row on which capitals of height `cap` stand."""
    return round(1.7 * cap)


def canvas_height(cap: int) -> int:
    """Return the rows of an ink with capitals of height `cap`."""
    return round(2.4 * cap)


def places(
    widths: np.ndarray, hand: Hand, max_width: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Return the left end of letters of the given widths (L,) and the width of the whole.

    Letters stand `hand.gap` apart, or on a pitch as in a comb of boxes; they move closer together
    when they would need more than `max_width`.
    """
    count = len(widths)
    if hand.pitch:
        left = np.arange(count) * hand.pitch - widths / 2
        left = np.maximum(left, np.concatenate(([left[0]], left[:-1] + widths[:-1])))
    else:
        left = np.concatenate(([0.0], np.cumsum(widths[:-1] + hand.gap * hand.cap)))
    left = left - left[0] + rng.normal(0.0, hand.spread, count)
    left -= left.min() - 1
    room, need = max_width - 2, float(left[-1] + widths[-1])
    if need > room and left[-1] > 0:
        left *= max(0.3, (room - widths[-1]) / left[-1])
    return left, int(np.ceil((left + widths).max())) + 2


def stamped(ink: Ink, lines: list[Polyline], thickness: float) -> None:
    """Draw polylines into `ink` in place, as round dots less than half a pixel apart.

    `thickness` is in half pixels.
    """
    points = np.concatenate(lines)
    lengths = np.array([len(line) for line in lines])
    stamped_points(ink, points, lengths, np.full(len(points), thickness))


def stamped_points(ink: Ink, points: Polyline, lengths: np.ndarray, thickness: np.ndarray) -> None:
    """Draw lines of `lengths` points each, which follow each other in `points`, into `ink`.

    `thickness` (P,) is that of the pen at each point, in half pixels.
    """
    step = np.diff(points, axis=0)
    count = (np.abs(step).max(axis=1) * 1.5).astype(np.intp) + 1
    count[np.cumsum(lengths[:-1]) - 1] = 1  # the pen is up from line to line
    at = np.repeat(np.arange(len(step)), count)
    along = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    dots = points[at] + step[at] * (along / count[at])[:, None]
    dots = np.concatenate((dots, points[-1:]))
    _dot(ink, dots, thickness[np.append(at, -1)])


def _dot(ink: Ink, dots: np.ndarray, wide: np.ndarray) -> None:
    height, width = ink.shape
    flat = ink.reshape(-1)
    kinds = np.clip(np.round(wide * 2), 2, 24).astype(np.intp)
    for kind in np.unique(kinds):
        disc = _disc(int(kind))  # (D, 2)
        xy = np.round(dots[kinds == kind] - 0.01)[:, None, :] + disc
        x, y = xy[..., 0].astype(np.intp), xy[..., 1].astype(np.intp)
        good = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        flat[(y * width + x)[good]] = 255


@cache
def _disc(kind: int) -> np.ndarray:
    """Return the offsets (D, 2) of the dots in a disc of `kind` quarter pixels across."""
    radius = kind / 4
    reach = int(np.ceil(radius))
    grid = np.arange(-reach, reach + 1) + (0.0 if int(kind / 2) % 2 else 0.5)
    x, y = np.meshgrid(grid, grid)
    inside = x * x + y * y <= radius * radius + 0.1
    return np.stack((x[inside], y[inside]), axis=1)


def warped(ink: Ink, hand: Hand, rng: np.random.Generator) -> Ink:
    """Slant, turn and wobble a raster ink, smoothly from column to column."""
    if hand.running:  # what leans over the ends would be cut off
        aside = round(abs(hand.slant) * base_row(hand.cap)) + 4
        ink = np.pad(ink, ((0, 0), (aside, aside)))
    height, width = ink.shape
    strips = max(1, round(width / (0.9 * hand.cap)))
    x = np.linspace(0, width, strips + 1).round().astype(int)
    base = base_row(hand.cap)
    y = rng.normal(0, hand.wobble * hand.cap, strips + 1) + hand.turn * (x - width / 2)
    grow = 1 + rng.normal(0, hand.sizes, strips + 1)
    lean = hand.slant + rng.normal(0, 0.06, strips + 1)
    lean[[0, -1]] = hand.slant
    # Where in the ink the corners of the strips come from, so those that are to go right lie left.
    top = np.stack((x - lean * base, base - base * grow - y), axis=1)
    foot = np.stack((x + lean * (height - base), base + (height - base) * grow - y), axis=1)
    mesh = [
        ((int(x[i]), 0, int(x[i + 1]), height), (*top[i], *foot[i], *foot[i + 1], *top[i + 1]))
        for i in range(strips)
    ]
    picture = Image.fromarray(ink).transform(
        (width, height), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR
    )
    return np.array(picture)


def with_thickness(ink: Ink, thickness: float, *, thinned: bool = True) -> Ink:
    """Return a raster ink thickened, or `thinned`, until its strokes are `thickness` wide."""
    ink = _CRISP[ink]
    thickness = max(thickness, FAINTEST)
    for _ in range(4):
        dark = ink > 127
        edge = int(np.count_nonzero(dark[1:] != dark[:-1]))
        edge += int(np.count_nonzero(dark[:, 1:] != dark[:, :-1]))
        # A line of any direction has 8 / pi edges per pixel of its length.
        now = 8 / np.pi * np.count_nonzero(dark) / max(edge, 1)
        if edge == 0 or abs(now - thickness) <= 0.55 or (now > thickness and not thinned):
            return ink
        ink = _thinner(ink) if now > thickness else _thicker(ink)
    return ink


def _thinner(ink: Ink) -> Ink:
    out = ink.copy()
    np.minimum(out[1:], ink[:-1], out=out[1:])
    np.minimum(out[:, 1:], ink[:, :-1], out=out[:, 1:])
    return out


def _thicker(ink: Ink) -> Ink:
    out = ink.copy()
    np.maximum(out[1:], ink[:-1], out=out[1:])
    out[:, 1:] = np.maximum(out[:, 1:], out[:, :-1].copy())
    return out
