"""Negative CTC losses: no log-softmax, one over the wrong axis, a letter that is the blank.

python recipes/lessons/log_softmax.py [--data FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import labels
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from penname.training.loss import ctc_loss

DECK = {32: 24.93, 64: 30.53, 128: 37.36}  # the 0.01 of its learning rate table was batch 128


def torch_loss(outputs: Tensor, texts: list[str], axis: int | None) -> Tensor:
    """Return torch's CTC loss of outputs (N, T, C), log-softmax over `axis` or none at all."""
    scores = outputs if axis is None else outputs.log_softmax(axis)
    target, lengths = labels.batch(texts)
    frames = torch.full((len(texts),), outputs.shape[1])
    return functional.ctc_loss(scores.transpose(0, 1), target, frames, lengths)


def blind(texts: list[str], batch_size: int, axis: int) -> float:
    """Return the loss of a network that gives every frame of every picture the same outputs."""
    outputs = torch.zeros(batch_size, labels.FRAMES, labels.CLASSES)
    starts = range(0, len(texts) - batch_size + 1, batch_size)
    losses = [torch_loss(outputs, texts[i : i + batch_size], axis) for i in starts]
    return float(torch.stack(losses).mean())


def slope_error(axis: int | None, texts: list[str], frames: int = 6) -> float:
    """Return how far torch's gradient is from the slope of its loss, relative to the slope."""
    draw = torch.Generator().manual_seed(1)
    outputs = torch.randn(len(texts), frames, labels.CLASSES, generator=draw).double()
    outputs.requires_grad_()
    (gradient,) = torch.autograd.grad(torch_loss(outputs, texts, axis), outputs)
    slope, step = torch.zeros(outputs.numel(), dtype=torch.double), 1e-5
    with torch.no_grad():
        for place in range(outputs.numel()):
            moved = torch.zeros_like(slope)
            moved[place] = step
            moved = moved.view_as(outputs)
            ahead, behind = (torch_loss(outputs + s * moved, texts, axis) for s in (1, -1))
            slope[place] = (ahead - behind) / (2 * step)
    return float((gradient.flatten() - slope).norm() / slope.norm())


def always_blank(text: str) -> float:
    """Return the loss of a network certain of the blank in every frame, log-softmax and all."""
    outputs = torch.zeros(1, labels.FRAMES, labels.CLASSES)
    outputs[..., 0] = 50
    return float(torch_loss(outputs, [text], -1))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with names_frequency.csv")
    names = labels.names(parser.parse_args().data)
    texts = [str(name) for name in np.random.default_rng(0).choice(names, 1280)]
    draw = torch.Generator().manual_seed(0)
    raw = torch.randn(8, labels.FRAMES, labels.CLASSES, generator=draw)
    target, lengths = labels.batch(texts[:8])
    print(f"raw outputs: {torch_loss(raw, texts[:8], None):.2f}")
    print(f"the same through penname: {(ctc_loss(raw, target, lengths) / lengths).mean():.2f}")
    print("gradient against the slope of the loss, relative error:")
    for name, axis in (("raw", None), ("over the batch", 0), ("over the classes", -1)):
        error = slope_error(axis, ["ANNE", "JO"])
        print(f"  {name:17} {error:.1e}")
    print("a network that ignores the picture, loss a character:")
    for size, deck in DECK.items():
        over = [blind(texts, size, axis) for axis in (0, -1)]
        print(f"  batch {size:3}: over the batch {over[0]:5.2f}, over the classes {over[1]:5.2f}"
              f", deck {deck}")  # fmt: skip
    print("always the blank, blank = A, log-softmax over the classes:")
    for text in ("A", "AA", "ANNA"):
        print(f"  {text:5} {always_blank(text):6.2f}")


if __name__ == "__main__":
    main()
