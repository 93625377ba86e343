"""NaN: what makes the CTC loss or its gradient not finite.

python recipes/lessons/not_a_number.py [--device cuda]
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import labels
import torch
from torch.nn import functional


class Outcome(NamedTuple):
    """A line's loss, and whether its gradient and that of the line beside it are finite."""

    loss: float
    gradient: bool
    neighbour: bool


def outcome(texts: list[str], frames: int, device: str, *, zero_infinity: bool = False,
            scale: float = 1, cudnn: bool = False) -> Outcome:  # fmt: skip
    """Return what CTC makes of the first text; labels on the host as int32 ask for cuDNN."""
    draw = torch.Generator().manual_seed(0)
    outputs = scale * torch.randn(len(texts), frames, labels.CLASSES, generator=draw)
    outputs = outputs.to(device).requires_grad_()
    target, lengths = labels.batch(texts)
    if cudnn:
        target = torch.cat([row[:n] for row, n in zip(target, lengths, strict=True)]).int() + 1
    losses = functional.ctc_loss(
        outputs.log_softmax(-1).transpose(0, 1),
        target if cudnn else (target + 1).to(device),  # 0 is the blank
        torch.full((len(texts),), frames, dtype=torch.int32 if cudnn else torch.int64),
        lengths.int() if cudnn else lengths,
        reduction="none",
        zero_infinity=zero_infinity,
    )
    (gradient,) = torch.autograd.grad(losses.sum(), outputs)
    finite = torch.isfinite(gradient).flatten(1).all(1).tolist()
    return Outcome(losses[0].item(), finite[0], finite[1])


CASES = {
    "fits": (["ANNE", "JO"], 5, 1.0),
    "a frame short for its repeat": (["ANNE", "JO"], 4, 1.0),
    "empty": (["", "JO"], 5, 1.0),
    "outputs of 1e6": (["ANNE", "JO"], 5, 1e6),
    "outputs of 1e10": (["ANNE", "JO"], 5, 1e10),
}


def outside(before: float) -> float:
    """Return the loss of a label with a character that the alphabet lacks, after a float `before`.

    `str.find` gives -1, and torch reads the number in front of the frame; in front of the first
    frame of a batch that is other memory. Here the memory is ours.
    """
    memory = torch.full((1 + labels.FRAMES * labels.CLASSES,), -3.4)
    memory[0] = before
    log_probs = memory[1:].view(labels.FRAMES, 1, labels.CLASSES)
    target, lengths = labels.batch(["É"])
    return float(functional.ctc_loss(log_probs, target, torch.tensor([labels.FRAMES]), lengths))


def report(device: str) -> None:
    """Print the outcome of every case, with torch's own kernels and cuDNN's."""
    for cudnn in (False, True) if device == "cuda" else (False,):
        for zero in (False, True):
            print(f"{device}, cuDNN asked for: {cudnn}, zero_infinity={zero}")
            for name, (texts, frames, scale) in CASES.items():
                o = outcome(texts, frames, device, zero_infinity=zero, scale=scale, cudnn=cudnn)
                print(f"  {name:30} loss {o.loss:9.3g}  gradient finite: {o.gradient}"
                      f", its neighbour's: {o.neighbour}")  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    report(parser.parse_args().device)
    print(f"label -1, number in front -3.4: {outside(-3.4):.2f}; NaN: {outside(torch.nan)}")


if __name__ == "__main__":
    main()
