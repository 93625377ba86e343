"""How long CTC writes nothing: characters, words and CER along the first steps of training.

python recipes/lessons/plateau.py                            drawn names, a small network, a minute
python recipes/lessons/plateau.py --pack PACK --preset origin --batch-size 32 --learning-rate 1e-3
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from drawn import SMALL, draw_pack, plain

from penname.ground_truth.pack_folder import Pack
from penname.metrics import cer, correct_characters, exact, ratio
from penname.training import model
from penname.training.data import loaded
from penname.training.options import PRESETS
from penname.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator


class Point(NamedTuple):
    """What the network writes after some steps, over validation lines."""

    step: int
    loss: float  # of the training lines since the last point, a character
    written: float  # characters it writes over characters there are
    by_position: float  # the 2021 project's "correct characters"
    cer: float
    exact: float


def curve(run: Run, steps: int, every: int) -> Iterator[Point]:
    """Train a run and yield a point each `every` steps."""
    plans = chain.from_iterable(run.plan(epoch) for epoch in range(steps))
    batches = [plan for plan, _ in zip(plans, range(steps), strict=False)]
    before, characters = 0.0, 0
    with closing(loaded(run.train, batches, run.device)) as loading:
        for batch in loading:
            run.step(batch)
            characters += int(batch.label_lengths.sum())
            if run.state.step % every == 0:
                loss = (run.state.loss_sum - before) / characters
                before, characters = run.state.loss_sum, 0
                yield Point(run.state.step, loss, *scores(run))


def scores(run: Run) -> tuple[float, float, float, float]:
    """Return characters written, correct by position, CER and exact match."""
    pairs = list(zip(run.validation.texts, run.read(run.validation), strict=True))
    written = sum(len(h) for _, h in pairs) / sum(len(r) for r, _ in pairs)
    rates = [ratio(*map(sum, zip(*(m(r, h) for r, h in pairs), strict=True)))
             for m in (correct_characters, cer, exact)]  # fmt: skip
    return written, rates[0], rates[1], rates[2]


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="names")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=50)
    given = parser.parse_args()
    options = plain(given.preset, given.batch_size, given.learning_rate)
    with tempfile.TemporaryDirectory() as folder:
        if given.pack is None:
            model.SHAPES["names"] = SMALL
        pack = Pack.open(given.pack) if given.pack else draw_pack(Path(folder) / "pack", 2000)
        run = Run([pack], Path(folder), options)
        print(run.introduction())
        print("  step   loss  written  by position    CER  words")
        for p in curve(run, given.steps, given.every):
            print(f"{p.step:6} {p.loss:6.2f} {p.written:8.1%} {p.by_position:12.1%} "
                  f"{p.cer:6.1%} {p.exact:6.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
