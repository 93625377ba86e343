"""Reading, with a model whose right answers are known (see conftest.py)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import BARS, SHARPNESS, SPEC, STRIDE, bar_model, bars, greys, png
from PIL import Image

from penname import ctc
from penname import recognizer as module
from penname.alphabet import Alphabet
from penname.beam import AGREEING, Candidate, DecodingOptions, search
from penname.decoder import RECOMBINED, Decoder, recombined
from penname.errors import ImageError, ModelError, OptionError
from penname.inputs import Input
from penname.language import Language
from penname.lexicon import Lexicon
from penname.line_image import PAPER, line_image, on_canvas
from penname.model_folder import Calibration, Fast, Second
from penname.recognizer import NO_IMAGE, WINDOW, Character, Prediction, Recognizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penname.line_image import Source
    from penname.model_folder import ModelFolder
    from penname.network import Network

TEXTS = ["A", "JAB", "CAFE", "BB", "HEADACHE", "DECIDED"]
SPECKED = np.full((48, 64), PAPER, np.uint8)  # ink, though too little for a character
SPECKED[:8, 40] = 0


def expected_log_probs(text: str) -> np.ndarray:
    """Return what the network must say of a bar code, worked out in float64: (T, C)."""
    picture = bars(text)
    width = SPEC.canvas_width(picture.shape[1])
    canvas = np.full((SPEC.height, width), PAPER, dtype=np.float64)
    canvas[:, : picture.shape[1]] = picture
    frames = canvas.reshape(SPEC.height, -1, STRIDE).mean(axis=(0, 2))
    logits = -SHARPNESS * (frames[:, None] - greys().astype(np.float64)) ** 2
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def test_every_kind_of_source_reads_the_same(recognizer: Recognizer, tmp_path: Path) -> None:
    file = tmp_path / "line.png"
    file.write_bytes(png("CAFE"))
    sources: list[Source | Input] = [
        file,
        str(file),
        png("CAFE"),
        Image.fromarray(bars("CAFE")),
        bars("CAFE"),
    ]
    sources.append(Input("page 1, line 2", png("CAFE")))
    predictions = recognizer.read(sources)
    assert [p.text for p in predictions] == ["CAFE"] * 6
    assert [p.file for p in predictions] == [str(file), str(file), "", "", "", "page 1, line 2"]
    assert len({(p.confidence, p.characters) for p in predictions}) == 1


def test_spans_are_pixels_of_the_line_image(recognizer: Recognizer) -> None:
    (prediction,) = recognizer.read([bars("AB")])
    spans = [(c.character, c.start, c.end) for c in prediction.characters]
    assert spans == [("A", 8, 24), ("B", 32, 48)]


def test_spans_end_where_the_line_image_does(recognizer: Recognizer) -> None:
    cut = bars("J")[:, :20]  # half of the second frame is left, as dark as a whole one of E
    (prediction,) = recognizer.read_lines([cut])
    spans = [(c.character, c.start, c.end) for c in prediction.characters]
    assert spans == [("J", 8, 16), ("E", 16, 20)]


@pytest.mark.parametrize("text", TEXTS)
def test_confidences_follow_their_definitions(recognizer: Recognizer, text: str) -> None:
    (prediction,) = recognizer.read([bars(text)])
    log_probs = expected_log_probs(text)
    likelihood = ctc.log_likelihood(log_probs[None], [BARS.encode(text)])[0]
    assert prediction.confidence == pytest.approx(np.exp(likelihood), rel=1e-4)
    found = [c.confidence for c in prediction.characters]
    peaks = [
        np.exp(log_probs[1 + 3 * i : 3 + 3 * i, label].max())
        for i, label in enumerate(BARS.encode(text))
    ]
    assert found == pytest.approx(peaks, rel=1e-4)


def test_a_line_reads_the_same_alone_and_in_a_batch(recognizer: Recognizer) -> None:
    pictures = [bars(text) for text in TEXTS * 5]
    together = recognizer.read(pictures, batch_size=4)
    alone = [recognizer.read([picture], batch_size=1)[0] for picture in pictures]
    assert [p.text for p in together] == TEXTS * 5
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)
        assert [(c.start, c.end) for c in one.characters] == [
            (c.start, c.end) for c in other.characters
        ]


def test_batches_hold_equal_canvases_and_at_most_batch_size_lines(model: ModelFolder) -> None:
    shapes = []

    def network(images: np.ndarray) -> np.ndarray:
        shapes.append(images.shape)
        assert images.dtype == np.uint8
        return np.zeros((len(images), images.shape[3] // STRIDE, BARS.classes), np.float32)

    lines = [np.zeros((SPEC.height, width), np.uint8) for width in (10, 40, 32, 33, 64, 1)]
    Recognizer(model, network).read_lines(lines, batch_size=2)
    assert sorted(shapes) == [
        (1, 1, 48, 32),  # width 1
        (1, 1, 48, 64),  # width 64
        (2, 1, 48, 32),  # widths 10 and 32
        (2, 1, 48, 64),  # widths 40 and 33
    ]


def test_a_picture_without_ink_is_blank_whatever_a_network_sees_in_it(model: ModelFolder) -> None:
    shapes = []

    def network(images: np.ndarray) -> np.ndarray:
        shapes.append(images.shape)
        return said([("A", 1), ("C", 1)], images.shape[3])(images)

    blank, pale = np.full((40, 90), PAPER, np.uint8), np.full((40, 90), PAPER, np.uint8)
    pale[10:20, 10:80] -= 20
    thin = np.full((400, 900), PAPER, np.uint8)
    thin[::20, 200:203] = 0  # grey once it is drawn small
    nothing, text, faint, grey = Recognizer(model, network).read([blank, bars("J"), pale, thin])
    assert (text.text, grey.text) == ("AC", "AC")
    assert nothing == faint == Prediction("", "", 0.0, reason="blank")
    assert [shape[0] for shape in shapes] == [1, 1]
    assert Recognizer(model, network).read([blank]) == [nothing]


def test_later_looks_go_in_batches_too(searching: Recognizer) -> None:
    sizes = []

    def network(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return said([("A", 1), ("C", 0.6)], images.shape[3])(images)

    options = DecodingOptions(language_weight=0.0, look_again=1.0)
    model = replace(searching.model, decoding=options)
    found = Recognizer(model, network).read([bars("CAFE")] * 5, batch_size=2)
    assert [each.text for each in found] == ["AC"] * 5
    assert sorted(sizes) == [1, 1, 2, 2, 2, 2]  # two looks


def test_an_unreadable_picture_is_named_and_the_others_are_read(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(png("CAFE")[:40])
    gone = tmp_path / "gone.png"
    predictions = recognizer.read([bars("A"), damaged, gone, b"text", np.zeros(3), bars("B")])
    assert [p.text for p in predictions] == ["A", "", "", "", "", "B"]
    assert [bool(p.error) for p in predictions] == [False, True, True, True, True, False]
    assert [p.confidence for p in predictions[1:5]] == [0.0] * 4
    assert predictions[1].file == str(damaged)
    assert "No such file" in predictions[2].error
    assert "not an image" in predictions[3].error


def test_streaming_keeps_order_across_windows_and_memory_flat(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 2000)
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield bars(TEXTS[taken % len(TEXTS)])

    stream = recognizer.stream(endless())
    widths = [bars(TEXTS[(i + 1) % len(TEXTS)]).shape[1] for i in range(99)]
    ends = [0]  # of the windows: the fewest pictures whose columns are 2000
    for _ in range(3):
        ends.append(next(n for n in range(99) if sum(widths[ends[-1] : n]) >= 2000))
    assert ends[1] > 5
    texts = [next(stream).text for _ in range(ends[1] + 5)]
    assert texts == [TEXTS[(i + 1) % len(TEXTS)] for i in range(ends[1] + 5)]
    assert taken == ends[3]
    stream.close()  # type: ignore[attr-defined]


def test_pictures_are_prepared_while_the_network_reads(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 10 * bars("CAFE").shape[1])
    second = threading.Event()

    def network(images: np.ndarray) -> np.ndarray:
        assert second.wait(10), "the second window waits for the first"
        return recognizer.network(images)

    def pictures() -> Iterator[np.ndarray]:
        yield from [bars("CAFE")] * 10
        second.set()
        yield bars("BAD")

    texts = [p.text for p in Recognizer(recognizer.model, network).stream(pictures())]
    assert texts == ["CAFE"] * 10 + ["BAD"]


def test_pictures_that_cannot_be_read_fill_a_window_too(recognizer: Recognizer) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"text"

    stream = recognizer.stream(endless())
    assert next(stream).error
    assert taken == 2 * WINDOW // NO_IMAGE
    stream.close()  # type: ignore[attr-defined]


def test_no_pictures_give_no_predictions(recognizer: Recognizer) -> None:
    assert recognizer.read([]) == []
    assert recognizer.read_lines([]) == []


def test_mistaken_calls_are_refused(recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="give a list"):
        recognizer.read("line.png")
    with pytest.raises(OptionError, match="batch size is 0"):
        recognizer.read([bars("A")], batch_size=0)
    with pytest.raises(ImageError, match=r"line image 1 is \(32, 9\); the model reads \(48, w\)"):
        recognizer.read_lines([bars("A"), np.zeros((32, 9), np.uint8)])
    for shape in ((48, 0), (48, 8, 1)):
        with pytest.raises(ImageError, match="line image 0 is"):
            recognizer.read_lines([np.zeros(shape, np.uint8)])


def test_a_network_that_does_not_fit_its_alphabet_is_refused(model: ModelFolder) -> None:
    def network(images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), images.shape[3] // STRIDE, 5), np.float32)

    with pytest.raises(ModelError, match="export the model again"):
        Recognizer(model, network).read_lines([bars("A")])


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    model = bar_model(tmp_path / "bars")
    model.onnx.write_bytes(b"not a network")
    model.save()  # so that the checksum is right
    recognizer = Recognizer.load(model.path)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        recognizer.read_lines([bars("A")])


def test_calibration_is_applied_to_the_line_confidence(tmp_path: Path) -> None:
    plain = Recognizer.load(bar_model(tmp_path / "plain").path).read([bars("DECIDED")])[0]
    calibration = Calibration(slope=0.5, intercept=-1)
    model = bar_model(tmp_path / "calibrated", calibration)
    (prediction,) = Recognizer.load(model.path, threads=1).read([bars("DECIDED")])
    logit = np.log(plain.confidence / (1 - plain.confidence))
    assert prediction.confidence == pytest.approx(1 / (1 + np.exp(1 - 0.5 * logit)), rel=1e-4)
    assert prediction.characters == plain.characters


def doubted(network: Network, text: str, other: str, share: float) -> Network:
    """Return the network in doubt: where it would write `text`, `other` has that share."""
    labels, others = BARS.encode(text), BARS.encode(other)

    def doubting(images: np.ndarray) -> np.ndarray:
        probabilities = np.exp(network(images))
        for index, (label, instead) in enumerate(zip(labels, others, strict=True)):
            if label != instead:
                frames = probabilities[:, 1 + 3 * index : 3 + 3 * index]
                frames[:, :, instead] = share * frames[:, :, label]
                frames[:, :, label] *= 1 - share
        return np.asarray(np.log(np.maximum(probabilities, 1e-30)))

    return doubting


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    """A recognizer that knows three words."""
    model = bar_model(tmp_path_factory.mktemp("searching") / "bars")
    Language.build({"CAFE": 90, "DEAF": 5, "JADE": 40}, BARS).save(model.language)
    replace(model, decoding=DecodingOptions(look_again=0.0)).save()
    return Recognizer.load(model.path)


def test_a_search_writes_the_word_where_the_network_doubts(
    searching: Recognizer, recognizer: Recognizer
) -> None:
    network = doubted(recognizer.network, "CAFF", "CAFE", 0.45)
    greedy = Recognizer(recognizer.model, network).read([bars("CAFF")])[0]
    found = Recognizer(searching.model, network).read([bars("CAFF")])[0]
    assert (greedy.text, found.text) == ("CAFF", "CAFE")
    assert [replace(c, confidence=0) for c in found.characters[:3]] == [
        replace(c, confidence=0) for c in greedy.characters[:3]
    ]
    last = found.characters[3]  # within the two frames in doubt
    assert last.character == "E"
    assert 80 <= last.start < last.end <= 96
    assert last.confidence < 0.5 < greedy.characters[2].confidence


def test_the_search_gives_alternatives_whose_confidences_are_shares(
    searching: Recognizer, recognizer: Recognizer
) -> None:
    network = doubted(recognizer.network, "CAFF", "CAFE", 0.45)
    (plain,) = Recognizer(searching.model, network).read([bars("CAFF")])
    log_probs = network(on_canvas([bars("CAFF")], SPEC.canvas_width(bars("CAFF").shape[1])))
    assert searching.decoder.language
    assert searching.decoder.options
    ((best, *others),) = search(log_probs, searching.decoder.language, searching.decoder.options)
    assert plain.confidence == pytest.approx(best.share)
    assert [a.text for a in plain.alternatives] == [BARS.decode(c.labels) for c in others]
    assert [a.confidence for a in plain.alternatives] == pytest.approx([c.share for c in others])
    assert "CAFF" in [a.text for a in plain.alternatives]

    model = replace(searching.model, confidence=Calibration(slope=0.5, intercept=-1))
    (calibrated,) = Recognizer(model, network).read([bars("CAFF")])
    assert calibrated.confidence < plain.confidence
    ratios = [
        after.confidence / before.confidence
        for after, before in zip(calibrated.alternatives, plain.alternatives, strict=True)
    ]
    expected = (1 - calibrated.confidence) / (1 - plain.confidence)
    assert ratios == pytest.approx([expected] * len(ratios))


def looks(first: Network, second: Network) -> tuple[Network, list[tuple[int, ...]]]:
    """Return a network that sees a line for the second time in narrower images, and its inputs."""
    inputs: list[tuple[int, ...]] = []

    def network(images: np.ndarray) -> np.ndarray:
        inputs.append(images.shape)
        return (first if images.shape[3] == 128 else second)(images)

    return network, inputs


def said(frames: list[tuple[str, float]], width: int) -> Network:
    """Return a network that gives each character its probability, the rest to the next letter."""

    def network(images: np.ndarray) -> np.ndarray:
        probabilities = np.full((len(images), width // STRIDE, BARS.classes), 1e-12)
        probabilities[:, :, 0] = 1.0
        for index, (character, share) in enumerate(frames):
            (label,) = BARS.encode(character)
            probabilities[:, 2 * index + 1] = 1e-12
            probabilities[:, 2 * index + 1, [label, label + 1]] = share, max(1 - share, 1e-12)
        return np.asarray(np.log(probabilities / probabilities.sum(axis=2, keepdims=True)))

    return network


def agreed(*looks: float) -> float:
    """Return the probability of the one of two texts to which looks give these."""
    one, other = (
        math.pow(sum(share**AGREEING for share in shares), 1 / AGREEING)
        for shares in (looks, [1 - share for share in looks])
    )
    return one / (one + other)


@pytest.mark.parametrize(
    ("look_again", "text", "share"), [(0.0, "AC", 0.6), (0.7, "AD", agreed(0.4, 0.9))]
)
def test_a_doubtful_line_is_looked_at_again(
    searching: Recognizer, look_again: float, text: str, share: float
) -> None:
    options = DecodingOptions(language_weight=0.0, look_again=look_again)
    network, inputs = looks(said([("A", 1), ("C", 0.6)], 128), said([("A", 1), ("C", 0.1)], 96))
    recognizer = Recognizer(replace(searching.model, decoding=options), network)
    line = bars("CAFF")[:, :104]  # 92 wide when it is smaller
    found = recognizer.read_lines([line, line])
    assert [p.text for p in found] == [text, text]
    assert [p.confidence for p in found] == pytest.approx([share, share], abs=1e-6)
    other = 0.4 if not look_again else agreed(0.6, 0.1)
    assert [a.confidence for a in found[0].alternatives[:1]] == pytest.approx([other], abs=1e-6)
    assert "".join(c.character for c in found[0].characters) == text
    assert inputs == [(2, 1, 48, 128), (2, 1, 48, 96)][: 1 + (look_again > 0)]


def test_a_second_network_looks_at_what_the_first_one_still_doubts(searching: Recognizer) -> None:
    options = DecodingOptions(language_weight=0.0)
    doubted = {width: said([("A", 1), ("C", 0.6)], width) for width in (128, 96)}
    sure, inputs = said([("A", 1)], 64), list[tuple[int, ...]]()

    def first(images: np.ndarray) -> np.ndarray:
        inputs.append(images.shape)
        return doubted.get(images.shape[3], sure)(images)

    second, again = looks(said([("B", 1)], 128), said([("A", 1), ("C", 0.1)], 96))
    other = Second("other", "", height=36, writing=0.0)
    model = replace(searching.model, decoding=options, second=other)
    line, certain = bars("CAFF")[:, :104], bars("CAFF")[:, :44]  # on canvases of 128 and 64
    found = Recognizer(model, first, second=second).read_lines([line, certain, line])
    assert [p.text for p in found] == ["AD", "A", "AD"]
    assert [p.confidence for p in found[::2]] == pytest.approx(
        [agreed(0.4, 0.4, 0.9)] * 2, abs=1e-6
    )
    assert sorted(inputs) == [(1, 1, 48, 64), (2, 1, 48, 96), (2, 1, 48, 128)]
    assert again == [(2, 1, 36, 96)]  # they are 78 wide


def test_what_a_fast_network_doubts_is_read_as_if_it_had_not_been(searching: Recognizer) -> None:
    options = DecodingOptions(language_weight=0.0)
    model = replace(searching.model, decoding=options, fast=Fast("fast", "2026-11-28"))
    sure, inputs = said([("B", 1)], 64), list[tuple[int, ...]]()

    def fast(images: np.ndarray) -> np.ndarray:
        inputs.append(images.shape)
        return (sure if images.shape[3] == 64 else said([("A", 1), ("C", 0.6)], 128))(images)

    network, again = looks(said([("A", 1), ("C", 0.4)], 128), said([("A", 1), ("C", 0.1)], 96))
    line, certain = bars("CAFF")[:, :104], bars("CAFF")[:, :44]  # on canvases of 128 and 64
    recognizer = Recognizer(model, network, fast=fast)
    found = recognizer.read_lines([line, certain, line])
    assert [p.text for p in found] == ["AD", "B", "AD"]
    assert [p.confidence for p in found[::2]] == pytest.approx([agreed(0.6, 0.9)] * 2, abs=1e-6)
    assert sorted(inputs) == [(1, 1, 48, 64), (2, 1, 48, 128)]
    assert again == [(2, 1, 48, 128), (2, 1, 48, 96)]
    assert found[::2] == Recognizer(model, network).read_lines([line, line])
    again.clear()
    assert [p.text for p in recognizer.quick().read_lines([line, certain])] == ["AC", "B"]
    assert [p.text for p in recognizer.read_lines([certain, certain])] == ["B", "B"]
    assert again == []  # nothing was doubted


@pytest.mark.parametrize("own", [0, 8])
def test_a_network_with_a_height_step_sees_the_rows_of_the_ink(
    searching: Recognizer, own: int
) -> None:
    options = DecodingOptions(language_weight=0.0)
    fast = Fast("fast", "2026-11-28", height_step=16)
    model = replace(searching.model, decoding=options, fast=fast, height_step=own)
    seen: dict[str, list[np.ndarray]] = {"fast": [], "own": []}

    def network(name: str) -> Network:
        def run(images: np.ndarray) -> np.ndarray:
            seen[name].append(images)
            return said([("A", 1), ("C", 0.6)], images.shape[3])(images)

        return run

    line = np.full((SPEC.height, 100), 255, dtype=np.uint8)
    line[20:41, 3:60] = 0  # needs 23 rows with its edges
    tall = line.copy()
    tall[:, 3] = 0
    found = Recognizer(model, network("own"), fast=network("fast")).read_lines([line, tall])
    assert [each.text for each in found] == ["AC", "AC"]
    shapes = {name: sorted(images.shape for images in each) for name, each in seen.items()}
    assert shapes["fast"] == [(1, 1, 32, 128), (1, 1, 48, 128)]
    few = [(1, 1, 24, 96), (1, 1, 24, 128), (1, 1, 48, 96), (1, 1, 48, 128)]
    assert shapes["own"] == (few if own else [(2, 1, 48, 96), (2, 1, 48, 128)])
    (cut,) = (images[0, 0] for images in seen["fast"] if images.shape[2] == 32)
    assert np.array_equal(cut[:, :100], line[12:44])


def test_for_a_fast_network_the_search_is_narrow(
    searching: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[tuple[int, int, int]] = []

    def noting(
        log_probs: list[np.ndarray], language: Language, options: DecodingOptions
    ) -> list[list[Candidate]]:
        widths.append((len(log_probs), options.beam, options.characters))
        return search(log_probs, language, options)

    monkeypatch.setattr("penname.decoder.search", noting)
    options = DecodingOptions(language_weight=0.0, beam=20, characters=3, look_again=0.7)
    model = replace(searching.model, decoding=options, fast=Fast("fast", "2026-11-28"))

    def network(images: np.ndarray) -> np.ndarray:
        return said([("A", 1), ("C", 0.6)], images.shape[3])(images)

    Recognizer(model, network, fast=network).read_lines([bars("CAFF")[:, :104]])
    Recognizer(model, network).read_lines([bars("CAFF")[:, :104]])
    own = [(1, 20, 3), (1, 20, 3)]  # and drawn smaller
    assert widths == [(1, 8, 3), *own, *own]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines each search is given."""
    counts = []

    def counting(log_probs: list[np.ndarray], *rest: Any) -> list[list[Candidate]]:
        counts.append(len(log_probs))
        return search(log_probs, *rest)

    monkeypatch.setattr("penname.decoder.search", counting)
    return counts


def test_a_window_reads_the_same_in_parts(
    searching: Recognizer,
    recognizer: Recognizer,
    searched: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = DecodingOptions(certain=1.0, look_again=1.0)
    doubting = Recognizer(replace(searching.model, decoding=options), recognizer.network)
    lines = [bars(text) for text in ("CAFF", "HEADACHE", "BB", "DEAF", "JAB", "A", "CAFF")]
    whole = doubting.read(lines)
    assert searched == [7, 7]  # and what is drawn smaller
    monkeypatch.setattr("penname.beam.PREFIXES", 32)
    monkeypatch.setattr("penname.recognizer.GREEDY", 1)
    searched.clear()
    parts = doubting.read(lines, batch_size=2)
    assert len(searched) >= 8  # four batches and more, twice
    assert sum(searched) == 14
    assert [part.text for part in parts] == [line.text for line in whole]
    assert [p.confidence for p in parts] == pytest.approx([p.confidence for p in whole], rel=1e-6)
    certain = replace(searching.model, decoding=DecodingOptions(certain=0.0, look_again=0.0))
    searched.clear()
    assert [p.text for p in Recognizer(certain, recognizer.network).read(lines)] == [
        *("CAFF", "HEADACHE", "BB", "DEAF", "JAB", "A", "CAFF")
    ]
    assert sum(searched) == 0


def test_a_fast_network_that_is_nearly_certain_is_not_searched(
    searching: Recognizer, searched: list[int]
) -> None:
    """At 0.93, less than a network's own 0.97 and more than the 0.9 of a fast one's."""
    model = replace(
        searching.model,
        decoding=DecodingOptions(language_weight=0.0),
        fast=Fast("fast", "2026-11-28"),
    )

    def network(images: np.ndarray) -> np.ndarray:
        return said([("A", 1), ("C", 0.93)], images.shape[3])(images)

    line = bars("CAFF")[:, :104]
    assert Recognizer(model, network, fast=network).read_lines([line])[0].text == "AC"
    assert sum(searched) == 0
    assert Recognizer(model, network).read_lines([line])[0].text == "AC"
    assert sum(searched) == 1


def test_a_quick_reading_looks_once(searching: Recognizer) -> None:
    options = DecodingOptions(language_weight=0.0, characters=2)
    network, inputs = looks(said([("A", 1), ("C", 0.6)], 128), said([("A", 1), ("C", 0.1)], 96))
    recognizer = Recognizer(replace(searching.model, decoding=options), network)
    line = bars("CAFF")[:, :104]
    (quick,) = recognizer.quick().read_lines([line])
    assert quick.text == "AC"
    assert quick.confidence == pytest.approx(0.6, abs=1e-6)
    assert inputs == [(1, 1, 48, 128)]
    assert recognizer.quick().name == f"{recognizer.name} (quick)"
    (whole,) = recognizer.read_lines([line])
    assert whole.text == "AD"  # the recognizer itself is as it was
    greedy = Recognizer(replace(searching.model, decoding=None), network)
    assert greedy.quick().read_lines([line]) == greedy.read_lines([line])


def test_quick_and_a_list_of_names_come_in_either_order(
    recognizer: Recognizer, lexicon: Path
) -> None:
    one, other = recognizer.quick().with_lexicon(lexicon), recognizer.with_lexicon(lexicon).quick()
    assert one.name == other.name == f"bars ({lexicon.name}, quick)"
    for each in (one, other):
        assert each.decoder.options
        assert each.decoder.options.look_again == 0.0


def test_what_only_a_higher_line_image_has_room_for_is_not_read(searching: Recognizer) -> None:
    first, second = said([("A", 0.6)], 32), said([(letter, 1) for letter in "AABB"], 64)
    other = Second("other", "", height=2 * searching.model.image.height, writing=0.0)
    model = replace(searching.model, decoding=DecodingOptions(language_weight=0.0), second=other)
    (found,) = Recognizer(model, first, second=second).read_lines([bars("CAFF")[:, :30]])
    assert found.text in ("A", "B")  # AABB needs 6 frames, and there are 4


def test_what_is_settled_when_drawn_smaller_needs_no_second_network(searching: Recognizer) -> None:
    smaller = said([("A", 1), ("C", 0.02)], 96)
    first, inputs = looks(said([("A", 1), ("C", 0.6)], 128), smaller)
    second, again = looks(said([("B", 1)], 128), said([("A", 1), ("C", 0.45)], 96))
    other = Second("other", "", height=36, writing=0.0)
    model = replace(searching.model, decoding=DecodingOptions(language_weight=0.0), second=other)
    (found,) = Recognizer(model, first, second=second).read_lines([bars("CAFF")[:, :104]])
    assert found.text == "AD"
    assert found.confidence == pytest.approx(agreed(0.4, 0.98), abs=1e-6)
    assert inputs == [(1, 1, 48, 128), (1, 1, 48, 96)]
    assert again == []


def test_what_is_right_in_one_place_each_is_put_together(searching: Recognizer) -> None:
    """One look finds AEC alone and the other BED, but each doubts what is wrong in it."""
    options = DecodingOptions(language_weight=0.0, candidates=1)
    first = said([("A", 0.9), ("E", 1), ("C", 0.55)], 128)
    again = said([("A", 0.45), ("E", 1), ("C", 0.05)], 96)
    network, _ = looks(first, again)
    model = replace(searching.model, decoding=options)
    (found,) = Recognizer(model, network).read_lines([bars("CAFF")[:, :104]])
    assert found.text == "AED"
    words = Lexicon.build({"AEC": 1, "BED": 1}, BARS)
    strict = searching.decoder.with_words(words, strict=True)
    recognizer = Recognizer(model, network)
    recognizer.decoder = Decoder(BARS, strict.language, options)
    (found,) = recognizer.read_lines([bars("CAFF")[:, :104]])
    assert found.text in ("AEC", "BED")  # AED is no word of the list


def test_a_strict_list_has_no_alternatives_beside_its_names(searching: Recognizer) -> None:
    options = DecodingOptions(language_weight=0.0, look_again=1.0)
    first = said([("A", 0.9), ("E", 1), ("C", 0.55)], 128)
    again = said([("A", 0.45), ("E", 1), ("C", 0.05)], 96)
    network, inputs = looks(first, again)
    recognizer = Recognizer(replace(searching.model, decoding=options), network)
    words = Lexicon.build({"AEC": 1, "BED": 1, "BEE": 1}, BARS)
    strict = searching.decoder.with_words(words, strict=True)
    recognizer.decoder = Decoder(BARS, strict.language, options)
    (found,) = recognizer.read_lines([bars("CAFF")[:, :104]])
    assert len(inputs) == 2
    assert {found.text, *(each.text for each in found.alternatives)} == {"AEC", "BED"}


def test_texts_are_recombined_one_difference_at_a_time() -> None:
    texts = [tuple(text) for text in ("ABCDE", "XBCDY", "ABCDEF", "ACDE", "ABCDE")]
    found = ["".join(text) for text in recombined(texts)]  # type: ignore[arg-type]
    assert found == ["ABCDE", "XBCDY", "ABCDEF", "ACDE", "XBCDE", "ABCDY"]
    assert recombined([]) == []
    many = [(0,) * 50, *((0,) * i + (1,) + (0,) * (49 - i) for i in range(50))]
    assert recombined(many) == many[:RECOMBINED]


def test_a_certain_reading_is_not_searched(
    searching: Recognizer, recognizer: Recognizer, searched: list[int]
) -> None:
    (greedy,) = recognizer.read([bars("BB")])
    for certain, expected in ((greedy.confidence - 1e-6, 0), (greedy.confidence + 1e-6, 1)):
        model = replace(searching.model, decoding=DecodingOptions(certain=certain))
        (prediction,) = Recognizer(model, recognizer.network).read([bars("BB")])
        assert prediction.text == "BB"
        assert searched.pop() == expected
    assert recognizer.read([bars("BB")]) == [greedy]
    assert searched == []


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("lexicon") / "names.txt"
    file.write_text("cafe\nJade\nBEE\n", "utf-8")
    return file


def test_an_open_lexicon_is_preferred_and_others_can_be_read(
    recognizer: Recognizer, lexicon: Path
) -> None:
    network = doubted(recognizer.network, "CAFF", "CAFE", 0.45)
    plain = Recognizer(recognizer.model, network)
    opened = plain.with_lexicon(lexicon)
    opened.decoder.options = DecodingOptions(look_again=0.0)  # smaller, a bar code is another
    (found,) = opened.read([bars("CAFF")])
    assert plain.read([bars("CAFF")])[0].text == "CAFF"
    assert (found.text, found.alternatives[0].text) == ("CAFE", "CAFF")
    assert found.confidence + sum(a.confidence for a in found.alternatives) <= 1
    assert [p.text for p in opened.read([bars("DEAF"), bars("JAB")])] == ["DEAF", "JAB"]


def test_a_lexicon_takes_the_place_of_the_words_a_model_knows(
    searching: Recognizer, recognizer: Recognizer, lexicon: Path
) -> None:
    network = doubted(recognizer.network, "DEAF", "DEAD", 0.45)
    knows = Recognizer(searching.model, network)
    assert knows.read([bars("DEAF")])[0].text == "DEAF"
    file = lexicon.parent / "dead.csv"
    file.write_text("name,count\nDEAD,5\n", "utf-8")
    assert knows.with_lexicon(file).read([bars("DEAF")])[0].text == "DEAD"
    assert knows.read([bars("DEAF")])[0].text == "DEAF"  # as it was


def test_a_strict_lexicon_writes_nothing_else(recognizer: Recognizer, lexicon: Path) -> None:
    strict = recognizer.with_lexicon(lexicon, strict=True)
    near, listed, far, blank = strict.read([bars(t) for t in ("CAFF", "JADE", "HEADACHE", "")])
    assert (near.text, listed.text, far.text, blank.text) == ("CAFE", "JADE", "JADE", "")
    assert listed.confidence > 0.9
    assert near.confidence < 0.1
    assert far.confidence < 1e-6
    assert "".join(c.character for c in near.characters) == "CAFE"


def test_a_strict_lexicon_may_find_nothing_to_read(recognizer: Recognizer, lexicon: Path) -> None:
    """Where no name fits, and where there is nothing, though a name would be possible."""
    file = lexicon.parent / "long.txt"
    file.write_text("HEADACHEHEADACHE", "utf-8")
    (found,) = recognizer.with_lexicon(file, strict=True).read([bars("AB")])
    assert (found.text, found.characters) == ("", ())
    assert found.confidence < 0.01
    words = Lexicon.build({"HEADACHEHEADACHE": 1}, BARS)
    strict, shapes = recognizer.quick(), []
    strict.decoder = recognizer.decoder.with_words(words, strict=True).quick()

    def noted(images: np.ndarray) -> np.ndarray:
        shapes.append(images.shape)
        return recognizer.network(images)

    strict.network = noted
    (found,) = strict.read([bars("AB")])
    assert (found.text, found.confidence) == ("", 0.0)
    assert len(shapes) == 1  # a quick reading doubts not even that
    doubting = Recognizer(
        replace(recognizer.model, confidence=None), half_blank(recognizer.network)
    )
    (nothing,) = doubting.with_lexicon(lexicon, strict=True).read([SPECKED])
    assert nothing.text == ""


def test_a_certain_reading_is_searched_when_a_strict_lexicon_lacks_it(
    searching: Recognizer, lexicon: Path
) -> None:
    model = replace(searching.model, decoding=DecodingOptions(certain=0.5))
    strict = Recognizer(model, searching.network).with_lexicon(lexicon, strict=True)
    (plain, listed, other) = (
        reader.read([bars(text)])[0]
        for reader, text in ((searching, "JADE"), (strict, "JADE"), (strict, "JADD"))
    )
    assert (listed.text, other.text) == ("JADE", "JADE")
    assert listed.alternatives == ()  # as it was certain
    assert other.confidence < 0.1 < plain.confidence


def half_blank(network: Network) -> Network:
    """Return the network in doubt of every blank: half of it is spread over the characters."""

    def doubting(images: np.ndarray) -> np.ndarray:
        probabilities = 0.5 * np.exp(network(images)) + 0.5 / BARS.classes
        return np.asarray(np.log(probabilities))

    return doubting


def test_a_prediction_says_why_a_person_should_look(recognizer: Recognizer, tmp_path: Path) -> None:
    doubted_text = doubted(recognizer.network, "CAFF", "CAFE", 0.45)
    assert recognizer.read([bars("CAFE")])[0].reason == ""
    assert recognizer.read([bars("")])[0].reason == "blank"
    assert recognizer.read([SPECKED])[0].reason == "no handwriting"
    (tmp_path / "list.txt").write_text("FACE\n")
    listed = recognizer.with_lexicon(tmp_path / "list.txt", strict=True)
    assert [p.text for p in listed.read([bars("FACE"), SPECKED])] == ["FACE", ""]
    assert listed.read([SPECKED])[0].reason == "no name of the list"
    assert listed.read([bars("")])[0].reason == "blank"
    (doubtful,) = Recognizer(recognizer.model, doubted_text).read([bars("CAFF")])
    assert (doubtful.reason, doubtful.confidence < 0.5) == ("doubtful", True)
    assert doubtful.to_json()["reason"] == "doubtful"


def test_a_search_reads_a_line_the_same_alone_and_in_a_batch(searching: Recognizer) -> None:
    model = replace(searching.model, decoding=DecodingOptions(certain=1.0, look_again=0.0))
    everything = Recognizer(model, searching.network)
    pictures = [bars(text) for text in TEXTS * 3]
    together = everything.read(pictures, batch_size=5)
    alone = [everything.read([picture])[0] for picture in pictures]
    assert [p.text for p in together] == TEXTS * 3
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


def test_the_language_of_another_alphabet_is_refused(tmp_path: Path) -> None:
    model = bar_model(tmp_path / "bars")
    Language.build({"CAFE": 1}, Alphabet("ABCDEFGHIK")).save(model.language)
    replace(model, decoding=DecodingOptions()).save()
    with pytest.raises(ModelError, match="'ABCDEFGHIK' is not the model's, 'ABCDEFGHIJ'"):
        Recognizer.load(model.path)


def test_json_has_exactly_its_keys() -> None:
    prediction = Prediction("a.png", "A", 0.75, (Character("A", 8, 24, 0.5),))
    assert json.loads(json.dumps(prediction.to_json())) == {
        "file": "a.png",
        "text": "A",
        "confidence": 0.75,
        "alternatives": [],
        "characters": [{"character": "A", "start": 8, "end": 24, "confidence": 0.5}],
    }
    assert Prediction("a.png", "", 0.0, error="gone").to_json()["error"] == "gone"


def test_reading_never_imports_torch(model: ModelFolder, tmp_path: Path) -> None:
    file = tmp_path / "line.png"
    file.write_bytes(png("JADE"))
    code = (
        "import sys, penname\n"
        "recognizer = penname.Recognizer.load(sys.argv[1])\n"
        "assert recognizer.read([sys.argv[2]])[0].text == 'JADE'\n"
        "print({'torch', 'pyarrow', 'rapidfuzz', 'onnx'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code, str(model.path), str(file)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_read_lines_takes_what_line_image_makes(recognizer: Recognizer) -> None:
    lines = [line_image(bars(text), SPEC) for text in TEXTS]
    assert [p.text for p in recognizer.read_lines(lines)] == TEXTS
