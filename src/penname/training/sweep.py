"""A sweep: training runs with various options over the same packs, as a YAML file lists them.

    seeds: [1, 2, 3]
    options: {preset: origin, epochs: 20}      # of every run
    grid:                                      # every combination of these,
      batch_size: [32, 64]
      learning_rate: [0.01, 0.001]
    runs:                                      # or, instead of a grid, each of these
      - {batch_size: 32}
      - {batch_size: 32, warmup: 0}

Each run is an ordinary `penname train --resume` in a folder named by its options, a process of its
own. So a sweep can be stopped at any moment and started again, and its file may grow meanwhile.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import yaml

from penname.errors import OptionError, TrainingError
from penname.files import write_whole
from penname.ground_truth.pack_folder import Pack
from penname.model_folder import ModelFolder
from penname.options import from_json, to_json
from penname.training import checkpoint
from penname.training.loop import stop_signals
from penname.training.options import TrainOptions
from penname.training.run import check_same_options
from penname.training.sweep_report import Result, SweepReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

KEYS = {"seeds", "options", "grid", "runs"}
ELSEWHERE = {"seed": "list seeds under `seeds`", "device": "give --device"}
POLL = 0.1  # seconds between two looks at the processes
NOT_YAML = (  # what its parser raises, and what makes values of tags
    yaml.YAMLError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    ValueError,
)
LOG = "log.txt"  # in the folder of a run: what `penname train` says


@dataclass(frozen=True)
class Planned:
    """A run that is to be: its setting, which is what sets it apart but for the seed."""

    setting: str
    options: TrainOptions
    out: Path


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    returncode: int | Any

    def poll(self) -> int | None:
        """Return the exit code once it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM."""


Launch: TypeAlias = "Callable[[Planned, str], Process]"


def sweep(
    file: Path,
    packs: Sequence[Path],
    out: Path,
    *,
    start: str = "",
    devices: Sequence[str] = ("auto",),
    say: Callable[[str], None] = lambda _: None,
) -> SweepReport:
    """Train every run of a sweep that is not finished, a process a device, and report on all.

    SIGTERM or Ctrl-C stop the processes with a checkpoint each; call again to go on. A run that
    fails is named in the report and the others go on. The report is also written to
    `out/sweep.html` and `out/sweep.json`.

    Raises:
        OptionError: the file is no sweep, or holds unknown options or values.
        ModelError: there is no model `start`.
        TrainingError: `out` has runs of the same names with other options, packs or start.
        PackError: a pack is missing or damaged.
    """
    runs = read_plan(file, out)
    opened = [Pack.open(path) for path in packs]
    for run in runs:
        run.options.passes(len(packs))
    prints = [pack.checksum for pack in opened]
    begun_from = ModelFolder.load(start).checksum() if start else None
    waiting = [run for run in runs if not _finished(run, prints, begun_from)]
    say(f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished")

    def launch(run: Planned, device: str) -> Process:
        run.out.mkdir(parents=True, exist_ok=True)
        with (run.out / LOG).open("ab") as log:
            return subprocess.Popen(command(run, packs, start, device), stdout=log, stderr=log)

    out.mkdir(parents=True, exist_ok=True)
    failed = train_all(waiting, devices, launch, say)
    report = SweepReport(file.stem, tuple(_result(run, failed.get(run, "")) for run in runs))
    write_whole(out / "sweep.json", json.dumps(report.to_json()) + "\n")
    write_whole(out / "sweep.html", report.to_html())
    return report


def read_plan(file: Path, out: Path) -> list[Planned]:
    """Return the runs of a sweep's file, seed by seed, so that early results compare settings.

    Raises:
        OptionError: it is not such a file, or holds unknown options or values.
    """
    plan = _mapping(_parsed(file), str(file))
    if unknown := sorted(map(str, set(plan) - KEYS)):
        raise OptionError(
            f"{file}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(KEYS))}"
        )
    common = _typed(plan.get("options", {}), f"{file}: options")
    settings = [_typed(each, where) for each, where in _settings(plan, file)]
    names = [_named(each) for each in settings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"{file}: {', '.join(twice)} is there twice; list seeds under `seeds`")
    return [
        Planned(
            name,
            _options({**common, **setting, "seed": seed}, file),
            out / f"{name}, seed={seed}".replace(" ", ""),
        )
        for seed in _seeds(plan.get("seeds", [1]), file)
        for name, setting in zip(names, settings, strict=True)
    ]


def command(run: Planned, packs: Sequence[Path], start: str, device: str) -> list[str]:
    """Return the command line that trains a run on a device, from the model `start` if given."""
    words = [sys.executable, "-m", "penname", "train", "--resume", f"--out={run.out}"]
    words += [f"--pack={pack}" for pack in packs]
    words += [f"--from={start}"] if start else []
    options = to_json(replace(run.options, device=device))
    return words + [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


def _parsed(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text("utf-8"))
    except NOT_YAML as error:
        raise OptionError(f"{file} is not YAML: {error}") from None


def _settings(plan: dict[str, Any], file: Path) -> Iterator[tuple[Any, str]]:
    """Yield each setting as it is in the file, and where it is."""
    if ("grid" in plan) == ("runs" in plan):
        raise OptionError(f"{file}: give either `grid` or `runs`")
    if "runs" in plan:
        for number, setting in enumerate(_list(plan["runs"], f"{file}: runs"), start=1):
            yield setting, f"{file}: runs, the {number}."
        return
    grid = _mapping(plan["grid"], f"{file}: grid")
    values = [_list(values, f"{file}: grid, {name}") for name, values in grid.items()]
    for combination in itertools.product(*values):
        yield dict(zip(grid, combination, strict=True)), f"{file}: grid"


def _seeds(seeds: Any, file: Path) -> list[int]:
    values = _list(seeds, f"{file}: seeds")
    if any(type(seed) is not int for seed in values) or len(set(values)) < len(values):
        raise OptionError(
            f"{file}: seeds is {shortened(seeds)}; give different whole numbers, as [1, 2, 3]"
        )
    return values


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{where} is {shortened(value)}; write option: value pairs")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise OptionError(f"{where} is {shortened(value)}; write a list, as [32, 64]")
    return value


def _typed(setting: Any, where: str) -> dict[str, Any]:
    """Return options by name with their types; YAML takes 1e-3 for a text."""
    kinds: dict[str, Any] = {each.name: type(each.default) for each in fields(TrainOptions)}
    typed = {}
    for name, value in _mapping(setting, where).items():
        if name in ELSEWHERE:
            raise OptionError(f"{where}: {name} is not set there; {ELSEWHERE[name]}")
        if name not in kinds:
            raise OptionError(f"{where}: unknown option {name}; known: {', '.join(kinds)}")
        try:
            typed[name] = kinds[name](value)
            fits = kinds[name] is str or typed[name] == float(value)
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits or not isinstance(value, str | int | float) or isinstance(value, bool):
            raise OptionError(
                f"{where}: {name} is {shortened(value)}, not a {kinds[name].__name__}"
            )
    return typed


def _options(values: dict[str, Any], file: Path) -> TrainOptions:
    try:
        return from_json(TrainOptions, values)
    except OptionError as error:
        raise OptionError(f"{file}: {error}") from None


def _named(setting: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.items()) or "default"


def _finished(run: Planned, prints: list[str], start: str | None) -> bool:
    """Return whether a run is finished; refuse one made with other options, packs or start."""
    newest = checkpoint.latest(run.out)
    if not newest:
        return False
    state = checkpoint.read_state(newest)
    try:
        before, packs, finished = state["options"], state["packs"], bool(state["finished"])
        check_same_options(from_json(TrainOptions, before), run.options, newest)
    except (AttributeError, KeyError, TypeError) as error:
        raise TrainingError(f"{newest} is damaged ({error!r}); choose another --out") from None
    if packs != prints:
        raise TrainingError(f"{newest} was made with other packs; choose another --out")
    if state.get("from") != start:
        raise TrainingError(f"{newest} began with another --from; choose another --out")
    return finished


def train_all(
    runs: Sequence[Planned],
    devices: Sequence[str],
    launch: Launch,
    say: Callable[[str], None],
) -> dict[Planned, str]:
    """Train runs, one at a time on each device; return those that failed, and why.

    SIGTERM and Ctrl-C are passed on as SIGTERM, and nothing new is begun.
    """
    waiting, free = deque(runs), deque(devices)
    going: dict[Process, tuple[Planned, str]] = {}
    failed: dict[Planned, str] = {}
    told = False
    with stop_signals() as stopped, _ended(going):
        while going or (waiting and not stopped):
            while waiting and free and not stopped:
                run, device = waiting.popleft(), free.popleft()
                going[launch(run, device)] = run, device
                say(f"{run.out.name}: on {device}")
            time.sleep(POLL)
            if stopped and not told:
                told = True
                for process in going:
                    process.terminate()
            for process in [each for each in going if each.poll() is not None]:
                run, device = going.pop(process)
                free.append(device)
                if process.returncode and not stopped:
                    failed[run] = _last_words(run)
                say(f"{run.out.name}: {failed.get(run) or _progress(run)}")
    return failed


@contextmanager
def _ended(going: Collection[Process]) -> Iterator[None]:
    """End the processes that are still going when something raises."""
    try:
        yield
    finally:
        for process in going:
            process.terminate()


def _last_words(run: Planned) -> str:
    lines = (run.out / LOG).read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "failed without a word")


def _progress(run: Planned) -> str:
    result = _result(run)
    scores = "  ".join(f"{name} {value:.4g}" for name, value in result.scores.items())
    return f"epoch {result.epochs} of {run.options.epochs}  {scores}"


def _result(run: Planned, error: str = "") -> Result:
    """Return what a run has reached."""
    newest = checkpoint.latest(run.out)
    state = checkpoint.read_state(newest) if newest else {}
    return Result(
        setting=run.setting,
        options=run.options,
        history=state.get("history", []),
        seconds_a_step=state["seconds"] / max(1, state["step"]) if state else 0.0,
        finished=state.get("finished", False),
        error=error,
    )
