"""A sweep: its file, its processes, what it resumes, and the numbers in its report."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penname.alphabet import Alphabet
from penname.cli import main, parser
from penname.errors import OptionError, PennameError, TrainingError
from penname.ground_truth.pack_folder import PackWriter
from penname.line_image import ImageSpec
from penname.options import from_flags
from penname.training import checkpoint
from penname.training import sweep as sweep_module
from penname.training.options import TrainOptions
from penname.training.sweep import Planned, _finished, _result, command, read_plan, sweep, train_all
from penname.training.sweep_report import SCORES, Result, SweepReport, T, chart, spread

if TYPE_CHECKING:
    from collections.abc import Callable

GRID = """
seeds: [1, 7]
options: {preset: origin, epochs: 3, learning_rate: 0.5}
grid:
  batch_size: [32, 64]
  learning_rate: [1e-3, 0.01]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "plan.yaml"
    file.write_text(text, "utf-8")
    return file


def pack(folder: Path, seed: int = 0) -> Path:
    """Write a pack of 8 lines of noise, half of them for validation."""
    pixels = np.random.default_rng(seed)
    with PackWriter(folder, Alphabet("AB"), ImageSpec(height=32, max_width=64), {}) as writer:
        for i in range(8):
            image = pixels.integers(0, 255, (32, 40)).astype(np.uint8)
            split = "train" if i % 2 else "validation"
            writer.add(image, "AB", file=f"{i}.png", source="noise", split=split)
    return folder


# The file


def test_a_grid_is_every_combination_seed_by_seed(tmp_path: Path) -> None:
    runs = read_plan(written(tmp_path, GRID), tmp_path)
    names = [run.out.name for run in runs]
    assert names[:4] == [
        "batch_size=32,learning_rate=0.001,seed=1",
        "batch_size=32,learning_rate=0.01,seed=1",
        "batch_size=64,learning_rate=0.001,seed=1",
        "batch_size=64,learning_rate=0.01,seed=1",
    ]
    assert names[4:] == [name.replace("seed=1", "seed=7") for name in names[:4]]
    assert runs[6].options == TrainOptions(  # 1e-3 is a text to YAML, and `grid` beats `options`
        preset="origin", epochs=3, batch_size=64, learning_rate=0.001, seed=7
    )


def test_a_list_of_runs_is_taken_as_it_is(tmp_path: Path) -> None:
    text = "options: {epochs: 9}\nruns:\n  - {}\n  - {mix: 2, epochs: 5}\n"
    runs = read_plan(written(tmp_path, text), tmp_path)
    assert [run.setting for run in runs] == ["default", "mix=2, epochs=5"]
    assert [run.options for run in runs] == [
        TrainOptions(epochs=9),
        TrainOptions(epochs=5, mix="2"),
    ]


def test_the_sweep_in_the_docs_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "experiments.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    runs = read_plan(written(tmp_path, text), tmp_path)
    assert len(runs) == 3 * 2 * 2
    assert f"`{runs[0].out.name}`" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {batch_sise: [32]}", "grid: unknown option batch_sise; known: preset, "),
        ("options: {epoch: 3}\nruns: [{}]", "options: unknown option epoch;"),
        ("runs: [{}]\nseed: [1]", "unknown key seed; known: grid, options, runs, seeds"),
        ("runs: [{seed: 3}]", "runs, the 1.: seed is not set there; list seeds"),
        ("options: {device: cpu}\nruns: [{}]", "device is not set there; give --device"),
        ("runs: [{batch_size: 32.5}]", "batch_size is 32.5, not a int"),
        ("runs: [{}, {batch_size: yes}]", "runs, the 2.: batch_size is True, not a int"),
        ("runs: [{preset: yes}]", "preset is True, not a str"),
        ("runs: [{mix: [1, 2]}]", "mix is [1, 2], not a str"),
        ("runs: [{dropout: much}]", "dropout is 'much', not a float"),
        ("runs: [{dropout: 2}]", "dropout is 2.0, not within 0 to 0.99"),
        ("runs: [{preset: orgin}]", "preset is 'orgin'; choose names, latin"),
        ("runs: [{epochs: 3}, {epochs: 3.0}]", "epochs=3 is there twice"),
        ("runs: [{}]\ngrid: {epochs: [1]}", "give either `grid` or `runs`"),
        ("seeds: [1]", "give either `grid` or `runs`"),
        ("runs: []", "runs is []; write a list"),
        ("grid: {epochs: 3}", "grid, epochs is 3; write a list"),
        ("runs: [{}]\nseeds: 3", "seeds is 3; write a list"),
        ("runs: [{}]\nseeds: [1, 1]", "seeds is [1, 1]; give different whole numbers"),
        ("runs: [{}]\nseeds: [true]", "seeds is [True]; give different whole numbers"),
        ("[1]", "is [1]; write option: value pairs"),
        ("", "is None; write option: value pairs"),
        ("{", "is not YAML: "),
        ("2020-99-99", "is not YAML: "),
        ("!!timestamp 99", "is not YAML: "),
        ("!!bool foo", "is not YAML: "),
        ('!!int ""', "is not YAML: "),
        ("[" * 100_000, "is not YAML: "),
        ("runs: [{epochs: .inf}]", "epochs is inf, not a int"),
        ("!!python/object/apply:os.getcwd []", "is not YAML: "),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_trained(
    tmp_path: Path, text: str, message: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(OptionError, match=re.escape(message)) as error:
        sweep(file, [pack(tmp_path / "pack")], tmp_path / "out")
    assert str(file) in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "packs", "message"),
    [
        ("runs: [{}, {mix: '1,2,3'}]", ["pack"], "for 1 packs"),
        ("runs: [{}]", ["pack", "nowhere"], "nowhere"),
    ],
)
def test_packs_are_looked_at_before_anything_is_trained(
    tmp_path: Path, text: str, packs: list[str], message: str
) -> None:
    pack(tmp_path / "pack")
    with pytest.raises(PennameError, match=message):
        sweep(written(tmp_path, text), [tmp_path / name for name in packs], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_is_the_command_that_a_person_would_type(tmp_path: Path) -> None:
    options = TrainOptions(preset="origin-mish", learning_rate=3e-5, mix="1,2", seed=3)
    words = command(Planned("x", options, tmp_path / "a b"), [Path("p"), Path("q")], "me", "cuda:1")
    arguments = parser(words[3:]).parse_args(words[3:])
    assert from_flags(TrainOptions, arguments) == TrainOptions(
        preset="origin-mish", learning_rate=3e-5, mix="1,2", seed=3, device="cuda:1"
    )
    assert (arguments.out, arguments.pack) == (tmp_path / "a b", [Path("p"), Path("q")])
    assert (arguments.start, arguments.resume) == ("me", True)


# The processes


class Sleeper:
    """A process that ends after some looks at it."""

    def __init__(self, looks: int, code: int, ended: Callable[[], None]) -> None:
        self.looks, self.code, self.ended = looks, code, ended
        self.returncode: int | None = None
        self.signals = 0

    def poll(self) -> int | None:
        self.looks -= 1
        if self.looks <= 0 and self.returncode is None:
            self.returncode = self.code
            self.ended()
        return self.returncode

    def terminate(self) -> None:
        self.signals += 1


class Machine:
    """Starts sleepers and notes what goes on where."""

    def __init__(self, folder: Path, looks: list[int], codes: dict[int, int]) -> None:
        self.runs = [
            Planned(f"run {i}", TrainOptions(), folder / f"{i}") for i in range(len(looks))
        ]
        self.looks, self.codes = looks, codes
        self.busy: list[str] = []
        self.most = 0
        self.begun: list[tuple[str, str]] = []
        self.sleepers: list[Sleeper] = []

    def launch(self, run: Planned, device: str) -> Sleeper:
        assert device not in self.busy
        self.busy.append(device)
        self.most = max(self.most, len(self.busy))
        self.begun.append((run.setting, device))
        run.out.mkdir()
        (run.out / "log.txt").write_text("training\npenname: error: it broke\n\n")
        number = self.runs.index(run)
        self.sleepers.append(
            Sleeper(self.looks[number], self.codes.get(number, 0), lambda: self.busy.remove(device))
        )
        return self.sleepers[-1]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "POLL", 0.001)


@pytest.mark.usefixtures("hurried")
def test_runs_are_ended_when_another_cannot_be_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [10**6, 1], {})
    (tmp_path / "1").mkdir()  # in the way
    with pytest.raises(FileExistsError):
        train_all(machine.runs, ["cpu", "cuda"], machine.launch, print)
    assert [sleeper.signals for sleeper in machine.sleepers] == [1]


@pytest.mark.usefixtures("hurried")
def test_each_device_has_one_run_at_a_time_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [5, 2, 2, 2], {1: 1})
    said: list[str] = []
    failed = train_all(machine.runs, ["a", "b"], machine.launch, said.append)
    assert machine.begun == [("run 0", "a"), ("run 1", "b"), ("run 2", "b"), ("run 3", "b")]
    assert machine.most == 2
    assert failed == {machine.runs[1]: "penname: error: it broke"}
    assert "1: penname: error: it broke" in said


@pytest.mark.usefixtures("hurried")
def test_a_signal_stops_what_goes_and_begins_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [4, 9, 2], {0: -15, 1: -15})

    def say(text: str) -> None:
        if text == "1: on b":
            os.kill(os.getpid(), signal.SIGTERM)

    failed = train_all(machine.runs, ["a", "b"], machine.launch, say)
    assert [sleeper.signals for sleeper in machine.sleepers] == [1, 1]
    assert (failed, machine.busy) == ({}, [])  # waited for both; stopped is not failed


def test_a_sweep_trains_reports_and_knows_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = written(tmp_path, "options: {epochs: 2, batch_size: 2}\nruns: [{shortcut: 0.1}]")
    packed, out = pack(tmp_path / "pack"), tmp_path / "out"
    words = ["sweep", str(plan), "--pack", str(packed), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (setting,) = report["settings"]
    (run,) = setting["runs"]
    assert (run["finished"], run["epochs"], run["error"]) == (True, 2, "")
    assert set(setting["scores"]) == set(SCORES)
    lines = (out / "shortcut=0.1,seed=1" / "metrics.jsonl").read_text().splitlines()
    assert run["history"] == [json.loads(line) for line in lines]
    assert json.loads((out / "sweep.json").read_text()) == report

    monkeypatch.setattr(sweep_module, "command", lambda *_: ["false"])  # nothing may start now
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "1 runs, 1 of them finished" in shown.err
    assert shown.out.splitlines()[1].startswith("shortcut=0.1  1      ")
    with pytest.raises(TrainingError, match="began with another --from"):
        sweep(plan, [packed], out, start="names")
    with pytest.raises(TrainingError, match="other packs"):
        sweep(plan, [pack(tmp_path / "other", seed=1)], out)
    plan.write_text(plan.read_text().replace("epochs: 2", "epochs: 3"))
    with pytest.raises(TrainingError, match="epochs: 2 there, 3 now"):
        sweep(plan, [packed], out)


def test_a_run_that_fails_is_named_and_the_command_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "command", lambda *_: ["sh", "-c", "echo why; exit 3"])
    plan = written(tmp_path, "runs: [{}]")
    words = ["sweep", str(plan), "--pack", str(pack(tmp_path / "pack")), "--out"]
    assert main([*words, str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert "default,seed=1: why" in shown.err
    assert "1 runs are not finished" in shown.err
    assert re.search(r"^default +0 of 1( +-){5}$", shown.out, re.MULTILINE)
    assert "0: why" in (tmp_path / "out" / "sweep.html").read_text()


# The report


def result(setting: str, seed: int, *cers: float, finished: bool = True) -> Result:
    """Return a run of 10 steps an epoch; its loss falls by one an epoch from 9."""
    history: list[dict[str, float]] = [
        {"epoch": i, "step": 10 * i, "loss": 9 - i, "cer": cer, "exact": 1 - cer}
        for i, cer in enumerate(cers, start=1)
    ]
    return Result(setting, TrainOptions(seed=seed), history, 0.3, finished)


def test_the_quantiles_are_those_of_students_t() -> None:
    for freedom, t in enumerate(T, start=1):
        factor = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
        x = np.linspace(0, t, 100_001)
        density = (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
        inside = np.trapezoid(density, x) * factor / math.sqrt(freedom * math.pi)
        assert inside == pytest.approx(0.475, abs=2e-5)  # three decimals


def test_the_interval_is_over_seeds() -> None:
    assert spread([1, 2, 3])._replace(plus_minus=0) == (2, 0, 3)
    assert spread([1, 2, 3]).plus_minus == pytest.approx(4.303 / math.sqrt(3))
    assert spread([4]) == (4, None, 1)
    assert spread(list(range(12))).plus_minus == pytest.approx(2.228 * math.sqrt(13 / 12))


def test_scores_are_those_of_the_best_epoch_and_the_loss_is_the_last() -> None:
    found = result("a", 1, 0.5, 0.2, 0.3).scores
    assert found == {"loss": 6, "cer": 0.2, "exact": 0.8, "seconds": pytest.approx(3)}
    assert Result("a", TrainOptions(), [], 0.0, finished=False).scores == {}


def test_the_table_has_a_row_a_setting() -> None:
    runs = (result("a", 1, 0.5), result("b", 1, 0.3), result("b", 2, 0.1, finished=False))
    header, *rows = SweepReport("x", runs).table().splitlines()
    cells = [re.split(r" {2,}", row) for row in rows]
    assert len(re.split(r" {2,}", header)) == len(SCORES) + 2
    assert cells[0] == ["a", "1", "8.00", "50.00 %", "50.00 %", "-", "3.00"]
    half = f"{12.706 * 10:.2f} %"  # the standard deviation is sqrt(2) * 10, over sqrt(2)
    assert cells[1][:5] == ["b", "1 of 2", "8.00 ± 0.00", f"20.00 ± {half}", f"80.00 ± {half}"]


def test_the_json_has_every_run() -> None:
    report = SweepReport("x", (result("a", 1, 0.5), result("a", 2, 0.1))).to_json()
    scores: dict[str, Any] = report["settings"][0]["scores"]
    assert scores["cer"]["mean"] == pytest.approx(0.3)
    assert scores["cer"]["n"] == 2
    assert "correct_characters" not in scores
    assert [run["options"]["seed"] for run in report["settings"][0]["runs"]] == [1, 2]


def points(svg: str) -> list[list[tuple[float, float]]]:
    """Return the points of each polyline."""
    return [
        [(float(x), float(y)) for x, y in (point.split(",") for point in line.split())]
        for line in re.findall(r'<polyline points="([^"]*)"', svg)
    ]


def test_a_chart_has_each_seed_and_the_mean_of_the_epochs_that_all_have() -> None:
    curves = [[(1.0, 1.0), (2.0, 0.5), (4.0, 0.0)], [(1.0, 0.5), (2.0, 0.0)]]
    first, second, mean = points(chart([curves], SCORES["cer"]))
    assert first == [(152.5, 18.0), (245.0, 124.0), (430.0, 230.0)]  # 92.5 an epoch; 1 is 212 high
    assert second == [(152.5, 124.0), (245.0, 230.0)]
    assert mean == [(152.5, 71.0), (245.0, 177.0)]


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.037, 1.0, 24.9, 1234.0])
def test_a_chart_fits_any_value(value: float) -> None:
    svg = chart([[[(1.0, value)]], []], SCORES["loss"])
    for line in points(svg):
        assert all(60 <= x <= 430 and 18 <= y <= 230 for x, y in line)
    assert 2 <= svg.count('class="axis"') <= 8


def test_the_page_escapes_names_and_shows_every_run() -> None:
    runs = (result("<a>", 1, 0.5, 0.4), Result("b", TrainOptions(), [], 0, finished=False))
    html = SweepReport("<x>", runs).to_html()
    assert "<a>" not in html
    assert "<x>" not in html
    assert html.count("<svg") == 2 + 3  # two in the legend; correct characters are not known
    assert "2: finished" in html
    assert "0: not finished" in html


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    newest = tmp_path / "x" / "step-00000020"
    newest.mkdir(parents=True)
    checkpoint.write_json(newest / "state.json", {})
    with pytest.raises(TrainingError, match=r"step-00000020 is damaged"):
        _finished(Planned("x", TrainOptions(), tmp_path / "x"), [], None)


def test_seconds_are_those_of_an_epoch(tmp_path: Path) -> None:
    newest = tmp_path / "step-00000020"
    newest.mkdir()
    history = [{"epoch": i, "step": 10 * i, "loss": 1.0} for i in (1, 2)]
    state = {"seconds": 40.0, "step": 20, "epoch": 2, "finished": True, "history": history}
    checkpoint.write_json(newest / "state.json", state)
    assert _result(Planned("x", TrainOptions(), tmp_path)).scores["seconds"] == 20
