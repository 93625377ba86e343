"""Recorded passes: which sizes are recorded, that they are used, and that they compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from penname.alphabet import Alphabet
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec
from penname.training import model
from penname.training import run as runs
from penname.training.cuda_graphs import Pass, Size, record
from penname.training.options import TrainOptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPEC = ImageSpec(height=32, max_width=320, width_step=32)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Lines on canvases of 32, 64 and 320 pixels: 40, 16 and one."""
    rng = np.random.default_rng(0)
    with PackWriter(tmp_path / "p", Alphabet("AB"), SPEC, {}) as writer:
        for i, width in enumerate([32] * 40 + [64] * 16 + [320]):
            line = rng.integers(0, 256, (SPEC.height, width), dtype=np.uint8)
            writer.add(line, "AB", file=f"{i}.png", source="", split="train")
    return Pack.open(tmp_path / "p")


def test_full_batches_are_recorded_and_run_recorded(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Size] = []
    used: list[Size] = []

    def recorded(network: nn.Module, sizes: Iterable[Size], dtype: torch.dtype) -> dict[Size, Pass]:
        asked.extend(sizes)
        assert dtype == torch.float32

        def through(size: Size) -> Pass:
            def call(ink: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                used.append(size)
                logits, shortcut = network(ink)
                return logits, shortcut

            return call

        return {size: through(size) for size in asked}

    monkeypatch.setattr(runs, "record", recorded)
    monkeypatch.setattr(runs, "RECORDED", 0.15)  # of eight batches: two of a size
    made = TrainOptions(batch_size=8, precision="fp32", device="cpu", dropout=0.0)
    plain = runs.Run([pack], tmp_path / "plain", made)
    assert plain.recorded == {}
    assert not asked
    run = runs.Run([pack], tmp_path / "out", made)
    run.device = torch.device("cuda")  # nothing runs there: it decides about recording alone
    run.recorded = run._record(run.plan(0))
    run.device = torch.device("cpu")
    assert sorted(asked) == [(8, 1, 32, 32), (8, 1, 32, 64)]  # not the last one, nor its canvas
    batches = run.plan(0)
    for each in (run, plain):
        each.network.train()
        for lines in batches:
            each.step(each.train.batch(lines))
    assert sorted(used) == [(8, 1, 32, 32)] * 5 + [(8, 1, 32, 64)] * 2
    assert run.state.loss_sum == plain.state.loss_sum > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="recording needs a GPU")
@pytest.mark.parametrize("preset", sorted(model.SHAPES))
def test_recorded_passes_compute_what_the_network_does(preset: str) -> None:
    torch.manual_seed(0)
    network = model.build(TrainOptions(preset=preset, dropout=0.0), 64, 30).cuda()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    sizes = [(4, 1, 64, 128), (4, 1, 64, 256)]
    passes = record(network, sizes, torch.float32)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
    for size in [*sizes, *sizes]:  # each after the other: they share memory
        ink = torch.rand(size, device="cuda")
        found = []
        for forward in (network, passes[size]):
            network.zero_grad()
            logits, shortcut = forward(ink)
            (logits.square().sum() + shortcut.square().sum()).backward()
            grads = [weight.grad for weight in network.parameters() if weight.grad is not None]
            found.append([logits.detach().clone(), *(grad.clone() for grad in grads)])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="recording needs a GPU")
def test_what_a_recorded_pass_drops_depends_on_the_seed_alone() -> None:
    network = model.build(TrainOptions(dropout=0.5), 64, 30).cuda()
    size = (4, 1, 64, 128)
    recorded = record(network, [size], torch.float32)[size]
    ink, other = torch.rand(size, device="cuda"), torch.rand(4, 1, 64, 96, device="cuda")
    found = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        logits, shortcut = recorded(ink)
        torch.autograd.backward(logits.square().sum() + shortcut.square().sum())
        found.append(logits.detach().clone())
        torch.autograd.backward(network(other)[0].sum())  # a size that is not recorded
    torch.testing.assert_close(found[0], found[2])
    assert not torch.allclose(found[0], found[1])
