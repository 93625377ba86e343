"""Checkpoint: a directory from which training goes on as if it had never stopped.

`step-00000123/` holds `network.safetensors`, `average.safetensors`, `optimizer.safetensors` and a
readable `state.json`. It is written under a temporary name, synced and renamed to a name that is
new, so one that can be seen is whole; the one before is deleted only then. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from penname.errors import TrainingError
from penname.files import sync, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

PREFIX = "step-"
NAME = re.compile(rf"{PREFIX}\d{{8,}}\+*")


def save(
    folder: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> Path:
    """Write the checkpoint of `state["step"]` into `folder` and delete older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _new_name(folder, state["step"])
    for unfinished in folder.glob(f".{PREFIX}*.partial"):  # of runs that were killed
        shutil.rmtree(unfinished)
    temporary = folder / f".{path.name}.partial"
    temporary.mkdir()
    save_tensors(network.state_dict(), temporary / "network.safetensors")
    save_tensors(average.state_dict(), temporary / "average.safetensors")
    save_tensors(_optimizer_tensors(network, optimizer), temporary / "optimizer.safetensors")
    write_json(temporary / "state.json", state)
    sync(temporary)
    temporary.rename(path)
    sync(folder)
    for other in _all(folder):
        if other != path:
            shutil.rmtree(other)
    return path


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint in `folder`, or None."""
    checkpoints = _all(folder)
    return checkpoints[-1] if checkpoints else None


def read_state(path: Path) -> dict[str, Any]:
    """Return the readable part of a checkpoint.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        state = json.loads((path / "state.json").read_text("utf-8"))
        return dict(state)
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path / 'state.json'}: {error}; start again with another --out"
        ) from None


def load(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Load weights, averaged weights and optimiser state from a checkpoint."""
    network.load_state_dict(load_tensors(path / "network.safetensors"))
    average.load_state_dict(load_tensors(path / "average.safetensors"))
    tensors = load_tensors(path / "optimizer.safetensors")
    names = {id(weight): name for name, weight in network.named_parameters()}
    for group in optimizer.param_groups:
        for weight in group["params"]:
            prefix = f"{names[id(weight)]}/"
            optimizer.state[weight] = {
                key.removeprefix(prefix): _like(weight, value)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file on the CPU."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: cannot be read ({error})") from None
    return tensors


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as a safetensors file and sync it.

    Raises:
        TrainingError: it cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(stored, path)
    except SafetensorError as error:  # as of a full disk
        raise TrainingError(
            f"{path}: cannot be written ({error}); make room and go on with --resume"
        ) from None
    sync(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old or the new, whole."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, weight in network.named_parameters()
        for key, value in optimizer.state.get(weight, {}).items()
    }


def _like(weight: Tensor, value: Tensor) -> Tensor:
    """Return a value of the optimiser where and as AdamW made it, beside its weight.

    Another layout takes other loops through the same update, and those may round differently.
    Steps are counted on the device too.
    """
    if value.shape == weight.shape:
        return torch.empty_like(weight).copy_(value)
    return value.to(weight.device)


def _new_name(folder: Path, step: int) -> Path:
    """Return a free name that sorts last; the same step is saved twice where a run ends."""
    name = f"{PREFIX}{step:08d}"
    while any(other.name.startswith(name) for other in _all(folder)):
        name += "+"
    return folder / name


def _all(folder: Path) -> list[Path]:
    found = folder.glob(f"{PREFIX}*") if folder.is_dir() else ()
    return sorted(path for path in found if NAME.fullmatch(path.name))  # others are not ours
