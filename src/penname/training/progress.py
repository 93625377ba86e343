"""What a run tells while it goes: a progress bar, `metrics.jsonl` and TensorBoard."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Self

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from penname.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


class Progress:
    """A bar per epoch with images/s, loss and ETA on stderr; records go to files."""

    def __init__(self, out: Path, epochs: int, step: int) -> None:
        """Go on from `step`; what TensorBoard has of later ones, a killed run wrote."""
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.epochs = out, epochs
        self.bar: tqdm[None] | None = None
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_bar()
        self.writer.close()

    def epoch(self, epoch: int, batches: Sequence[int], done: int) -> None:
        """Begin the bar of an epoch of batches of so many images, `done` of them behind us."""
        self.bar = tqdm(
            desc=f"epoch {epoch + 1}/{self.epochs}",
            total=sum(batches),
            initial=sum(batches[:done]),
            unit=" images",
            file=sys.stderr,
            mininterval=1.0,
            disable=None,  # off when stderr is no terminal
        )

    def step(self, images: int, loss_sum: float, lines: int) -> None:
        """Move the bar on by a batch of `images`."""
        if self.bar is not None:
            self.bar.update(images)
            self.bar.set_postfix(loss=f"{loss_sum / max(1, lines):.3f}", refresh=False)

    def record(self, record: dict[str, float], history: list[dict[str, float]]) -> None:
        """Report an epoch, and write the whole history: after a resume it has no repetitions."""
        self._close_bar()
        log.info("%s", "  ".join(f"{key} {value:.5g}" for key, value in record.items()))
        lines = "".join(json.dumps(entry) + "\n" for entry in history)
        write_whole(self.out / METRICS, lines)
        for key, value in record.items():
            self.writer.add_scalar(key, value, record["step"])

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
