"""Augmentation of a whole batch at once, on its device, from a Generator of its own.

Neighbouring lines intrude and rulings of forms are drawn; one resampling carries slant, rotation,
scale, shift and elastic waves; then strokes grow or fade, parts are hidden, and blur and noise come
on top. Ink is 1, paper 0.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


def augment(ink: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Return an augmented copy of ink (N, 1, H, W) in [0, 1]; `strength` 0 returns it as it is.

    Args:
        ink: float32 batch on any device.
        generator: source of all randomness, on the same device.
        strength: 1 is meant for handwriting; geometry scales with it.
    """
    if strength <= 0:
        return ink
    draw = _Draw(generator, len(ink), ink.device)
    ink = _rulings(_neighbours(ink, draw), draw)
    ink = functional.grid_sample(ink, _grid(ink, draw, strength), "bilinear", "zeros", True)
    ink = _strokes(ink, draw)
    ink = _hidden(ink, draw)
    return _scanned(ink, draw)


class _Draw:
    """Uniform and normal numbers shaped to broadcast over (N, 1, H, W)."""

    def __init__(self, generator: torch.Generator, n: int, device: torch.device) -> None:
        self.generator, self.n, self.device = generator, n, device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        size = (self.n, *(shape or (1, 1, 1)))
        return torch.rand(size, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn((self.n, *shape), generator=self.generator, device=self.device)

    def often(self, share: float) -> Tensor:
        return (self.uniform(0, 1) < share).float()


def _grid(ink: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Return sampling positions (N, H, W, 2) in [-1, 1]: where each output pixel is read."""
    height, width = ink.shape[-2:]
    y = torch.linspace(-1, 1, height, device=ink.device).view(1, height, 1)
    x = torch.linspace(-1, 1, width, device=ink.device).view(1, 1, width)

    def amount(low: float, high: float) -> Tensor:
        return draw.uniform(low, high, 1, 1) * strength

    aspect = height / width  # x and y are in half canvases: a slant moves x by aspect * y
    slant, turn = amount(-0.35, 0.35), amount(-0.035, 0.035)
    # Reading from further left of the left edge shifts text right, so scale about that edge.
    across = (1 + amount(-0.02, 0.3)) * (x + 1) - 1 + amount(-0.03, 0.02)
    down = (1 + amount(-0.15, 0.3)) * y + amount(-0.15, 0.15)
    coarse = draw.normal(2, 4, max(3, width // 24))
    waves = _between(4, height, coarse) @ coarse @ _between(coarse.shape[-1], width, coarse).T
    waves = waves * draw.uniform(0, 1.6) * strength  # pixels
    across = across + slant * aspect * y + waves[:, 0] * (2 / width)
    down = down + turn / aspect * x + waves[:, 1] * (2 / height)
    return torch.stack([across, down], dim=-1)


def _between(points: int, size: int, like: Tensor) -> Tensor:
    """Return the matrix (size, points) of bicubic interpolation along one axis.

    Two small products are the same as torch's `interpolate`, which takes a third of all
    augmentation's time on a GPU.
    """
    unit = torch.eye(points, dtype=like.dtype, device=like.device)
    lines = functional.interpolate(
        unit.view(1, points, points, 1), (size, 1), mode="bicubic", align_corners=True
    )  # (1, points, points, 1) -> (1, points, size, 1)
    return lines[0, :, :, 0].T


def _strokes(ink: Tensor, draw: _Draw) -> Tensor:
    """Make strokes thicker or thinner."""
    thick, thin = _windows(ink, torch.maximum, 3), _windows(ink, torch.minimum, 2)
    amount = draw.uniform(-0.5, 1.0) * draw.often(0.5)
    return ink + amount.clamp(min=0) * (thick - ink) + (-amount).clamp(min=0) * (thin - ink)


def _windows(ink: Tensor, fold: Callable[[Tensor, Tensor], Tensor], size: int) -> Tensor:
    """Return the fold of the `size` x `size` pixels about each one, or from it where size is even.

    The edge pixels are repeated outwards. On a CPU torch's pools take ten times as long for
    pictures of one channel, a tenth of a training step.
    """
    before = (size - 1) // 2
    after = size - 1 - before
    ink = functional.pad(ink, (before, after, before, after), mode="replicate")
    for axis in (2, 3):
        length = ink.shape[axis] - size + 1
        ink = reduce(fold, (ink.narrow(axis, i, length) for i in range(size)))
    return ink


def _neighbours(ink: Tensor, draw: _Draw) -> Tensor:
    """Let the cut end of another line of the batch stand at the top or bottom edge."""
    height = ink.shape[2]
    rows, _ = _places(ink)
    depth = draw.uniform(0.04, 0.16) * height * draw.often(0.2)
    other = ink.roll(1, 0).roll(height // 2, 2)  # its middle, where the writing is
    above = draw.often(0.5)
    edge = above * (rows < depth) + (1 - above) * (rows >= height - depth)
    return torch.maximum(ink, other * edge)


def _rulings(ink: Tensor, draw: _Draw) -> Tensor:
    """Draw rulings above or below some lines' writing, whole or dotted, and sides of boxes."""
    height = ink.shape[2]
    rows, columns = _places(ink)
    thick, pitch = draw.uniform(1, 3), draw.uniform(3, 9)
    top, bottom = draw.uniform(0, 0.25) * height, draw.uniform(0.75, 1) * height
    above, below = draw.often(0.4), draw.often(0.8)
    across = ((rows - top).abs() < thick / 2) * above + ((rows - bottom).abs() < thick / 2) * below
    dots = (columns % pitch < pitch * draw.uniform(0.3, 0.6)) | (draw.often(0.7) > 0)
    apart = height * torch.exp(draw.uniform(-1, 2))  # from the cells of letters to long boxes
    sides = (columns - draw.uniform(0, 12)) % apart < thick
    sides = sides & ((rows > top) & (rows < bottom) & (draw.often(0.25) > 0))
    drawn = torch.maximum(across * dots, sides.float())
    return torch.maximum(ink, drawn * draw.uniform(0.4, 1) * draw.often(0.15))


def _places(ink: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (1, 1, H, 1) and the columns (1, 1, 1, W) of a batch."""
    height, width = ink.shape[-2:]
    rows = torch.arange(height, device=ink.device).view(1, 1, height, 1)
    return rows, torch.arange(width, device=ink.device).view(1, 1, 1, width)


def _hidden(ink: Tensor, draw: _Draw) -> Tensor:
    """Hide a narrow column or a small box, as a blot of paper or of ink."""
    height, width = ink.shape[-2:]
    rows, columns = _places(ink)
    for share, blot in ((0.25, 0.0), (0.05, 1.0)):
        left, top = draw.uniform(0, width), draw.uniform(-height * 0.3, height)
        across = (columns >= left) & (columns < left + draw.uniform(1, 6))
        down = (rows >= top) & (rows < top + draw.uniform(2, height * 0.8))
        box = across & (down & (draw.often(share) > 0))  # whole pictures in one operation alone
        ink = ink.masked_fill(box, blot)
    return ink


def _scanned(ink: Tensor, draw: _Draw) -> Tensor:
    """Blur, sharpen to a threshold, fade, and add grain and specks."""
    blurred = _windows(ink, torch.add, 3) / 9
    ink = ink + draw.uniform(0, 0.9) * draw.often(0.4) * (blurred - ink)
    hard = ((ink - draw.uniform(0.25, 0.5)) * 6 + 0.5).clamp(0, 1)
    ink = ink + draw.often(0.25) * (hard - ink)
    ink = ink * (1 - draw.uniform(0.0, 0.6) * draw.often(0.3))
    ink = ink + draw.normal(*ink.shape[1:]) * draw.uniform(0, 0.1) * draw.often(0.3)
    specks = draw.uniform(0, 1, *ink.shape[1:]) < 0.002
    ink = torch.where(specks & (draw.often(0.15) > 0), 1 - ink, ink)
    return ink.clamp(0, 1)
