"""Quantise: a model in 8-bit integers reads what it read in float, and can still be trained."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from penname.alphabet import Alphabet
from penname.cli import main
from penname.errors import TrainingError
from penname.evaluate import evaluate
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.inputs import Input, expand
from penname.line_image import decode, line_image, on_canvas
from penname.model_folder import INCLUDED, ModelFolder
from penname.network import Network, load_network
from penname.recognizer import Recognizer
from penname.training import quantise as module
from penname.training.graph import Exported
from penname.training.options import TrainOptions
from penname.training.quantise import quantise
from penname.training.start import begin

NAMES = Path(__file__).parent / "data" / "names"
SHOWN = 12  # crops that fix the scales; the others are new to the network in integers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The included `names`, quantised here."""
    path = tmp_path_factory.mktemp("quantised") / "names"
    shutil.copytree(INCLUDED / "names", path)
    if (path / "float.onnx").exists():
        (path / "float.onnx").replace(path / "model.onnx")
        replace(ModelFolder.load("names"), path=path).save()
    loaded = ModelFolder.load(path)
    assert quantise(loaded, list(expand([NAMES]))[:SHOWN]) >= 0.9
    return loaded


@pytest.fixture(scope="module")
def readers(folder: ModelFolder) -> dict[str, Recognizer]:
    files = {"float": folder.float_onnx, "integer": folder.onnx}
    return {name: Recognizer(folder, load_network(file)) for name, file in files.items()}


@pytest.mark.parametrize("table", ["names/names.csv", "lines/lines.csv"])
def test_the_included_models_read_in_integers_what_they_read_in_floats(table: str) -> None:
    model = ModelFolder.load("names" if table.startswith("names") else "latin")
    readers = [Recognizer(model, load_network(file)) for file in (model.float_onnx, model.onnx)]
    reports = [
        evaluate(reader, read_sources([NAMES.parent / table], SourceOptions()))
        for reader in readers
    ]
    pairs = list(zip(*(report.lines for report in reports), strict=True))
    assert len(pairs) >= 6
    # Of 400 validation crops one reads otherwise.
    differ = [a for a, b in pairs if a.hypothesis != b.hypothesis]
    assert all(line.confidence < 0.8 for line in differ)
    assert len(differ) <= len(pairs) // 30 + table.startswith("lines")
    floats, integers = (report.to_json() for report in reports)
    assert integers["cer"] <= floats["cer"] + 0.01
    assert np.mean([abs(a.confidence - b.confidence) for a, b in pairs]) < 0.03
    assert any(a.confidence != b.confidence for a, b in pairs)  # or nothing was quantised


def test_a_line_reads_the_same_alone_and_in_a_batch(readers: dict[str, Recognizer]) -> None:
    spec = readers["integer"].model.image
    lines = [line_image(decode(file), spec) for file in sorted(NAMES.glob("*.jpg"))]
    together = readers["integer"].network(on_canvas(lines, spec.max_width))
    for line, row in zip(lines[::3], together[::3], strict=True):
        (alone,) = readers["integer"].network(on_canvas([line], spec.max_width))
        np.testing.assert_allclose(alone, row, rtol=0, atol=1e-4)


def test_convolutions_are_in_integers_of_7_bits(folder: ModelFolder) -> None:
    graph = onnx.load(folder.onnx).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) >= 8
    for node in convolutions:
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        weight = values[made_by[node.input[1]].input[0]]
        assert weight.dtype == np.int8
        assert 32 < np.abs(weight).max() <= 64
    assert folder.onnx.stat().st_size < folder.float_onnx.stat().st_size * 0.8


def test_quantising_again_starts_from_the_floats(folder: ModelFolder, tmp_path: Path) -> None:
    shutil.copytree(folder.path, tmp_path / "again")
    again = ModelFolder.load(tmp_path / "again")
    quantise(again, list(expand([NAMES]))[:SHOWN])
    assert again.float_onnx.read_bytes() == folder.float_onnx.read_bytes()
    graphs = [onnx.load(model.onnx).graph for model in (folder, again)]
    first, second = ({t.name: t.raw_data for t in graph.initializer} for graph in graphs)
    assert first == second


def test_training_starts_from_the_floats(
    folder: ModelFolder, readers: dict[str, Recognizer]
) -> None:
    spec = folder.image
    options = TrainOptions(**folder.training["options"])
    _, network = begin(Alphabet("A"), spec, options, folder)
    line = line_image(decode(next(iter(sorted(NAMES.glob("*.jpg"))))), spec)
    images = on_canvas([line], spec.canvas_width(line.shape[1]))
    with torch.no_grad():
        ours = Exported(network).eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours, readers["float"].network(images), rtol=0, atol=5e-4)


def test_agreement_is_between_the_floats_and_the_integers(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def noted(file: Path) -> Network:
        opened.append(file.name)
        return load_network(file)

    monkeypatch.setattr(module, "load_network", noted)
    module._agreement(folder, [np.full((folder.image.height, 64), 255, np.uint8)])
    assert opened == ["float.onnx", "model.onnx"]


def test_pictures_are_drawn_from_all_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PICTURES", 50)
    files = [int(p.file) for p in module.draw(Input(f"{i}", b"") for i in range(1000))]
    assert len(set(files)) == 50
    assert 350 < np.mean(files) < 650
    assert files == [int(p.file) for p in module.draw(Input(f"{i}", b"") for i in range(1000))]
    assert len(module.draw(Input(f"{i}", b"") for i in range(7))) == 7


def test_pictures_that_cannot_be_read_are_an_error_and_nothing_is_changed(
    model: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model.path, tmp_path / "bars")
    (tmp_path / "damaged.jpg").write_bytes(b"not a picture")
    before = {file.name: file.read_bytes() for file in (tmp_path / "bars").iterdir()}
    words = ["quantise", str(tmp_path / "bars"), "--pictures", str(tmp_path / "damaged.jpg")]
    assert main(words) == 1
    assert "none of the pictures can be read" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in (tmp_path / "bars").iterdir()} == before
    with pytest.raises(TrainingError):
        quantise(ModelFolder.load(tmp_path / "bars"), [])


def test_a_folder_that_cannot_be_calibrated_stays_as_it_is_and_so_do_included_models(
    model: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model.path, tmp_path / "bars")
    (tmp_path / "bars" / "card.md").write_text("mine")
    before = {file.name: file.read_bytes() for file in (tmp_path / "bars").iterdir()}
    (tmp_path / "truth.csv").write_text(f"scan,who\n{NAMES / 'VALIDATION_0330.jpg'},PAUL\n")
    words = ["quantise", str(tmp_path / "bars"), "--pictures", str(NAMES)]
    calibrated = [*words, "--calibrate", str(tmp_path / "truth.csv")]
    assert main(calibrated) == 1
    assert "truth.csv: no column" in capsys.readouterr().err
    assert main([*calibrated, "--image-column", "scan", "--text-column", "who"]) == 1
    assert "too few to calibrate on" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in (tmp_path / "bars").iterdir()} == before
    assert main(words) == 0
    after = {file.name: file.read_bytes() for file in (tmp_path / "bars").iterdir()}
    assert after["float.onnx"] == before["model.onnx"]
    assert after["card.md"] == before["card.md"]
    assert ModelFolder.load(tmp_path / "bars").name == "bars"
    assert main(["quantise", "names", "--pictures", str(NAMES)]) == 2
    assert "included models stay as they are; copy " in capsys.readouterr().err
