"""Calibrate: make a model's confidence the share of such readings that are exactly right.

Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines"): a logistic
regression of right-or-wrong on the logit of the raw confidence, with his smoothed targets, which
keep a handful of errors from asking for certainty. Fit it on lines the model was not trained on.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from penname.alphabet import nfc
from penname.errors import GroundTruthError
from penname.model_folder import CERTAIN, Calibration, ModelFolder
from penname.recognizer import WINDOW, Recognizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penname.ground_truth.sources import GroundTruth

FEWEST = 50  # lines, with right and wrong ones among them
STEPS = 50  # of Newton's method; some ten are enough


def calibrate(folder: ModelFolder, ground_truth: Iterable[GroundTruth]) -> ModelFolder:
    """Fit the calibration of a model folder on ground truth, store it and return the folder.

    Raises:
        GroundTruthError: fewer than `FEWEST` lines with a text, or none of them read wrong.
    """
    plain = replace(folder, confidence=None)
    recognizer = Recognizer(plain, Recognizer.load(folder.path).network)
    confidences: list[float] = []
    right: list[bool] = []
    rest = (line for line in ground_truth if line.text)
    while lines := list(islice(rest, WINDOW)):
        predictions = recognizer.read([line.image for line in lines])
        for line, prediction in zip(lines, predictions, strict=True):
            if not prediction.error:
                confidences.append(prediction.confidence)
                right.append(prediction.text == nfc(line.text or ""))
    if len(right) < FEWEST or all(right) or not any(right):
        raise GroundTruthError(
            f"{len(right)} lines, {sum(right)} read right: too few to calibrate on; "
            f"give at least {FEWEST} with some of both"
        )
    calibrated = replace(folder, confidence=fit(np.array(confidences), np.array(right)))
    calibrated.save()
    return calibrated


def fit(confidences: np.ndarray, right: np.ndarray) -> Calibration:
    """Return the calibration of raw confidences (N,) in 0..1 with their outcomes (N,) bool."""
    p = np.clip(confidences, 1e-9, np.exp(CERTAIN))
    x = np.stack([np.log(p) - np.log1p(-p), np.ones_like(p)])  # (2, N)
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(STEPS):
        y = 1 / (1 + np.exp(-weights @ x))
        curvature = (x * (y * (1 - y))) @ x.T + 1e-9 * np.eye(2)
        weights = weights - np.linalg.solve(curvature, x @ (y - target))
    return Calibration(slope=float(weights[0]), intercept=float(weights[1]))
