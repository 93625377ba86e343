"""Device: where a network is trained, in which arithmetic and memory layout."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from penname.errors import OptionError

AMPERE = (8, 0)  # compute capability
BF16 = {"amx_bf16", "avx512_bf16"}  # flags of processors with products of bf16 (docs/log.md)


def find_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU where there is one.

    Raises:
        OptionError: torch cannot use it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # passes are recorded on the current device
    except (RuntimeError, AssertionError, ImportError) as error:
        why = str(error).partition(". ")[0]  # a list of all that torch is made of follows
        raise OptionError(f"device is {name!r}, which torch cannot use here: {why}") from None
    if device.type == "meta":
        raise OptionError("device is 'meta', which computes nothing")
    return device


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network, its convolutions with channels last, which CPUs and GPUs read faster."""
    moved: nn.Module = network.to(device)
    return moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """Return the type to compute in: bf16 where processors have it, GPUs from Ampere on."""
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= AMPERE  # others emulate it
    else:
        fast = not BF16.isdisjoint(_cpu_flags().split())
    return (
        torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32
    )


def autocast(
    device: torch.device, dtype: torch.dtype, *, keep_weights: bool = True
) -> torch.autocast:
    """Return the context in which a network computes in `dtype`.

    It keeps the rounded weights of a pass unless told not to, as a recorded pass must; without
    them a step on a CPU takes a twentieth longer.
    """
    mixed = dtype != torch.float32
    return torch.autocast(device.type, dtype, enabled=mixed, cache_enabled=keep_weights)


def _cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8") if path.exists() else ""
