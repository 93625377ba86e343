"""Calibrate: make a model's confidence the share of such readings that are exactly right.

Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines"): a logistic
regression of right-or-wrong on the logit of the raw confidence, with his smoothed targets, which
keep a handful of errors from asking for certainty. A raw confidence is a probability already, so
without much evidence it is left nearly as it is: slope and intercept have a normal prior around 1
and 0. Fit it on lines the model was not trained on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from penname.errors import GroundTruthError
from penname.evaluate import EvaluateOptions, evaluate
from penname.ground_truth.cleaning import clean_text, cleaning_for, is_marker
from penname.model_folder import Calibration, ModelFolder, evidence
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penname.alphabet import Alphabet
    from penname.ground_truth.sources import GroundTruth

FEWEST = 50  # lines, with right and wrong ones among them
PRIOR = 0.3  # standard deviation of slope and intercept (docs/log.md, "A second look")
LEAST = 1e-9  # a share of 0 would have no logit
STEPS = 50  # of Newton's method; some ten are enough
AS_IT_IS = np.array([1.0, 0.0])  # slope and intercept
UNDRAWN = EvaluateOptions(resamples=1)  # the lines are wanted, not intervals of their scores


def calibrate(folder: ModelFolder, ground_truth: Iterable[GroundTruth]) -> ModelFolder:
    """Fit the calibration of a model folder on ground truth, store it and return the folder.

    Texts are taken as the model's alphabet has them: in capitals, say, or without accents. Lines
    marked `EMPTY` or `UNREADABLE` are left out, as of those no text is right.

    Raises:
        GroundTruthError: fewer than `FEWEST` lines with a text, or all or none of them read right.
    """
    recognizer = Recognizer.load(folder.path)
    recognizer.model = replace(folder, confidence=None)
    written = _as_written(ground_truth, folder.alphabet)
    scored = evaluate(recognizer, written, options=UNDRAWN).lines
    lines = [line for line in scored if not line.error]
    right = np.array([line.reference == line.hypothesis for line in lines], dtype=bool)
    if len(right) < FEWEST or right.all() or not right.any():
        raise GroundTruthError(
            f"{len(right)} lines, {right.sum()} read right: too few to calibrate on; "
            f"give at least {FEWEST}, some read right and some wrong"
        )
    confidences = np.array([line.confidence for line in lines])
    calibrated = replace(folder, confidence=fit(confidences, right))
    calibrated.save()
    return calibrated


def _as_written(lines: Iterable[GroundTruth], alphabet: Alphabet) -> Iterator[GroundTruth]:
    """Yield lines with their text as a model with this alphabet writes it, none that is a marker.

    What it cannot write stays: that is read wrong, and a confidence has to know.
    """
    cleaning = cleaning_for(alphabet)
    for line in lines:
        text = clean_text(line.text, cleaning, alphabet).text
        if not is_marker(text):
            yield replace(line, text=text)


def fit(confidences: np.ndarray, right: np.ndarray) -> Calibration:
    """Return the calibration of raw confidences (N,) in 0..1 with their outcomes (N,) bool."""
    log_shares = np.log(np.maximum(confidences, LEAST))
    x = np.array([[evidence(share), 1.0] for share in log_shares.tolist()]).reshape(-1, 2).T
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def loss(weights: np.ndarray) -> float:
        z = weights @ x
        moved = float(np.sum((weights - AS_IT_IS) ** 2)) / PRIOR**2
        return float(np.sum(np.logaddexp(0, z) - target * z)) + moved / 2

    weights = AS_IT_IS
    for _ in range(STEPS):
        y = 0.5 + 0.5 * np.tanh(weights @ x / 2)
        curvature = (x * (y * (1 - y))) @ x.T + np.eye(2) / PRIOR**2
        pull = (weights - AS_IT_IS) / PRIOR**2
        step = np.linalg.solve(curvature, x @ (y - target) + pull)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2  # where outcomes are nearly separated, a whole step goes too far
        weights = weights - step
    return Calibration(slope=float(weights[0]), intercept=float(weights[1]))
