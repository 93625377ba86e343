"""Checkpoints: exact, whole or invisible, and nothing pickled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from penname import files
from penname.errors import TrainingError
from penname.training import checkpoint


class Parts:
    """A small network with its average and its optimiser, some steps along."""

    def __init__(self, seed: int, steps: int = 3) -> None:
        torch.manual_seed(seed)
        # The convolution lies in memory as it does in a run: channels last.
        self.network: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 0.1)
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.optimizer.zero_grad()
        self.network(torch.randn(2, 3, 5, 5, generator=generator)).square().sum().backward()
        self.optimizer.step()

    def save(self, folder: Path, step: int, **more: Any) -> Path:
        state = {"step": step} | more
        return checkpoint.save(folder, self.network, self.average, self.optimizer, state)

    def load(self, path: Path) -> None:
        checkpoint.load(path, self.network, self.average, self.optimizer)

    def everything(self) -> dict[str, torch.Tensor]:
        tensors = {f"n/{name}": t for name, t in self.network.state_dict().items()}
        tensors |= {f"a/{name}": t for name, t in self.average.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"o/{i}/{name}": t for name, t in state.items()}
        return {name: tensor.clone() for name, tensor in tensors.items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) and tensor.dtype == theirs[name].dtype
        for name, tensor in ours.items()
    )


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved, loaded = Parts(1), Parts(2, steps=1)
    expected = saved.everything()
    assert expected["o/0/step"] == 3
    assert not same(loaded.everything(), expected)
    path = saved.save(tmp_path, 7, name="Zoé", best=float("inf"))
    assert checkpoint.read_state(path) == {"step": 7, "name": "Zoé", "best": float("inf")}
    loaded.load(path)
    assert same(loaded.everything(), expected)
    saved.step()
    loaded.step()
    assert same(loaded.everything(), saved.everything())


def test_the_optimiser_lies_in_memory_as_it_did(tmp_path: Path) -> None:
    saved, loaded = Parts(1), Parts(2, steps=0)
    loaded.load(saved.save(tmp_path, 1))
    weights = saved.network.parameters(), loaded.network.parameters()
    for ours, theirs in zip(*weights, strict=True):
        for key, value in saved.optimizer.state[ours].items():
            assert loaded.optimizer.state[theirs][key].stride() == value.stride(), key


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_a_fused_optimiser_counts_its_steps_where_its_weights_are(tmp_path: Path) -> None:
    path = Parts(1).save(tmp_path, 1)
    network = Parts(2).network.to("meta")  # which stands for a GPU
    optimizer = torch.optim.AdamW(network.parameters())
    checkpoint.load(path, network, Parts(2).average, optimizer)
    assert {state["step"].device.type for state in optimizer.state.values()} == {"meta"}


def test_an_optimiser_without_a_step_is_saved_too(tmp_path: Path) -> None:
    saved, loaded = Parts(1, steps=0), Parts(2)
    loaded.load(saved.save(tmp_path, 0))
    assert same(loaded.everything(), saved.everything())


def test_the_newest_checkpoint_is_kept_alone(tmp_path: Path) -> None:
    parts = Parts(1)
    assert checkpoint.latest(tmp_path / "none") is None
    for step in (9, 10, 100):
        path = parts.save(tmp_path, step)
        assert checkpoint.latest(tmp_path) == path
        assert list(tmp_path.iterdir()) == [path]


def test_what_is_called_otherwise_is_neither_loaded_nor_deleted(tmp_path: Path) -> None:
    others = ["step-00000001-keep", "step-notes", "step-log.txt"]
    for name in others[:2]:
        (tmp_path / name).mkdir()
    (tmp_path / others[2]).touch()
    path = Parts(1).save(tmp_path, 1)
    assert checkpoint.latest(tmp_path) == path
    newest = Parts(1).save(tmp_path, 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, newest.name])


def test_files_are_safetensors_and_json(tmp_path: Path) -> None:
    path = Parts(1).save(tmp_path, 1)
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    kinds = {"network.safetensors", "average.safetensors", "optimizer.safetensors", "state.json"}
    assert set(files) == kinds
    json.loads(files.pop("state.json"))
    for data in files.values():
        assert json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # the header


class CrashError(Exception):
    """What stands for a power cut."""


def crash(*_: object, **__: object) -> None:
    raise CrashError


@pytest.mark.parametrize("step", [1, 2])  # the same step again, as where a run ends, or the next
def test_a_crash_before_the_rename_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    old, new = Parts(1), Parts(2)
    path = old.save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(CrashError):
            new.save(tmp_path, step)
    assert checkpoint.latest(tmp_path) == path
    found = Parts(3)
    found.load(path)
    assert same(found.everything(), old.everything())
    newer = new.save(tmp_path, 3)
    assert list(tmp_path.iterdir()) == [newer]  # what the crash left is gone


def test_a_full_disk_is_named_and_the_old_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Parts(1).save(tmp_path, 1)

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"safetensors: cannot be written \(.*No space left"):
        Parts(2).save(tmp_path, 2)
    assert checkpoint.latest(tmp_path) == path


@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_after_the_rename_leaves_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    old, new = Parts(1), Parts(2)
    old.save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(CrashError):
            new.save(tmp_path, step)
    newest = checkpoint.latest(tmp_path)
    assert newest
    found = Parts(3)
    found.load(newest)
    assert same(found.everything(), new.everything())


def test_the_files_are_synced_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename = Path.rename

    def noted(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    for module in (checkpoint, files):
        monkeypatch.setattr(module, "sync", lambda path: done.append(path.name))
    monkeypatch.setattr(Path, "rename", noted)
    Parts(1).save(tmp_path / "out", 1)
    last = done.index("rename")
    assert set(done[:last]) >= {"network.safetensors", "average.safetensors", ".state.json.partial"}
    assert done[last - 1 :] == [".step-00000001.partial", "rename", "out"]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "3"])
def test_a_broken_state_is_named(tmp_path: Path, content: str | None) -> None:
    path = Parts(1).save(tmp_path, 1)
    (path / "state.json").unlink()
    if content is not None:
        (path / "state.json").write_text(content)
    with pytest.raises(TrainingError, match=r"step-00000001/state\.json"):
        checkpoint.read_state(path)


@pytest.mark.parametrize("name", ["network", "average", "optimizer"])
def test_a_broken_file_of_tensors_is_named(tmp_path: Path, name: str) -> None:
    parts = Parts(1)
    path = parts.save(tmp_path, 1)
    file = path / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(TrainingError, match=rf"{name}\.safetensors"):
        parts.load(path)
