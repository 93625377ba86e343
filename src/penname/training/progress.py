"""What a run tells while it goes: a progress bar, `metrics.jsonl` and TensorBoard."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from penname.training.options import TrainOptions

log = logging.getLogger(__name__)


class Progress:
    """A bar per epoch with images/s, loss and ETA on stderr; records go to files."""

    def __init__(self, out: Path, steps_an_epoch: int, options: TrainOptions) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.steps, self.epochs = out, steps_an_epoch, options.epochs
        self.bar: tqdm[None] | None = None
        self.writer = SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_bar()
        self.writer.close()  # type: ignore[no-untyped-call]

    def step(self, epoch: int, images: int, loss_sum: float, lines: int) -> None:
        """Move the bar on by a batch of `images`."""
        if self.bar is None:
            self.bar = tqdm(
                desc=f"epoch {epoch + 1}/{self.epochs}",
                unit=" images",
                file=sys.stderr,
                mininterval=1.0,
                disable=None,  # off when stderr is no terminal
            )
        self.bar.update(images)
        self.bar.set_postfix(loss=f"{loss_sum / max(1, lines):.3f}", refresh=False)

    def record(self, record: dict[str, float], history: list[dict[str, float]]) -> None:
        """Report an epoch, and write the whole history: after a resume it has no repetitions."""
        self._close_bar()
        log.info("%s", "  ".join(f"{key} {value:.5g}" for key, value in record.items()))
        lines = "".join(json.dumps(entry) + "\n" for entry in history)
        temporary = self.out / ".metrics.jsonl.partial"
        temporary.write_text(lines, "utf-8")
        temporary.replace(self.out / "metrics.jsonl")
        for key, value in record.items():
            self.writer.add_scalar(key, value, record["step"])  # type: ignore[no-untyped-call]

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
