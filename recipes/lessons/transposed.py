"""(N, T, C) given where CTC wants (T, N, C): refused, unless the batch is square.

python recipes/lessons/transposed.py
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from penname.training.loss import ctc_loss


def transposed(logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """Return torch's loss of each line for log_probs left at (N, T, C): batch taken for time."""
    frames = torch.full((logits.shape[0],), logits.shape[1])
    return functional.ctc_loss(logits.log_softmax(-1), labels, frames, lengths, reduction="none")


def touched(lines: int, frames: int) -> tuple[int | str, int]:
    """Return how many lines' losses change with one line's outputs: transposed, and right."""
    logits = torch.randn(lines, frames, 6, generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[0, :, 1] += 1
    labels, lengths = torch.ones(lines, 1, dtype=torch.long), torch.ones(lines, dtype=torch.long)

    def moved(loss: type[transposed] | type[ctc_loss]) -> int:
        return int((loss(logits, labels, lengths) != loss(changed, labels, lengths)).sum())

    try:
        wrong: int | str = moved(transposed)
    except RuntimeError as error:
        wrong = str(error).splitlines()[0]
    return wrong, moved(ctc_loss)


def main() -> None:
    """Print the figures."""
    print("lines whose loss changes with one line's outputs: transposed, right")
    for lines in (32, 64):
        print(f"  {lines} lines of 64 frames:", *touched(lines, 64), sep="  ")


if __name__ == "__main__":
    main()
