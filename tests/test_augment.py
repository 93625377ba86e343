"""Augmentation: what it may change of a batch, and what it must leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from penname.training import augment as module
from penname.training.augment import (
    _Draw,
    _grid,
    _rulings,
    _scanned,
    _strokes,
    _windows,
    augment,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def written(n: int, height: int = 48, width: int = 192) -> Tensor:
    """Return n times a word in ink, 1 on 0: (n, 1, H, W)."""
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).text((14, 10), "Isaac B.", 255, ImageFont.load_default(26))
    line = torch.from_numpy(np.asarray(picture) / np.float32(255))
    return line.expand(n, 1, height, width).clone()


def test_strength_0_is_the_identity() -> None:
    ink = written(3)
    assert torch.equal(augment(ink, generator(1), 0.0), ink)


@pytest.mark.parametrize(("height", "width"), [(48, 192), (16, 32), (64, 320), (33, 50)])
def test_shape_type_and_range_are_kept(height: int, width: int) -> None:
    ink = torch.rand(7, 1, height, width, generator=generator(0))
    out = augment(ink, generator(1), 1.0)
    assert out.shape == ink.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1


def test_a_seed_fixes_the_outcome_and_nothing_else_is_random() -> None:
    ink = written(8)
    before, state = ink.clone(), torch.get_rng_state()
    first = augment(ink, generator(5), 1.0)
    torch.manual_seed(99)
    assert torch.equal(augment(ink, generator(5), 1.0), first)
    assert not torch.equal(augment(ink, generator(6), 1.0), first)
    assert torch.equal(ink, before)  # not changed in place
    torch.set_rng_state(state)
    augment(ink, generator(5), 1.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_lines_of_a_batch_are_changed_differently() -> None:
    out = augment(written(16), generator(2), 1.0)
    pairs = [(out[i] - out[j]).abs().mean() for i in range(16) for j in range(i)]
    assert min(pairs) > 0.005


def test_blank_paper_stays_almost_blank() -> None:
    out = augment(torch.zeros(400, 1, 48, 128), generator(3), 1.0)
    ink = out.mean((1, 2, 3))
    assert ink.mean() < 0.015  # rulings are most of it
    assert ink.max() < 0.2
    assert (ink < 0.002).float().mean() > 0.5


def test_text_keeps_its_ink() -> None:
    ink = written(600)
    out = augment(ink, generator(4), 1.0)
    share = out.sum((1, 2, 3)) / ink.sum((1, 2, 3))
    assert 0.75 < share.mean() < 1.25
    assert (share > 0.25).float().mean() > 0.98  # hardly one is erased
    assert (share < 2.5).float().mean() > 0.96  # rulings are more than the word


def test_every_seventh_line_has_rulings_over_its_width_beside_the_middle() -> None:
    ink = torch.zeros(4000, 1, 48, 192)
    out = _rulings(ink, _Draw(generator(11), 4000, ink.device))
    ruled = out[out.amax((1, 2, 3)) > 0]
    assert 0.11 < len(ruled) / 4000 < 0.17
    assert ruled.amax((1, 2, 3)).min() >= 0.4
    along = (ruled > 0).float().mean((1, 3))  # (N, H): the share of each row
    assert (along.amax(1) > 0.25).float().mean() > 0.9  # dots fill a third at least
    assert (along.amax(1) == 1).float().mean() > 0.5
    upright = (ruled > 0).float().sum((1, 2))  # (N, W)
    sides = upright.amax(1) > 15
    assert 0.15 < sides.float().mean() < 0.35
    assert not (along[~sides, 14:34] > 0).any()
    name = written(200)
    assert (_rulings(name, _Draw(generator(12), 200, name.device)) >= name).all()


def test_strokes_grow_and_fade_by_at_most_a_pixel() -> None:
    ink = written(200)
    padded = functional.pad(ink, (1, 1, 1, 1))
    around = functional.unfold(padded, 3).view(200, 9, 48, 192)
    out = _strokes(ink, _Draw(generator(9), 200, ink.device))
    assert (out <= around.amax(1, keepdim=True) + 1e-6).all()
    assert (out >= around.amin(1, keepdim=True) - 1e-6).all()
    change = (out - ink).mean((1, 2, 3))
    assert (change > 0.005).float().mean() > 0.15
    assert (change < -0.005).float().mean() > 0.05
    inside = torch.ones(200, 1, 48, 192)  # nothing to fade within a blot, nor at its edges
    assert torch.allclose(_strokes(inside, _Draw(generator(9), 200, ink.device)), inside)


def test_windows_are_those_of_torchs_pools() -> None:
    ink = torch.rand(3, 1, 16, 32, generator=generator(10))
    assert torch.equal(_windows(ink, torch.maximum, 3), functional.max_pool2d(ink, 3, 1, 1))
    least = -functional.max_pool2d(-ink, (2, 2), 1, 1)[..., 1:, 1:]
    assert torch.equal(_windows(ink, torch.minimum, 2), least)
    mean = functional.avg_pool2d(functional.pad(ink, (1, 1, 1, 1), "replicate"), 3, 1)
    assert torch.allclose(_windows(ink, torch.add, 3) / 9, mean)


@pytest.mark.parametrize("end", [0, 1])
def test_neither_end_of_a_word_is_pushed_out_of_the_canvas(end: int) -> None:
    ink = written(600)
    columns = ink[0, 0].amax(dim=0).nonzero().flatten()
    at = int(columns[-8]) if end else int(columns[0])
    letter = torch.zeros_like(ink)  # eight columns of the first or last one
    letter[..., at : at + 8] = ink[..., at : at + 8]
    grid = _grid(letter, _Draw(generator(7), len(ink), ink.device), 1.0)
    out = functional.grid_sample(letter, grid, "bilinear", "zeros", align_corners=True)
    kept = out.sum((1, 2, 3)) / letter.sum((1, 2, 3))  # less than half where it is drawn smaller
    assert (kept > 0.4).float().mean() > 0.98


def test_strength_scales_the_geometry() -> None:
    ink = written(300)
    moved = []
    for strength in (0.25, 1.0):
        out = augment(ink, generator(8), strength)
        rows = torch.arange(48.0).view(1, 1, 48, 1)
        centre = (out * rows).sum((1, 2, 3)) / out.sum((1, 2, 3))
        moved.append(centre.std().item())
    assert moved[1] > 1.2 * moved[0]  # blots and neighbours move it at any strength


def test_every_kind_of_change_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["_neighbours", "_rulings", "_strokes", "_hidden", "_scanned"]
    called = []

    def noted(kind: str) -> Callable[..., Tensor]:
        change: Callable[..., Tensor] = getattr(module, kind)

        def changed(*given: Any) -> Tensor:
            called.append(kind)
            return change(*given)

        return changed

    for kind in kinds:
        monkeypatch.setattr(module, kind, noted(kind))
    augment(written(4), generator(0), 1.0)
    assert called == kinds


def test_waves_are_as_strong_as_told() -> None:
    ink = torch.rand(5, 1, 16, 48, generator=generator(0))
    still = _grid(ink, _Draw(generator(0), 5, ink.device), 1e-9)
    kept = functional.grid_sample(ink, still, "bilinear", "zeros", True)
    torch.testing.assert_close(kept, ink, rtol=0, atol=1e-4)


def test_some_scans_are_grainy_and_some_blurred() -> None:
    flat = _scanned(torch.full((2000, 1, 16, 16), 0.5), _Draw(generator(0), 2000, CPU))
    assert 0.2 < (flat.std((1, 2, 3)) > 0.02).float().mean() < 0.4
    edge = torch.zeros(2000, 1, 16, 16)
    edge[..., 8:] = 1
    blurred = _scanned(edge, _Draw(generator(0), 2000, CPU))
    assert 0.15 < (blurred[:, 0, 8, 7] > 0.1).float().mean() < 0.6
