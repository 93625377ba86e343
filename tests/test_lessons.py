"""What went wrong in 2021, small: the wrong way still gives the figures of docs/lessons.md."""

from __future__ import annotations

import math
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from penname.training import model
from penname.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LESSONS = ROOT / "recipes" / "lessons"
SCRIPTS = sorted(file.stem for file in LESSONS.glob("*.py"))


@pytest.fixture
def lesson(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import scripts as they import each other, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(LESSONS))
    yield import_module
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def test_every_script_is_in_the_page() -> None:
    page = (ROOT / "docs" / "lessons.md").read_text("utf-8")
    helpers = {"drawn", "labels", "readings"}
    assert [name for name in SCRIPTS if f"recipes/lessons/{name}.py" not in page] == sorted(helpers)


def test_the_tests_that_the_page_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "lessons.md").read_text("utf-8")))
    written = {
        name
        for file in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 10
    assert named - written == set()


def test_a_loss_without_log_softmax_is_negative_and_its_gradient_no_slope(lesson: Any) -> None:
    script = lesson("log_softmax")
    outputs = torch.randn(2, 64, 30, generator=torch.Generator().manual_seed(0))
    assert script.torch_loss(outputs, ["ANNE", "JO"], None) < 0
    assert script.torch_loss(outputs, ["ANNE", "JO"], -1) > 0
    assert script.slope_error(None, ["BO"], frames=3) > 1
    assert script.slope_error(0, ["ANNE", "JO"], frames=5) > 0.1
    assert script.slope_error(-1, ["ANNE", "JO"], frames=5) < 1e-6


def test_log_softmax_over_the_batch_makes_the_loss_a_measure_of_the_batch(lesson: Any) -> None:
    blind = lesson("log_softmax").blind
    texts = ["BILEL"] * 64
    over_batch = [blind(texts, size, 0) for size in (16, 32, 64)]
    a_character = 64 * math.log(2) / len("BILEL")  # each doubling costs log 2 a frame
    assert np.diff(over_batch) == pytest.approx(a_character, rel=1e-4)
    assert blind(texts, 16, -1) == pytest.approx(blind(texts, 64, -1), rel=1e-5)


def test_a_letter_that_is_the_blank_is_counted_on_many_paths(lesson: Any) -> None:
    # blank, A, blank are one label: all places of the two changes among 65 write 64 equal frames.
    assert lesson("log_softmax").always_blank("A") == pytest.approx(-math.log(65 * 64 / 2))


def test_only_a_label_that_does_not_fit_is_infinite(lesson: Any) -> None:
    script = lesson("not_a_number")
    short, empty = script.CASES["a frame short for its repeat"], script.CASES["empty"]
    assert script.outcome(*short[:2], "cpu") == (math.inf, False, True)
    assert script.outcome(*short[:2], "cpu", zero_infinity=True) == (0, True, True)
    assert all(map(math.isfinite, script.outcome(*empty[:2], "cpu")))
    assert script.outcome(*empty[:2], "cpu")[1:] == (True, True)
    assert not script.outcome(["ANNE", "JO"], 5, "cpu", scale=1e10).gradient
    # Labels in the form that cuDNN wants are the same labels.
    assert script.outcome(["ANNE", "JO"], 6, "cpu", cudnn=True) == script.outcome(
        ["ANNE", "JO"], 6, "cpu"
    )


def test_a_census_counts_each_cause_once(lesson: Any) -> None:
    counted = lesson("census").census(["", "ANNE", "JO", "ZOÉ", "A" * 32, "A" * 33], 64)
    assert list(counted.values()) == [1, 1, 1]  # 33 times A needs 32 blanks too


def test_a_character_outside_the_alphabet_reads_what_lies_in_front(lesson: Any) -> None:
    outside = lesson("not_a_number").outside
    assert math.isfinite(outside(-3.4))
    assert math.isnan(outside(math.nan))


def test_a_dead_network_has_all_letters_a_right(lesson: Any) -> None:
    assert lesson("census").dead(["A", "AA", "ANNA", "LEO"]) == (0.5, 2)


def test_good_frames_score_nothing_undecoded(lesson: Any) -> None:
    script, labels = lesson("undecoded"), lesson("labels")
    bob = np.array([0, 0, 0, 1, 1, 14, 0, 1])  # in the project's numbers; collapsed it is BOB
    assert script.of_frames([bob], ["BOB"]) == (0, 0)
    assert script.of_frames([bob[[3, 5, 7]]], ["BOB"]) == (1, 1)  # a letter a frame from the first
    assert script.of_frames([bob[[3, 5, 7, 3]]], ["BOB"]) == (1, 0)  # the padding counts too
    assert script.of_frames([np.zeros(64, int)] * 2, ["A", "LEA"]) == (2 / 4, 1 / 2)
    assert script.in_their_numbers(np.array([0, 1, 2]), "AB").tolist() == [0, 0, 1]
    assert labels.batch(["BOB"])[0][0, :4].tolist() == [1, 14, 1, 0]


def test_scores_by_position_reward_a_constant_and_punish_a_shift(lesson: Any) -> None:
    script = lesson("undecoded")
    assert script.of_constants(["ANNE", "ALI", "BO"]) == ("ANNE", pytest.approx(5 / 9), 1 / 3)
    scores = script.damaged(["MARIE"])
    assert scores["first letter missing"] == (0, 0, 0.8)
    assert scores["last letter missing"] == (0.8, 0, 0.8)


def test_a_mean_of_means_depends_on_the_order_and_the_batch(lesson: Any) -> None:
    script = lesson("averages")
    pairs = [("AB", "A"), ("ABCDEFGH", "ABCDEFGH"), ("ABCDEF", "ABCDE")]
    assert script.corpus(pairs) == 2 / 16
    assert script.of_lines(pairs) == pytest.approx((1 / 2 + 0 + 1 / 6) / 3)
    assert script.of_batches(pairs, 2) == pytest.approx((1 / 10 + 1 / 6) / 2)
    assert script.of_batches(pairs[::-1], 2) == pytest.approx((1 / 14 + 1 / 2) / 2)
    assert script.of_batches(pairs, 3) == script.corpus(pairs)


def test_swapped_arguments_divide_by_what_was_read(lesson: Any) -> None:
    script = lesson("averages")
    halves = script.shortened([("ABCD", "ABCD"), ("ABCDEF", "ABCDEF")], 0.5)
    assert script.corpus(halves) == 0.5
    assert script.swapped(halves) == 1.0
    assert script.swapped([("AB", "ABAB")]) == 0.5


def test_the_sample_crops_are_read_alike_by_script_and_recognizer(lesson: Any) -> None:
    readings = lesson("readings")
    pairs = readings.pairs(None)
    assert len(pairs) == 30
    assert lesson("averages").corpus(pairs) < 0.1
    characters, words = lesson("undecoded").of_texts(pairs)[:2]
    assert characters > 0.9
    assert words > 0.7


def test_padding_is_read_only_within_the_lengths_given(lesson: Any) -> None:
    script = lesson("padding")
    right = script.losses(script.outputs(3), 0, [3, 2, 1])
    for pad in (0, -1, 5):
        assert script.losses(script.outputs(3), pad, [3, 2, 1]) == right
        assert script.through_penname(pad) == pytest.approx(right)
    near, far = (script.losses(script.outputs(3, last), -1, [3, 4, 4])[1:] for last in (0, -20))
    assert [a - b > 20 for a, b in zip(far, near, strict=True)] == [True, True]  # of other lines
    near, far = (script.losses(script.outputs(3, last), 0, [3, 4, 4])[2] for last in (0, -20))
    assert near == far


def test_a_transposed_batch_is_refused_unless_it_is_square(lesson: Any) -> None:
    touched = lesson("transposed").touched
    assert touched(8, 16) == ("input_lengths must be of size batch_size", 1)
    assert touched(16, 16) == (16, 1)


def test_a_reshape_spreads_a_column_over_all_frames(lesson: Any) -> None:
    script = lesson("reshape")
    assert script.frames_of_a_column(script.reshaped) == 64
    assert script.frames_of_a_column(script.columns) == 1
    network = model.Origin(16, 5, mish=False)  # what is trained today
    frames: list[torch.Tensor] = []
    network.squeeze.register_forward_pre_hook(lambda _, inputs: frames.append(inputs[0]))
    images = torch.rand(1, 1, 16, 32)
    with torch.no_grad():
        network.eval()(images)
        features = network.convolutions(images)
    assert torch.equal(frames[0], script.columns(features))
    assert not torch.equal(frames[0], script.reshaped(features))


def test_a_network_of_reshaped_frames_is_trained(lesson: Any, tmp_path: Path) -> None:
    script = lesson("reshape")
    pack = lesson("drawn").draw_pack(tmp_path / "pack", 40)
    for order in (script.reshaped, script.columns):
        written, _, cer, exact = script.trained(pack, tmp_path, order, 1)
        assert (written, cer, exact) == (0, 1, 0)  # after one step


def test_training_begins_with_writing_nothing(
    lesson: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = lesson("drawn")
    monkeypatch.setitem(model.SHAPES, "names", drawn.SMALL)
    pack = drawn.draw_pack(tmp_path / "pack", 100)
    run = Run([pack], tmp_path, drawn.plain("names", 8, 3e-3))
    points = list(lesson("plateau").curve(run, 18, 6))
    assert [point.step for point in points] == [6, 12, 18]
    assert points[-1].loss < points[0].loss - 0.5  # it learns all the same
    assert (points[-1].written, points[-1].cer, points[-1].exact) == (0, 1, 0)


def test_a_pack_loads_faster_than_its_files(lesson: Any, tmp_path: Path) -> None:
    script = lesson("loading")
    table = script.write_files(script.SAMPLES / "names.csv", tmp_path, 40)
    image, label, length = script.Files(table)[31]  # the second crop again
    assert (image.shape, label.shape, length) == ((64, 256), (64,), len("FRANCOIS"))
    assert image.max() == 1
    (tmp_path / "other").mkdir()
    found = script.rates(script.SAMPLES / "names.csv", tmp_path / "other", 100, rounds=1)
    assert found["the pack"][0] > 3 * found["a file an item"][0]
