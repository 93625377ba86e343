"""The included models read real crops that they were not trained on, as well as their cards say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from rapidfuzz.distance import Levenshtein

from penname.alphabet import Alphabet
from penname.evaluate import evaluate
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.line_image import Source, decode, line_image, on_canvas
from penname.model_folder import INCLUDED, ModelFolder, included
from penname.recognizer import Recognizer
from penname.training.graph import Exported
from penname.training.options import TrainOptions
from penname.training.start import begin

if TYPE_CHECKING:
    from penname.report import Report

DATA = Path(__file__).parent / "data"
LIMIT = 16 * 2**20  # bytes a file of a model may have


@pytest.fixture(scope="module")
def names() -> Recognizer:
    return Recognizer.load("names")


def scores(recognizer: Recognizer, table: str) -> Report:
    truth = read_sources([DATA / table], SourceOptions())
    return evaluate(recognizer, truth, data=table)


def test_both_models_are_there_with_a_card_and_within_the_size() -> None:
    assert included() == ["latin", "names"]
    for name in included():
        assert (INCLUDED / name / "card.md").read_text("utf-8").startswith(f"# {name}\n")
        assert all(file.stat().st_size <= LIMIT for file in (INCLUDED / name).iterdir())
        assert ModelFolder.load(name).confidence


def test_names_reads_names(names: Recognizer) -> None:
    report = scores(names, "names/names.csv").to_json()
    assert report["n"] == 30
    assert report["exact"] >= 25 / 30  # three labels of these are wrong or doubtful
    assert report["cer"] <= 0.05


def test_latin_reads_lines() -> None:
    report = scores(Recognizer.load("latin"), "lines/lines.csv").to_json()
    assert report["n"] == 6
    assert report["cer"] <= 0.15


def test_a_name_reads_the_same_alone_and_in_a_batch(names: Recognizer) -> None:
    files = sorted((DATA / "names").glob("*.jpg"))
    together = names.read(files)
    for file, other in zip(files, together, strict=True):
        (alone,) = names.read([file])
        assert alone.text == other.text
        assert alone.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_a_name_reads_the_same_in_any_form(names: Recognizer) -> None:
    """Colour, white on black, 16 bits and transparency are not the handwriting's affair."""
    files = sorted((DATA / "names").glob("*.jpg"))[:10]
    for file, expected in zip(files, names.read(files), strict=True):
        grey = decode(file)
        colour = Image.fromarray(grey).convert("RGB")
        alpha = Image.merge("LA", (Image.new("L", colour.size, 0), Image.fromarray(255 - grey)))
        forms: list[Source] = [colour, 255 - grey, grey.astype(np.uint16) * 257, alpha]
        assert [p.text for p in names.read(forms)] == [expected.text] * len(forms)


def larger(grey: np.ndarray, times: float) -> np.ndarray:
    """Return the picture at `times` the resolution."""
    height, width = (round(side * times) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("times", [0.7, 2, 3, 5])
def test_a_name_reads_the_same_at_other_resolutions(names: Recognizer, times: float) -> None:
    crops = [decode(file) for file in sorted((DATA / "names").glob("*.jpg"))]
    scanned = names.read([larger(crop, times) for crop in crops])
    same = [a.text == b.text for a, b in zip(scanned, names.read(crops), strict=True)]
    assert sum(same) >= 28  # of 30; without the size of writing 26 at three times, 25 at five


@pytest.mark.parametrize("share", [0.3, 1, 3])
def test_a_line_reads_the_same_on_more_paper(share: float) -> None:
    latin = Recognizer.load("latin")
    lines = [decode(file) for file in sorted((DATA / "lines").glob("*.webp"))]
    edits = length = 0
    for line, expected in zip(lines, latin.read(lines), strict=True):
        rows = round(share * len(line))
        paper = int(np.percentile(line, 90))
        (found,) = latin.read([np.pad(line, ((rows, rows), (0, 0)), constant_values=paper)])
        edits += Levenshtein.distance(found.text, expected.text)
        length += len(expected.text)
    assert edits <= 0.05 * length  # without the size of writing 227 of 258 at 3


def test_an_empty_picture_reads_as_nothing(names: Recognizer) -> None:
    (prediction,) = names.read([np.full((40, 300), 255, np.uint8)])
    assert prediction.text == ""


@pytest.mark.parametrize(("name", "folder"), [("names", "names"), ("latin", "lines")])
def test_a_model_can_be_trained_further_from_where_it_is(name: str, folder: str) -> None:
    recognizer = Recognizer.load(name)
    spec, old = recognizer.model.image, recognizer.model.alphabet
    alphabet, network = begin(Alphabet("Aж"), spec, TrainOptions(preset=name), recognizer.model)
    assert alphabet.characters == old.characters + "ж"
    session = onnxruntime.InferenceSession(recognizer.model.float_onnx)
    differences = []
    for file in sorted((DATA / folder).glob("*.*[gp]"))[:6]:
        line = line_image(decode(file), spec)
        images = on_canvas([line], spec.canvas_width(line.shape[1]))
        with torch.no_grad():
            log_probs = Exported(network).eval()(torch.from_numpy(images))[..., :-1]
        # The new character takes some probability from all others alike.
        ours = log_probs.log_softmax(-1).numpy()
        floats = session.run(None, {"images": images})[0]
        np.testing.assert_allclose(ours, floats, rtol=0, atol=1e-3)
        differences.append(np.abs(recognizer.network(images) - ours)[ours > -1])
    # In integers a character may come a frame earlier or later.
    assert np.mean(np.concatenate(differences) > 0.5) < 0.015
