"""The model folder: what is written comes back, and nothing damaged is ever used."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import BARS, SPEC, bar_model

from penname import model_folder
from penname.beam import DecodingOptions
from penname.errors import ModelError
from penname.language import Language
from penname.line_image import ImageSpec
from penname.model_folder import Calibration, Fast, ModelFolder, Second, included
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from pathlib import Path

    from penname.network import Network


def changed(model: ModelFolder, **values: Any) -> ModelFolder:
    """Write other values to model.json; `...` takes one out."""
    file = model.path / "model.json"
    content = json.loads(file.read_text("utf-8")) | values
    kept = {name: value for name, value in content.items() if value is not ...}
    file.write_text(json.dumps(kept), "utf-8")
    return model


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model = bar_model(tmp_path / "bars", Calibration(0.5, -1.0))
    assert ModelFolder.load(model.path) == model
    assert ModelFolder.load(str(model.path)) == model
    assert sorted(file.name for file in model.path.iterdir()) == ["model.json", "model.onnx"]


def test_model_json_has_exactly_its_keys(model: ModelFolder) -> None:
    values = json.loads((model.path / "model.json").read_text("utf-8"))
    assert list(values) == [
        *("format", "version", "name", "penname", "created", "alphabet", "image", "height_step"),
        *("stride", "sha256", "confidence", "decoding", "second", "fast", "training"),
    ]
    assert values["format"] == "penname-model"
    assert values["version"] == 1
    assert values["alphabet"] == BARS.characters
    assert values["image"]["max_width"] == SPEC.max_width
    assert values["confidence"] is None
    assert values["decoding"] is None
    assert values["second"] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "other"}, "not a penname model"),
        ({"format": ...}, "not a penname model"),
        ({"version": ...}, "version None, and this penname"),
        ({"height_step": -1}, "height_step is -1"),
        ({"confidence": {"slope": 1.0, "intercept": math.inf}}, "its numbers are finite"),
        ({"version": 2}, "version 2, and this penname reads version 1"),
        ({"colour": "blue"}, "colour"),
        ({"alphabet": ...}, "alphabet"),
        ({"alphabet": "ABA"}, "more than once"),
        ({"alphabet": ["A", "B"]}, "not a string"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": "8"}, "stride is '8'"),
        ({"image": {"heigth": 48}}, "unknown ImageSpec option heigth"),
        ({"image": {"fit": "squash"}}, "squash"),
        ({"confidence": {"slope": 1}}, "intercept"),
        ({"confidence": {}}, "slope"),
        ({"confidence": {"slope": "1", "intercept": 0}}, "must be real number"),
        ({"confidence": {"slope": np.nan, "intercept": 0}}, "its numbers are finite"),
        ({"decoding": {"beams": 4}}, "unknown DecodingOptions option beams"),
        ({"decoding": {"beam": 0}}, "beam is 0; it is at least 1"),
        (
            {"decoding": {"language_weight": -1}},
            "-1; it is at least 0 and at most 20",
        ),
        (
            {"decoding": {"length_bonus": np.nan}},
            "nan; it is at most 20 up or down",
        ),
        ({"decoding": {"look_again": 1.5}}, "look_again is 1.5; it is a share, 0 to 1"),
        ({"second": {"pixels": 48}}, "pixels"),
        ({"decoding": {}}, r"language\.npz: no such file"),
        ({"sha256": "0" * 64}, "sha256 differs"),
        ({"sha256": ...}, "sha256 differs"),
    ],
)
def test_a_wrong_model_json_is_refused_by_name(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    model = changed(bar_model(tmp_path / "bars"), **values)
    with pytest.raises(ModelError, match=message) as raised:
        ModelFolder.load(model.path)
    assert str(model.path) in str(raised.value)


def test_a_model_with_a_language_keeps_it_and_how_to_use_it(tmp_path: Path) -> None:
    plain = bar_model(tmp_path / "bars")
    model = replace(plain, decoding=DecodingOptions(beam=7, certain=0.5))
    with pytest.raises(ModelError, match=r"language\.npz: no such file"):
        model.save()
    Language.build({"JADE": 3}, BARS).save(model.language)
    assert ModelFolder.load(plain.path) == plain  # a language nobody asks for is left alone
    model.save()
    assert ModelFolder.load(model.path) == model
    assert ModelFolder.load(model.path).decoding == DecodingOptions(beam=7, certain=0.5)
    Language.build({"JADE": 4}, BARS).save(model.language)
    with pytest.raises(ModelError, match=r"model\.onnx or .*language\.npz is not the file"):
        ModelFolder.load(model.path)


@pytest.mark.parametrize(
    ("height", "writing", "scale"), [(48, 0.2, 0.75), (48, 0.4, 1.5), (64, 0.1, 0.5), (48, 0, 0.75)]
)
def test_line_images_are_drawn_for_the_writing_that_the_second_network_knows(
    height: int, writing: float, scale: float
) -> None:
    second = Second("other", "", height, writing)
    assert second.scale(ImageSpec(height=64, writing=0.2)) == pytest.approx(scale)
    assert second.scale(ImageSpec(height=64, writing=0)) == height / 64


def saved_and_loaded(model: ModelFolder) -> Recognizer:
    """Save a model folder, check that it is as it was when it is loaded, and return its reader."""
    model.save()
    assert ModelFolder.load(model.path) == model
    return Recognizer.load(model.path)


def assert_reads_as_the_model(loaded: Recognizer, network: Network | None) -> None:
    images = np.zeros((2, 1, SPEC.height, 64), np.uint8)
    assert network is not None
    np.testing.assert_array_equal(network(images), loaded.network(images))


def test_a_second_network_is_kept_and_loaded_with_the_first(tmp_path: Path) -> None:
    plain = bar_model(tmp_path / "bars")
    shutil.copyfile(plain.onnx, plain.second_onnx)
    assert ModelFolder.load(plain.path) == plain  # a network nobody asks for is left alone
    assert Recognizer.load(plain.path).second is None
    model = replace(plain, second=Second("other", "2026-11-22", 48, 0.2))
    loaded = saved_and_loaded(model)
    assert_reads_as_the_model(loaded, loaded.second)
    values = json.loads((plain.path / "model.json").read_text("utf-8"))
    del values["second"]["writing"]  # as older models have it
    (plain.path / "model.json").write_text(json.dumps(values), "utf-8")
    assert ModelFolder.load(plain.path).second == Second("other", "2026-11-22", 48, 0.0)
    model.second_onnx.write_bytes(b"another")
    with pytest.raises(ModelError, match=r"second\.onnx is not the file"):
        ModelFolder.load(model.path)


def test_a_fast_network_is_kept_and_reads_first(tmp_path: Path) -> None:
    plain = bar_model(tmp_path / "bars")
    shutil.copyfile(plain.onnx, plain.fast_onnx)
    assert Recognizer.load(plain.path).fast is None  # nobody asks for it
    model = replace(plain, fast=Fast("other", "2026-11-28"))
    loaded = saved_and_loaded(model)
    assert_reads_as_the_model(loaded, loaded.fast)
    model.fast_onnx.write_bytes(b"another")
    with pytest.raises(ModelError, match=r"fast\.onnx .*is not the file"):
        ModelFolder.load(model.path)


def test_a_model_from_before_there_was_a_search_is_greedy(tmp_path: Path) -> None:
    model = changed(bar_model(tmp_path / "bars"), decoding=..., second=..., fast=...)
    changed(model, height_step=...)
    assert ModelFolder.load(model.path) == model


def test_a_flipped_bit_in_the_network_is_noticed(tmp_path: Path) -> None:
    model = bar_model(tmp_path / "bars")
    content = bytearray(model.onnx.read_bytes())
    content[len(content) // 2] ^= 1
    model.onnx.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx .*copy or export the model again"):
        ModelFolder.load(model.path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.json: no such file"):
        ModelFolder.load(tmp_path)
    model = bar_model(tmp_path / "bars")
    model.onnx.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: no such file"):
        ModelFolder.load(model.path)
    with pytest.raises(ModelError, match=r"model\.onnx: no such file"):
        model.save()


def test_a_model_json_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": "penname-mo')
    with pytest.raises(ModelError, match=r"model\.json: Unterminated string"):
        ModelFolder.load(tmp_path)


def test_an_included_name_wins_over_a_folder_and_unknown_names_list_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_folder, "INCLUDED", tmp_path / "models")
    bar_model(tmp_path / "models" / "bars")
    (tmp_path / "models" / "unfinished").mkdir()
    (tmp_path / "bars").mkdir()
    monkeypatch.chdir(tmp_path)
    assert included() == ["bars"]
    assert ModelFolder.load("bars").path == tmp_path / "models" / "bars"
    with pytest.raises(ModelError, match="not a model folder"):
        ModelFolder.load("./bars")
    with pytest.raises(ModelError, match=r"nothing: no such model; .* \(bars\)"):
        ModelFolder.load("nothing")


def test_calibration_is_a_sigmoid_of_the_logit() -> None:
    assert Calibration(1, 0).confidence(math.log(0.3)) == pytest.approx(0.3)
    logit = math.log(0.3 / 0.7)
    expected = 1 / (1 + math.exp(-(2 * logit + 0.5)))
    assert Calibration(2, 0.5).confidence(math.log(0.3)) == pytest.approx(expected)


def test_calibration_knows_certain_and_impossible() -> None:
    calibration = Calibration(0.8, -0.5)
    assert calibration.confidence(-math.inf) == 0.0
    assert calibration.confidence(-2000.0) == pytest.approx(0.0)
    assert 0.99 < calibration.confidence(0.0) < 1.0
    assert calibration.confidence(1e-7) == calibration.confidence(0.0)  # float32 sums exceed 1


def test_a_model_json_without_an_end_to_its_depth_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"model\.json: .*copy or export the model again"):
        ModelFolder.load(tmp_path)


def test_a_canvas_has_the_rows_that_the_network_sees(model: ModelFolder) -> None:
    line = np.full((48, 40), 255, np.uint8)
    line[2:10, 5] = 0
    shapes = [replace(model, height_step=step).canvas(line).shape for step in (0, 16)]
    assert shapes == [(1, 1, 48, 64), (1, 1, 32, 64)]
