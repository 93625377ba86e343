"""The benchmarks run, on sizes so small that they measure nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = Path(__file__).parent / "data" / "names" / "names.csv"


def benchmark(name: str) -> ModuleType:
    sys.path[:0] = [str(BENCHMARKS)] * (str(BENCHMARKS) not in sys.path)
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCHMARKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_training_times_penname_and_others_and_goes_on_when_one_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = "--lines 8 --batch 2 --seconds 0 --rounds 1 --workers 0 --threads 1 --device cpu"
    ways = ["penname", "penname, one batch again and again", "penname, one thread", "PyLaia's"]
    benchmark("training").main([*sizes.split(), "--only", "unheard of", *ways])
    report = last_line(capsys)
    assert report["ways"].pop("unheard of")["error"] == "KeyError: 'unheard of'"
    assert list(report["ways"]) == ways
    assert report["penname_times"]["penname"] == 1
    assert all(rate > 0 for way in report["ways"].values() for rate in way["images_per_second"])
    assert set(report["milliseconds"]) >= {"loading", "backward", "update"}


def test_multiplications_are_counted() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 3, (3, 5), stride=2, padding=(1, 2))
            self.recurrent = nn.LSTM(3, 7, 2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(14, 4)

        def forward(self, x: Any) -> Any:
            columns = self.convolution(x).amax(2).transpose(1, 2)
            return self.head(self.recurrent(columns)[0])

    convolution = 3 * 8 * 10 * 15  # 16 x 20 pixels, halved
    steps, layers = 10, 2 * (4 * 7 * (3 + 7) + 4 * 7 * (14 + 7))
    wanted = convolution + steps * layers + steps * 14 * 4
    assert benchmark("training").multiplications(Small(), 16, 20) == wanted


def test_reading_is_timed_beside_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"--data {NAMES} --rounds 1 --limit 6 --few 2 --readers".split()
    module = benchmark("reading")
    monkeypatch.setattr(module, "BATCHES", (1, 4))
    monkeypatch.setitem(module.READERS, "tesseract", lambda model: lambda pictures: [])
    module.main([*words, "penname", "tesseract"])
    report = last_line(capsys)
    assert report["n"] == 6
    assert report["penname_times"]["penname"] == {"wall": 1, "cpu": 1}
    assert report["penname_times"]["tesseract"]["wall"] < 1  # ours does something
    assert report["penname_times"]["tesseract"]["cpu"] < 1
    assert list(report["one_picture_ms"]) == ["penname"]
    assert report["cold_start"]["cpu_s"] > 0
    assert list(report["per_second_by_batch"]) == ["1", "4"]


def test_packing_is_timed_at_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    crops = str(Path(__file__).parent / "data" / "names")
    benchmark("packing").main(["--crops", crops, "--sizes", "20", "40"])
    report = last_line(capsys)
    assert report["crops"] == 30
    assert list(report["sizes"]) == ["20", "40"]
    assert all(20e6 < 1e6 * each["megabytes"] < 1e9 for each in report["sizes"].values())


def test_spoilt_labels_are_ranked_however_few_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit.py", "--spoil", str(NAMES), "--seeds", "1"])
    benchmark("audit").main()
    assert "precision at 10" in capsys.readouterr().out


def test_other_scans_of_pictures_are_read_with_and_without_the_size_of_writing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes = ["as it comes", "cut to its ink, 4 times the resolution", "in a box"]
    benchmark("other_scans").main(["--data", str(NAMES), "--every", "3", "--only", *changes])
    report = last_line(capsys)["changes"]
    assert [*report] == changes
    assert {scores["n"] for each in report.values() for scores in each.values()} == {10}
    large = report["cut to its ink, 4 times the resolution"]
    assert large["with"]["exact"] >= large["without"]["exact"]


@pytest.mark.parametrize(
    "change", ["3 times the resolution", "cut to its ink", "in a box", "in a cell for each letter"]
)
def test_a_change_of_a_picture_keeps_its_ink(change: str) -> None:
    grey = np.full((40, 120), 255, dtype=np.uint8)
    for left in range(20, 100, 16):
        grey[10:30, left : left + 8] = 0
    changed = np.asarray(benchmark("other_scans").CHANGES[change](Image.fromarray(grey)))
    expected = {"3 times the resolution": (120, 360), "cut to its ink": (20, 120)}
    assert changed.shape == expected.get(change, (60, 140))
    times = changed.shape[0] / 40 if change.startswith("3") else 1
    dark = 20 if change.startswith("in a") else 128  # boxes are of grey 40
    assert (changed < dark).sum() == pytest.approx(800 * times**2, rel=0.1)


def test_erased_pictures_are_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nothing_to_read.py", "--data", str(NAMES)])
    benchmark("nothing_to_read").main()
    assert last_line(capsys)
