"""Prune: LSTM layers with fewer cells, close to the whole on what comes to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from test_factorise import OPTIONS, log_probs, made, pictures, wide

from penname.cli import main
from penname.errors import OptionError
from penname.inputs import expand
from penname.model_folder import ModelFolder
from penname.training.loop import train
from penname.training.model import SHAPES, Reader, build_like, shape_of
from penname.training.prune import _fit, _pruned, _second_moments, prune
from penname.training.start import network_with, weights_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pictures", "wide"]  # fixtures
IDLE = 5, 9, 14  # cells that always give 0


def network(*, together: int = 1, idle: tuple[int, ...] = ()) -> Reader:
    """A network of random weights with 16 cells, of which some give nothing."""
    torch.manual_seed(0)
    made = Reader(replace(SHAPES["names"], cells=16, together=together), 4, 0.0).eval()
    with torch.no_grad():
        for layer in made.recurrent:
            for name, weight in layer.named_parameters():
                weight.mul_(3)
                for cell in idle:
                    weight[3 * 16 + cell] = -30 if name.startswith("bias") else 0  # output gate
    return made


def ink(seed: int) -> torch.Tensor:
    return torch.rand(1, 1, 16, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("together", [1, 2])
def test_cells_that_give_nothing_are_left_out_and_nothing_changes(together: int) -> None:
    whole = network(together=together, idle=IDLE)
    moments = _second_moments(whole, map(ink, range(40)))
    weights = {k: v for k, v in whole.state_dict().items() if "num_batches" not in k}
    pruned = _pruned(weights, moments, 13)
    smaller = network_with(pruned).eval()
    assert shape_of(pruned).cells == 13
    with torch.no_grad():
        before, after = whole(ink(99))[0], smaller(ink(99))[0]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    assert before.std() > 0.05
    rows = [i + gate * 16 for gate in range(4) for i in range(16) if i not in IDLE]
    ways = ("weight_ih_l0", "weight_ih_l0_reverse", "bias_hh_l0")
    for name in (f"recurrent.0.{way}" for way in ways):
        assert torch.equal(pruned[name], weights[name][rows])


def test_second_moments_are_those_of_what_the_layers_give() -> None:
    whole = network()
    found = _second_moments(whole, [ink(1), ink(2)])
    given: list[np.ndarray] = []
    with torch.no_grad():
        for line in (ink(1), ink(2)):
            columns = whole.stages(whole.stem(line)).amax(2).transpose(1, 2)
            given.append(whole.recurrent[0](columns)[0][0].numpy())
    expected = np.einsum("ti,tj->ij", *[np.concatenate(given)] * 2)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-4, atol=1e-6)
    assert found[1].shape == (32, 32)


def test_a_fit_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    kept = [0, 2, 3]
    found = _fit(torch.from_numpy(values.T @ values / 500).float(), torch.tensor(kept))
    expected = np.linalg.lstsq(values[:, kept], values, rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)
    assert np.abs(expected[[1, 4, 5]]).max() > 0.2


def test_cells_that_nobody_listens_to_go_first() -> None:
    whole, loud = network(), [3, 4]
    moments = _second_moments(whole, map(ink, range(20)))
    moments[1][loud, loud] = 1e3
    weights = {k: v.clone() for k, v in whole.state_dict().items() if "num_batches" not in k}
    weights["head.weight"][:, loud] = 0
    kept = _pruned(weights, moments, 14)["recurrent.1.bias_ih_l0"]
    rows = [i + gate * 16 for gate in range(4) for i in range(16) if i not in loud]
    assert torch.equal(kept, weights["recurrent.1.bias_ih_l0"][rows])


@pytest.mark.parametrize("name", ["recurrent.0.weight_hh_l0", "head.weight"])
def test_what_listens_to_cells_that_go_hears_it_from_the_others(name: str) -> None:
    whole = network()
    weights = {k: v for k, v in whole.state_dict().items() if "num_batches" not in k}
    pruned = _pruned(weights, _second_moments(whole, map(ink, range(20))), 12)
    for heard in pruned[name].T:
        assert not any(torch.isin(heard, other).all() for other in weights[name].T)


def test_a_pruned_model_reads_nearly_the_same_and_trains_on(tmp_path: Path, pictures: Path) -> None:
    folder = made(tmp_path)
    before, whole = log_probs(folder), tmp_path / "whole"
    shutil.copytree(folder.path, whole)
    words = ["prune", str(folder.path), "--pictures", str(pictures), "--cells", "12"]
    assert main(words) == 0
    pruned = ModelFolder.load(folder.path)
    weights = [weight.numel() for weight in build_like(weights_of(pruned)).parameters()]
    assert pruned.training["parameters"] == sum(weights) < folder.training["parameters"]
    assert shape_of(weights_of(pruned)).cells == pruned.training["cells"] == 12
    error = log_probs(pruned) - before
    assert error.std() < 0.3 * before.std()
    start, teacher = pruned, ModelFolder.load(whole)
    state = train([tmp_path / "pack"], tmp_path / "on", OPTIONS, start=start, teacher=teacher)
    assert state.finished


def test_more_cells_than_there_are_cannot_stay(tmp_path: Path, pictures: Path) -> None:
    folder = made(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    for cells in (0, 16, 20):
        with pytest.raises(OptionError, match=f"old has 16 cells; {cells} is not fewer"):
            prune(folder, expand([pictures]), cells)
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before
