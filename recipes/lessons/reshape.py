"""Frames that are not columns: a reshape where the axes had to change places.

python recipes/lessons/reshape.py [--steps 300]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import torch
from drawn import draw_pack, plain
from plateau import scores
from torch import Tensor, nn

from penname.training.model import Origin
from penname.training.run import Run

if TYPE_CHECKING:
    from penname.alphabet import Alphabet
    from penname.ground_truth.pack_folder import Pack
    from penname.line_image import ImageSpec

CELLS = 32  # of each LSTM, instead of 512


def columns(x: Tensor) -> Tensor:
    """Return (N, T, F * H) of features (N, F, H, T): frame t is column t."""
    return x.permute(0, 3, 1, 2).flatten(2)


def reshaped(x: Tensor) -> Tensor:
    """Return (N, T, F * H) as the 2021 project did: the numbers in the order they lie in memory."""
    return x.reshape(x.shape[0], x.shape[3], -1)


def frames_of_a_column(order: type[columns]) -> int:
    """Return how many of 64 frames change with one column of the picture's features."""
    x = torch.zeros(1, 128, 8, 64)
    changed = x.clone()
    changed[..., 10] = 1
    return int((order(x) != order(changed)).any(2).sum())


class Small(Origin):
    """The origin's network with few LSTM cells, its frames made by `order`."""

    def __init__(self, height: int, classes: int, order: type[columns]) -> None:
        super().__init__(height, classes, mish=False)
        self.order = order
        self.recurrent = nn.LSTM(64, CELLS, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * CELLS, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return logits (N, T, C) and no shortcut, of ink (N, 1, H, W)."""
        frames, _ = self.recurrent(self.squeeze(self.order(self.convolutions(images))))
        return self.head(frames), None


def trained(pack: Pack, out: Path, order: type[columns], steps: int) -> tuple[float, ...]:
    """Return characters written, correct by position, CER and exact match after so many steps."""

    def begin(alphabet: Alphabet, spec: ImageSpec, *_: object) -> tuple[Alphabet, Small]:
        return alphabet, Small(spec.height, alphabet.classes, order)

    with patch("penname.training.run.begin", begin):
        run = Run([pack], out, plain("origin", 32, 3e-3))
    for step in range(steps):
        plan = run.plan(step // run.steps_an_epoch)
        run.step(run.train.batch(plan[step % run.steps_an_epoch]))
    return scores(run)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    print("frames that change with one column of features: reshape, permute")
    print("  ", frames_of_a_column(reshaped), frames_of_a_column(columns))
    with tempfile.TemporaryDirectory() as folder:
        pack = draw_pack(Path(folder) / "pack", 2000)
        for name, order in (("reshape", reshaped), ("permute", columns)):
            _, by_position, cer, exact = trained(pack, Path(folder), order, steps)
            found = f"characters {by_position:.1%}, CER {cer:.1%}, words {exact:.1%}"
            print(f"  {steps} steps with {name}: {found}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
