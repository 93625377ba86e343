"""The training loop: packs in, a directory with checkpoints, the best weights and metrics out.

It goes through the epochs of a `Run`, saves now and then, and stops when it is told to: by a time
limit, SIGTERM or Ctrl-C, always after a whole step and with a checkpoint.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from penname.errors import TrainingError
from penname.ground_truth.pack_folder import Pack
from penname.training import checkpoint
from penname.training.data import loaded
from penname.training.options import TrainOptions, seconds
from penname.training.progress import METRICS, Progress
from penname.training.run import Run, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from penname.model_folder import ModelFolder

log = logging.getLogger(__name__)


def train(
    packs: Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    start: ModelFolder | None = None,
    teacher: ModelFolder | None = None,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> State:
    """Train on packs; leave checkpoints, `best/`, `metrics.jsonl` and TensorBoard files in `out`.

    A time limit, SIGTERM or Ctrl-C end the run after the current step with a checkpoint; call again
    with `resume=True` to go on. The time is counted from when it `started` by the clock, else from
    now. The returned state says whether it `finished`.

    Raises:
        TrainingError: nothing to train on, a checkpoint in the way or of another run, another run
            at work in `out`, or several steps in a row without a finite loss.
        PackError: a pack is missing or damaged.
    """
    started = clock() if started is None else started
    _newest(out, resume)  # what is in the way is said before packs are opened
    run = Run([Pack.open(path) for path in packs], out, options, start, teacher)
    with alone(out):
        if newest := _newest(out, resume):
            run.resume(newest)
        else:
            if resume:
                log.info("%s has no checkpoint yet: beginning", out)
            # A run that was killed before its first checkpoint may have left its best.
            for left in (out / "best" / "training.json", out / METRICS):
                left.unlink(missing_ok=True)
        if run.state.finished:
            log.info("%s is finished", out)
        else:
            log.info("%s", run.introduction())
            _go_on(run, started, clock)
    return run.state


def _newest(out: Path, resume: bool) -> Path | None:
    """Return the newest checkpoint of a run that is to go on; of a new one, there is to be none."""
    newest = checkpoint.latest(out)
    if newest and not resume:
        raise TrainingError(f"{newest} exists; go on with --resume or choose another --out")
    return newest


def _go_on(run: Run, started: float, clock: Callable[[], float]) -> None:
    """Take the steps that are left, or those until the run is told to stop."""
    out, options, before = run.out, run.options, run.state.seconds
    deadline, save_every = started + seconds(options.time_limit), seconds(options.save_every)
    next_save = started + save_every
    with stop_signals() as stopped, Progress(out, options.epochs, run.state.step) as progress:
        while not run.state.finished:
            batches, done = run.plan(run.state.epoch), run.state.batches_done
            progress.epoch(run.state.epoch, [len(lines) for lines in batches], done)
            with closing(loaded(run.train, batches[done:], run.device)) as loading:
                for batch in loading:
                    run.step(batch)
                    now = clock()
                    run.state.seconds = before + now - started
                    progress.step(len(batch.ids), run.state.loss_sum, run.state.lines_done)
                    if stopped or now >= deadline:
                        run.save()
                        log.info("stopped at step %d; go on with --resume", run.state.step)
                        return
                    if now >= next_save:
                        run.save()
                        next_save = clock() + save_every
            run.end_epoch(progress)
        run.save()


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder until this one is through or dead, however it dies.

    Where the file system has no locks this says so, as a file that stands for one would outlive a
    machine that is taken away.

    Raises:
        TrainingError: when another run is at work in it.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError(f"another run is at work in {out}; choose another --out") from None
    except OSError as error:
        log.warning("%s cannot be locked (%s): let no other run work in it", out, error)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C instead of dying; a second Ctrl-C dies.

    Only a program's main thread may take signals; elsewhere this does nothing.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, _frame: object) -> None:
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(number)
        with suppress(OSError):  # of a stderr that nobody reads any more
            os.write(2, b"stopping after this step\n")  # print may be what was interrupted

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
