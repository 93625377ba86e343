"""OpenVINO reads as ONNX Runtime does, and tells nobody; a line alone reads as in a batch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from penname.cli import main
from penname.errors import ModelError, OptionError
from penname.line_image import decode, line_image, on_canvas
from penname.model_folder import ModelFolder
from penname.network import (
    ALONE,
    LINES,
    RUNTIMES,
    Network,
    _session,
    load_network,
)
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from penname.line_image import Grey

DATA = Path(__file__).parent / "data"


def line_images(model: ModelFolder, folder: str) -> list[Grey]:
    files = sorted(file for file in (DATA / folder).iterdir() if file.suffix != ".csv")
    return [line_image(decode(file), model.image) for file in files]


@pytest.fixture(scope="module")
def names() -> ModelFolder:
    return ModelFolder.load("names")


@pytest.fixture(scope="module")
def network(names: ModelFolder) -> Network:
    return load_network(names.onnx, "openvino")


@pytest.fixture(scope="module")
def images(names: ModelFolder) -> np.ndarray:
    """More lines than two batches of OpenVINO's, on canvases of 320 pixels."""
    lines = line_images(names, "names")
    return on_canvas([*lines, *lines[:15]], 320)


@pytest.mark.parametrize(
    ("name", "folder", "limit"), [("names", "names", 0.004), ("latin", "lines", 0.02)]
)
def test_both_runtimes_give_the_same_probabilities(name: str, folder: str, limit: float) -> None:
    """With its batch left open, OpenVINO 2026.4 is off by 0.02 and 0.1 on average."""
    model = ModelFolder.load(name)
    ours, theirs = (load_network(model.onnx, runtime) for runtime in RUNTIMES)
    off, same = [], []
    for line in line_images(model, folder):
        images = on_canvas([line], model.image.canvas_width(line.shape[1]))
        one, other = ours(images)[0], theirs(images)[0]  # (T, C)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        off += [*np.abs(np.exp(one) - np.exp(other)).max(axis=1)]
        same += [*(one.argmax(axis=1) == other.argmax(axis=1))]
    assert np.mean(off) < limit
    assert np.mean(same) > 0.985


def test_a_line_alone_takes_two_threads_and_reads_the_same(
    names: ModelFolder, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def session(file: Path, count: int) -> Network:
        threads.append(count)
        return _session(file, count)

    monkeypatch.setattr("penname.network._session", session)
    monkeypatch.setattr("penname.network.cores", lambda: 16)
    network = load_network(names.onnx)
    assert threads == []
    together = network(images)
    assert threads == [1]
    alone = np.concatenate([network(images[i : i + 1]) for i in range(len(images))])
    assert threads == [1, ALONE]
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)


def test_threads_of_a_line_alone_rest_once_it_is_read(
    names: ModelFolder, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They spin for 5 to 50 ms if ONNX Runtime is left to itself, against 0.2 ms at most."""
    monkeypatch.setattr("penname.network.cores", lambda: 16)
    network = load_network(names.onnx)
    network(images[:1])
    spent = []
    for _ in range(10):
        network(images[:1])
        started = time.process_time()
        time.sleep(0.05)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.002


def test_a_line_reads_the_same_alone_and_in_a_batch(network: Network, images: np.ndarray) -> None:
    alone = np.concatenate([network(images[i : i + 1]) for i in range(len(images))])
    for size in (1, 2, LINES // 2 - 1, LINES // 2, LINES, LINES + 1, 2 * LINES - 1, len(images)):
        together = network(images[:size])
        np.testing.assert_allclose(np.exp(together), np.exp(alone[:size]), atol=1e-4)


def test_threads_share_a_network(network: Network, images: np.ndarray) -> None:
    batches = [np.roll(images, turn, axis=0)[:LINES] for turn in range(12)]
    with ThreadPoolExecutor(4) as pool:
        side_by_side = list(pool.map(network, batches))
    for batch, found in zip(batches, side_by_side, strict=True):
        np.testing.assert_array_equal(found, network(batch))


def test_what_a_network_returns_stays_as_it_is(network: Network, images: np.ndarray) -> None:
    first = network(images[:1])
    kept = first.copy()
    network(images[1:2])
    np.testing.assert_array_equal(first, kept)


def test_names_are_read_as_well(names: ModelFolder) -> None:
    files = sorted((DATA / "names").glob("*.jpg"))
    usual, other = (Recognizer.load("names", runtime=runtime) for runtime in RUNTIMES)
    assert (usual.name, other.name) == ("names", "names (openvino)")
    pairs = list(zip(usual.read(files), other.read(files), strict=True))
    off = [abs(a.confidence - b.confidence) for a, b in pairs if a.text == b.text]
    assert len(off) >= len(files) - 1
    assert np.mean(off) < 0.01


def test_a_printed_score_names_the_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--runtime", "openvino", "--data", str(DATA / "names" / "names.csv")]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("names (openvino) on ")


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(OptionError, match="no runtime 'torch'; choose onnxruntime or openvino"):
        Recognizer.load("names", runtime="torch")


def test_a_runtime_that_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["read", str(DATA / "names"), "--runtime", "openvino"]) == 2
    assert "pip install '.[openvino]'" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_damaged_network_is_refused(runtime: str, images: np.ndarray, tmp_path: Path) -> None:
    (file := tmp_path / "model.onnx").write_bytes(b"not a network")
    network = load_network(file, runtime)
    with pytest.raises(ModelError, match=r"(?s)model\.onnx: .*export the model again"):
        network(images)


def test_openvino_tells_nobody(tmp_path: Path) -> None:
    """Its telemetry would leave an id in the home folder and fork to open a socket, at import."""
    code = (
        "import sys\n"
        "events = []\n"
        "sys.addaudithook(lambda event, _: events.append(event))\n"
        "import penname\n"
        "recognizer = penname.Recognizer.load('names', runtime='openvino')\n"
        "assert recognizer.read([sys.argv[1]])[0].text == 'LESUR'\n"
        "assert 'import' in events\n"
        "watched = ('socket.', 'urllib.', 'os.fork', 'subprocess.')\n"
        "print({event for event in events if event.startswith(watched)})\n"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    )
    run = [sys.executable, "-c", code, str(DATA / "names" / "VALIDATION_0320.jpg")]
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    ours = {name: value for name, value in os.environ.items() if name != "CI"} | home
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=ours)
    assert done.stdout == "set()\n[]\n"
    assert list(tmp_path.iterdir()) == []


def test_threads_that_come_first_together_load_a_network_once(
    names: ModelFolder, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def session(file: Path, threads: int) -> Network:
        loaded.append(file)
        time.sleep(0.05)
        return lambda each: each[:, 0, 0]

    monkeypatch.setattr("penname.network._session", session)
    network = load_network(names.onnx)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network, [images] * 4))
    assert loaded == [names.onnx]
    for each in found:
        np.testing.assert_array_equal(each, images[:, 0, 0])
