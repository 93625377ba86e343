"""Padding labels with -1: harmless behind the true length, memory that is not ours within it.

python recipes/lessons/padding.py
"""

from __future__ import annotations

import labels
import torch
from torch import Tensor
from torch.nn import functional

from penname.training.loss import ctc_loss

FRAMES, CLASSES = 32, 6


def outputs(lines: int, last_class: float = 0) -> Tensor:
    """Return log_probs (T, N, C), the last class of all lines but the last moved by so much."""
    logits = torch.randn(FRAMES, lines, CLASSES, generator=torch.Generator().manual_seed(0))
    log_probs = logits.log_softmax(-1)
    log_probs[:, :-1, -1] += last_class
    return log_probs


def padded(pad: int) -> Tensor:
    """Return the labels of three lines, of 3, 2 and 1 characters, padded to 4."""
    return torch.tensor([[1, 2, 1, pad], [3, 2, pad, pad], [4, pad, pad, pad]])


def losses(log_probs: Tensor, pad: int, lengths: list[int]) -> list[float]:
    """Return torch's CTC loss of the three lines, each told to have so many labels."""
    frames = torch.full((3,), FRAMES)
    given = torch.tensor(lengths)
    return functional.ctc_loss(log_probs, padded(pad), frames, given, reduction="none").tolist()


def through_penname(pad: int) -> list[float]:
    """Return penname's loss of the same lines."""
    logits = outputs(3).transpose(0, 1)  # (T, N, C) -> (N, T, C)
    return ctc_loss(logits, padded(pad), torch.tensor([3, 2, 1])).tolist()


def show(name: str, values: list[float]) -> None:
    """Print a row."""
    print(f"  {name:44}" + "".join(f"{value:9.3f}" for value in values))


def main() -> None:
    """Print the figures."""
    print("true lengths 3, 2, 1")
    for pad in (0, -1, 5):
        show(f"padded with {pad}", losses(outputs(3), pad, [3, 2, 1]))
        show(f"padded with {pad}, penname", through_penname(pad))
    print("the padded length, 4, given for all: the second and third line")
    for last in (0.0, -20.0, -200.0):
        for pad in (0, -1):
            found = losses(outputs(3, last), pad, [3, 4, 4])[1:]
            show(f"padded with {pad}, last class of others {last:g}", found)
    print(f"the 2021 project padded with 0, its A and its blank: {labels.LETTERS[0]!r}")


if __name__ == "__main__":
    main()
