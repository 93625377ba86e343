"""Calibrate: the stored numbers turn raw confidences into the share that is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import bar_model, bars, png
from PIL import Image

from penname import calibrate as module
from penname.calibrate import PRIOR, calibrate, fit
from penname.errors import GroundTruthError
from penname.ground_truth.sources import GroundTruth, SourceOptions, read_sources
from penname.model_folder import Calibration, ModelFolder, evidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def outcomes(slope: float, intercept: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return raw confidences and outcomes drawn from a known calibration."""
    rng = np.random.default_rng(3)
    logits = rng.normal(1.5, 2.0, n).clip(-2.9)  # shares above 1 %: below, evidence is no logit
    right = rng.random(n) < 1 / (1 + np.exp(-(slope * logits + intercept)))
    return 1 / (1 + np.exp(-logits)), right


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 1.0), (2.0, -1.5)])
def test_a_known_calibration_is_found_again(slope: float, intercept: float) -> None:
    found = fit(*outcomes(slope, intercept, 40_000))
    assert found.slope == pytest.approx(slope, rel=0.05)
    assert found.intercept == pytest.approx(intercept, abs=0.06)


EXTREME = (  # a whole Newton step from the start overflows
    np.array([0.0, 1.0] * 40 + [0.5] * 20),
    np.array([False, True] * 40 + [True, False] * 10),
)


@pytest.mark.parametrize(("confidences", "right"), [outcomes(0.6, -0.4, 300), EXTREME])
def test_the_fit_is_the_optimum_of_the_logistic_loss(
    confidences: np.ndarray, right: np.ndarray
) -> None:
    """Its two conditions, with Platt's targets and the prior: the gradient of both is 0."""
    found = fit(confidences, right)
    confidences = np.maximum(confidences, 1e-9)
    fitted = np.array([found.confidence(float(np.log(p))) for p in confidences])
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    logits = np.array([evidence(float(np.log(p))) for p in confidences])
    drawn = np.array([found.slope - 1, found.intercept]) / PRIOR**2
    assert drawn[1] + fitted.sum() == pytest.approx(target.sum(), rel=1e-6)
    assert drawn[0] + fitted @ logits == pytest.approx(target @ logits, rel=1e-6)


def test_small_shares_keep_their_order_and_little_of_their_distance() -> None:
    shares = np.array([1e-30, 1e-9, 1e-6, 0.001, 0.0099, 0.0101, 0.5, 0.999, 1.0])
    found = [evidence(float(np.log(share))) for share in shares]
    assert found == sorted(found)
    assert found[6] == pytest.approx(0.0)
    assert found[5] == pytest.approx(np.log(0.0101 / 0.9899))
    drawn = 0.01 * (1e-6 / 0.01) ** 0.2  # the fifth root
    assert found[2] == pytest.approx(np.log(drawn / (1 - drawn)))
    assert found[-1] == pytest.approx(13.8, abs=0.1)  # as sure as float32 can be
    assert Calibration(1.0, 0.0).confidence(-np.inf) == 0.0


def test_the_prior_holds_a_few_outcomes_back_and_many_not_at_all() -> None:
    confidences, right = outcomes(0.5, 1.0, 20_000)
    none, few, many = (fit(confidences[:n], right[:n]) for n in (0, 30, 20_000))
    assert none == Calibration(1.0, 0.0)
    assert 0 < few.intercept < 0.3 < 0.9 < many.intercept < 1.1


def test_too_few_lines_are_refused_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bar_model(tmp_path / "model", Calibration(2.0, 0.0))
    lines = tmp_path / "lines"
    for i, text in enumerate(("AB", "BA", "AA")):
        lines.mkdir(exist_ok=True)
        Image.fromarray(bars(text)).save(lines / f"{i}.png")
        (lines / f"{i}.gt.txt").write_text("AB" if i < 2 else "AA")

    def truth() -> Iterator[GroundTruth]:
        return read_sources([lines], SourceOptions())

    with pytest.raises(GroundTruthError, match="3 lines, 2 read right: too few"):
        calibrate(model, truth())
    assert ModelFolder.load(model.path).confidence == Calibration(2.0, 0.0)
    monkeypatch.setattr(module, "FEWEST", 3)
    found = calibrate(model, truth())
    assert found.confidence != Calibration(2.0, 0.0)
    assert ModelFolder.load(model.path) == found


@pytest.mark.parametrize(
    ("right", "wrong", "broken", "enough"),
    [
        (25, 25, 0, True),
        (25, 24, 0, False),
        (25, 24, 9, False),  # pictures that cannot be read say nothing
        (50, 0, 0, False),
        (0, 50, 0, False),
    ],
)
def test_fifty_lines_with_right_and_wrong_ones_are_enough(
    tmp_path: Path, right: int, wrong: int, broken: int, *, enough: bool
) -> None:
    model = bar_model(tmp_path / "model")
    texts = ["AB"] * right + ["BA"] * wrong + ["AB"] * broken
    images = [png("AB")] * (right + wrong) + [b"!"] * broken
    truth = [
        GroundTruth(f"{i}.png", f"t:{i}", text, "s", "", image)
        for i, (text, image) in enumerate(zip(texts, images, strict=True))
    ]
    if not enough:
        with pytest.raises(GroundTruthError, match="too few to calibrate on"):
            calibrate(model, truth)
        return
    once = calibrate(model, truth)
    assert calibrate(once, truth).confidence == once.confidence  # not on top of the first


def test_texts_are_taken_as_the_alphabet_has_them_and_markers_left_out(tmp_path: Path) -> None:
    model = bar_model(tmp_path / "model")

    def truth(*texts: str) -> list[GroundTruth]:
        pictures = [png("AB")] * 30 + [png("BA")] * 30
        names = [texts[i % len(texts)] for i in range(60)]
        return [
            GroundTruth(f"{i}.png", f"t:{i}", text, "s", "", image)
            for i, (text, image) in enumerate(zip(names, pictures, strict=True))
        ]

    plain = calibrate(model, truth("AB")).confidence
    assert calibrate(model, truth("Ab", "âb")).confidence == plain
    marked = [
        GroundTruth("m.png", "m:1", word, "s", "", png("AB")) for word in ("EMPTY", "UNREADABLE")
    ]
    assert calibrate(model, truth("AB") + marked).confidence == plain
    unwritable = [GroundTruth("7.png", f"u:{i}", "7", "s", "", png("AB")) for i in range(30)]
    assert calibrate(model, truth("AB") + unwritable).confidence != plain  # read wrong for certain
