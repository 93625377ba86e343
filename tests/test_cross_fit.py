"""Cross-fitting: no line is judged by a model that saw its writer, and stopped work goes on."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import BARS, bar_model, bars
from PIL import Image

from penname.audit import judge, rank
from penname.errors import OptionError, TrainingError
from penname.ground_truth.pack_folder import Pack
from penname.ground_truth.sources import GroundTruth
from penname.model_folder import ModelFolder
from penname.recognizer import Recognizer
from penname.training import cross_fit as module
from penname.training import model
from penname.training.cross_fit import FINE, _Plan, cross_fit, fold_of
from penname.training.options import TrainOptions
from penname.training.run import State

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("HEAD", "FACE", "BED", "CAGE", "JIG", "HIDE", "CAFE", "DEAF")


def lines() -> list[GroundTruth]:
    """Return eight lines by five writers, the last two without one but with one picture."""
    found = []
    for i, text in enumerate(TEXTS):
        stream = io.BytesIO()
        Image.fromarray(bars(text)).save(stream, "PNG")
        writer = f"writer {i // 2 + 1}" if i < 6 else ""
        found.append(
            GroundTruth(f"{i}.png", f"t:{i}", text, "s", writer, stream.getvalue(), "test")
        )
    found[7] = replace(found[7], image=found[6].image)
    return found


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `names` a network of some ten thousand weights."""
    shape = model.Shape((8,), (8, 16, 16, 16), (1, 1, 1, 1), 16)
    monkeypatch.setitem(model.SHAPES, "names", shape)


def test_the_models_learn_from_the_other_folds_and_judge_every_line_once(tmp_path: Path) -> None:
    judged = []
    names = tmp_path / "names.csv"
    names.write_text("name,count\nHEAD,3\n")
    for folder, held in cross_fit(lines, tmp_path / "work", 2, epochs=1, language=names):
        numbered = list(held)
        pack = Pack.open(folder.parent / "pack")
        assert not set(pack.files) & {line.file for _, line in numbered}
        assert len(pack) + len(numbered) == len(TEXTS)
        assert set(pack.splits) == {"train"}
        recognizer = Recognizer.load(folder)
        assert recognizer.decoder.language
        head, face = (recognizer.model.alphabet.encode(text) for text in ("HEAD", "FACE"))
        assert np.subtract(*recognizer.decoder.language.log_prob([head, face])) > 3
        judged += list(judge(recognizer, numbered))
    audit = rank(judged, "both")
    found = [x.file for x in (*audit.findings, *audit.aside)]
    assert sorted(found) == [line.file for line in lines()]
    assert [x.order for x in sorted(audit.findings, key=lambda x: x.file)] == sorted(
        x.order for x in audit.findings
    )


def test_a_writer_s_lines_and_equal_pictures_share_a_fold() -> None:
    for folds in (2, 3, 7):
        places = [fold_of(line, folds) for line in lines()]
        assert places[0:6:2] == places[1:6:2]
        assert places[6] == places[7]
    first = lines()[0]
    many = [replace(first, group=f"writer {i}") for i in range(3000)]
    counts = [sum(fold_of(line, 3) == fold for line in many) for fold in range(3)]
    assert min(counts) > 900


def test_an_imported_network_cannot_be_a_start(tmp_path: Path) -> None:
    folder = bar_model(tmp_path / "bars")
    replace(folder, training={"keras": {"file": "bars.h5"}}).save()
    with pytest.raises(TrainingError, match="not a network of penname's; it can read, not train"):
        list(cross_fit(lines, tmp_path / "work", 2, epochs=1, start=str(folder.path)))


def test_work_goes_on_fold_by_fold_and_is_of_one_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, list[str]]] = []

    def train(others: Any, place: Path, *_: Any) -> None:
        if len(trained) == 1 and not (tmp_path / "fold-2").exists():
            (tmp_path / "fold-2").mkdir()
            raise TrainingError("stopped")
        trained.append((place.name, [line.file for line in others]))
        (place / "model").mkdir(parents=True)
        (place / "model" / "model.json").write_text("{}")

    monkeypatch.setattr(module, "_train", train)
    with pytest.raises(TrainingError, match="stopped"):
        list(cross_fit(lines, tmp_path, 3, epochs=2))
    folds = list(cross_fit(lines, tmp_path, 3, epochs=2))
    assert [name for name, _ in trained] == ["fold-1", "fold-2", "fold-3"]
    for (folder, held), (name, others) in zip(folds, trained, strict=True):
        assert folder.parent.name == name
        assert sorted(others + [line.file for _, line in held]) == [x.file for x in lines()]
    noted = json.loads((tmp_path / "cross_fit.json").read_text())
    assert (noted["folds"], noted["epochs"]) == (3, 2)
    for count, epochs in ((2, 2), (3, 3)):
        with pytest.raises(TrainingError, match="choose another --work"):
            list(cross_fit(lines, tmp_path, count, epochs=epochs))
    (tmp_path / "names.csv").touch()
    with pytest.raises(TrainingError, match="choose another --work"):
        list(cross_fit(lines, tmp_path, 3, epochs=2, language=tmp_path / "names.csv"))
    again = [replace(line, group=f"page {i}") for i, line in enumerate(lines())]
    with pytest.raises(TrainingError, match="choose another --work"):  # dealt otherwise
        list(cross_fit(lambda: again, tmp_path, 3, epochs=2))
    one = [replace(line, group="A") for line in lines()]
    with pytest.raises(TrainingError, match="all lines are in one fold"):
        list(cross_fit(lambda: one, tmp_path, 3, epochs=2))
    relabelled = [replace(line, text="A") for line in lines()]
    with pytest.raises(TrainingError, match="choose another --work"):
        list(cross_fit(lambda: relabelled, tmp_path, 3, epochs=2))
    with pytest.raises(OptionError, match="at least 2"):
        list(cross_fit(lines, tmp_path / "one", 1, epochs=2))


def trained_on(folder: Path) -> Path:
    """Return a model folder that says of which preset it is."""
    model = bar_model(folder)
    replace(model, training={"options": {"preset": "names"}}).save()
    return folder


def test_from_a_model_folds_are_packed_and_trained_as_it_needs(tmp_path: Path) -> None:
    start = trained_on(tmp_path / "bars")
    plan = _Plan.of(lines(), 3, str(start), None)
    assert plan.start
    assert plan.start.checksum() == ModelFolder.load(start).checksum()
    assert plan.spec == plan.start.image
    assert plan.training == TrainOptions(epochs=3, preset="names", learning_rate=FINE)
    assert (plan.packing.alphabet, plan.packing.validation) == (BARS.characters, 0.0)


def test_markers_are_no_part_of_the_alphabet() -> None:
    marked = [replace(lines()[0], text="Unreadable"), *lines()]
    assert "U" not in str(_Plan.of(marked, 1, None, None).packing.alphabet)


def test_the_start_and_the_texts_of_the_other_folds_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, given = trained_on(tmp_path / "bars"), []

    def begun(_packs: Any, _out: Any, _options: Any, **more: Any) -> State:
        given.append(more["start"].checksum())
        return State(finished=True)

    def exported(_run: Any, _out: Any, _name: str, *, language: Path) -> None:
        given.append(language.read_text())

    monkeypatch.setattr(module, "train", begun)
    monkeypatch.setattr(module, "export_model", exported)
    next(cross_fit(lines, tmp_path / "work", 2, epochs=1, start=str(start)))
    assert given[0] == ModelFolder.load(start).checksum()
    assert given[1].startswith("name,count\n")


@pytest.mark.parametrize("changed", ["start", "picture"])
def test_work_is_of_its_start_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setattr(module, "_train", lambda *_: None)
    list(cross_fit(lines, tmp_path / "work", 2, epochs=1))
    start = str(trained_on(tmp_path / "bars")) if changed == "start" else None
    other = lines()
    if changed == "picture":
        other[0] = replace(other[0], image=other[1].image)
    with pytest.raises(TrainingError, match="choose another --work"):
        list(cross_fit(lambda: other, tmp_path / "work", 2, epochs=1, start=start))
