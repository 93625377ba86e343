"""CUDA graphs: the network's two passes recorded for a size of batch, then launched as a whole.

A step of a small network is some 1,500 short kernels, most of them the LSTM's. Launching them one
by one takes the processor twice as long as they take the GPU; a recording is launched at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from penname.training.device import autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Size: TypeAlias = tuple[int, int, int, int]  # of a batch of ink: (N, 1, H, W)
Pass: TypeAlias = "Callable[[Tensor], tuple[Tensor, Tensor]]"


class _Recorded(nn.Module):
    """The network with its arithmetic; each recording needs a module of its own."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, ink: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(ink.device, self.dtype, keep_weights=False):
            logits, shortcut = self.network(ink)
        return logits, shortcut


def record(network: nn.Module, sizes: Iterable[Size], dtype: torch.dtype) -> dict[Size, Pass]:
    """Return the network's forward pass for each size, its backward pass recorded with it.

    A pass must be followed by its backward pass before another one runs: they share memory. The
    network's buffers are as before; its weights may change in place.
    """
    device = next(network.parameters()).device
    pool = torch.cuda.graph_pool_handle()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    passes: dict[Size, Pass] = {}
    for size in sorted(sizes, reverse=True):  # the largest first: the others fit in its memory
        ink = torch.zeros(size, device=device).contiguous(memory_format=torch.channels_last)
        module = _Recorded(network, dtype)
        torch.cuda.make_graphed_callables(module, (ink,), pool=pool)  # replaces its forward
        passes[size] = module
    with torch.no_grad():
        for name, buffer in network.named_buffers():  # recording has run the network
            buffer.copy_(before[name])
    return passes
