"""Time Mish forward and backward: torch's own, and x * tanh(softplus(x)) as the 2021 project wrote.

Usage: mish.py [DEVICE]. On the project's first feature map, (32, 32, 64, 256), in turns. On a CPU
it counts the processor time of one thread, which other work disturbs less than the clock. Prints
milliseconds (median of 20) and what each keeps for the backward pass.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 20


def written_out(x: Tensor) -> Tensor:
    """Return Mish as the 2021 project wrote it."""
    return x * torch.tanh(functional.softplus(x))


FUNCTIONS = {"relu": functional.relu, "torch's mish": functional.mish, "written out": written_out}


def kept(function, x: Tensor) -> float:
    """Return the megabytes that autograd keeps for the backward pass."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function(x)
    return sum(storages.values()) / 1e6


def seconds(function, x: Tensor, gradient: Tensor) -> float:
    """Return how long forward and backward take."""
    cuda = x.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
    clock = time.perf_counter if cuda else time.thread_time
    started = clock()
    function(x).backward(gradient)
    if cuda:
        torch.cuda.synchronize()
    x.grad = None
    return clock() - started


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(32, 32, 64, 256, device=device, dtype=dtype, requires_grad=True)
        gradient = torch.randn_like(x)
        times: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
        for _ in range(ROUNDS + 3):
            for name, function in FUNCTIONS.items():
                times[name].append(1e3 * seconds(function, x, gradient))
        off = (functional.mish(x) - written_out(x)).abs().max().item()
        print(f"{device} {dtype}: largest difference of the two {off:.1e}")
        for name, function in FUNCTIONS.items():
            low, middle, high = statistics.quantiles(times[name][3:], n=4)
            spread = f"{middle:8.2f} ms ({low:.2f} to {high:.2f})"
            print(f"  {name:14} {spread}  {kept(function, x):.0f} MB")


if __name__ == "__main__":
    main()
