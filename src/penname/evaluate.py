"""Evaluate: what a recognizer reads against ground truth, as a report.

The recognizer is the one users get, so what is scored is what they see. References are scored as
they are labelled, in NFC with single spaces: an `EMPTY` or a lower-case label counts as written.
Nothing is dropped in silence: rows without a text, or with an empty one, are named in `skipped`,
and an image that cannot be read is scored as an empty hypothesis and named in `errors`.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np

from penname import metrics, slices
from penname.alphabet import nfc
from penname.errors import GroundTruthError, ImageError, OptionError
from penname.ground_truth.sources import GroundTruth
from penname.line_image import Source, decode
from penname.metrics import Rate
from penname.options import option
from penname.recognizer import Prediction
from penname.report import Confusion, Line, Report, Slice

MOST = 1_000_000  # lines read at once, and draws
CONFUSIONS = 30  # most frequent ones reported
WORST = 50  # predictions with the most edits reported
CHUNK = 32  # batches read at once, so that a recognizer can put equal widths together
ACCEPTED = {"coverage_at_99": 0.99, "coverage_at_995": 0.995}  # key: share of exact lines


class Reader(Protocol):
    """What evaluation needs of a recognizer."""

    @property
    def name(self) -> str:
        """The model's name."""

    def read(self, sources: Iterable[Source], *, batch_size: int) -> Sequence[Prediction]:
        """Return one prediction per source, in order."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How predictions are scored."""

    batch_size: int = option(16, "line images read at once")
    resamples: int = option(
        1000, "bootstrap draws behind each 95 % interval, of writers or pages where ten are known"
    )
    seed: int = option(0, "seed of the bootstrap draws")

    def __post_init__(self) -> None:
        if not (1 <= self.batch_size <= MOST and 1 <= self.resamples <= MOST and self.seed >= 0):
            raise OptionError(
                f"{self}: batch_size and resamples are at least 1 and at most {MOST:,}, "
                "seed at least 0"
            )


DEFAULTS = EvaluateOptions()


def evaluate(
    recognizer: Reader,
    ground_truth: Iterable[GroundTruth],
    *,
    data: str = "",
    options: EvaluateOptions = DEFAULTS,
) -> Report:
    """Read every line of the ground truth and score it; images are held a chunk at a time.

    Args:
        recognizer: what reads.
        ground_truth: lines as `penname.ground_truth.sources.read_sources` yields them.
        data: what the report calls the ground truth.
        options: how predictions are scored.

    Raises:
        GroundTruthError: when no row has a text.
    """
    lines: list[Line] = []
    skipped: list[GroundTruth] = []
    worst: list[tuple[Line, Source]] = []
    for chunk in _chunks(_labelled(ground_truth, skipped), CHUNK * options.batch_size):
        looks: list[slices.Look | None] = []
        predictions = recognizer.read(_decoded(chunk, looks), batch_size=options.batch_size)
        scored = [_line(*line) for line in zip(chunk, predictions, looks, strict=True)]
        lines += scored
        wrong = [(line, item.image) for line, item in zip(scored, chunk, strict=True) if line.edits]
        worst = heapq.nsmallest(
            WORST, [*worst, *wrong], key=lambda x: (-x[0].edits, -x[0].confidence)
        )
    if not lines:
        raise GroundTruthError(
            f"{data or 'the ground truth'} has no row with a text ({len(skipped)} without); "
            "give a table or folder that has references"
        )
    return _report(recognizer.name, data, lines, skipped, worst, options)


def _labelled(items: Iterable[GroundTruth], skipped: list[GroundTruth]) -> Iterator[GroundTruth]:
    """Yield the items that have a text; note the others in `skipped`, without their images."""
    for item in items:
        if nfc(item.text or ""):
            yield item
        else:
            skipped.append(replace(item, image=b""))


def _chunks(items: Iterator[GroundTruth], size: int) -> Iterator[list[GroundTruth]]:
    while chunk := list(islice(items, size)):
        yield chunk


def _decoded(chunk: list[GroundTruth], looks: list[slices.Look | None]) -> Iterator[Source]:
    """Yield the pictures, each decoded when the reader takes it, and note their looks."""
    for item in chunk:
        picture: Source = item.image
        look = None
        with suppress(ImageError):  # the reader says why it cannot be read
            picture = decode(picture)
            look = slices.look(picture)
        looks.append(look)
        yield picture


def _line(item: GroundTruth, prediction: Prediction, look: slices.Look | None) -> Line:
    reference = nfc(item.text or "")
    hypothesis = "" if prediction.error else nfc(prediction.text)
    return Line(
        file=item.file,
        row=item.row,
        reference=reference,
        hypothesis=hypothesis,
        confidence=0.0 if prediction.error else float(prediction.confidence),
        edits=metrics.cer(reference, hypothesis)[0],
        error=prediction.error,
        source=item.source,
        split=item.split,
        group=item.group,
        look=look,
    )


def _report(
    model: str,
    data: str,
    lines: list[Line],
    skipped: list[GroundTruth],
    worst: list[tuple[Line, Source]],
    options: EvaluateOptions,
) -> Report:
    groups = [line.group or None for line in lines]
    unit = metrics.units(groups)
    confidences = [line.confidence for line in lines]
    correct = [metrics.exact(line.reference, line.hypothesis)[0] for line in lines]
    reliability = metrics.reliability(confidences, correct)
    curve = metrics.coverage_curve(confidences, correct)
    ece = metrics.expected_calibration_error(reliability)
    accepted = [metrics.coverage_at(share, curve) for share in ACCEPTED.values()]
    return Report(
        model=model,
        data=data,
        lines=tuple(lines),
        skipped=tuple(skipped),
        groups=len({*groups} - {None}),
        rates=_rates(lines, metrics.MEASURES, unit, options),
        trust=_trust([ece, *accepted], confidences, correct, unit, options),
        slices=tuple(_slices(lines, unit, options)),
        confusions=_confusions(lines),
        worst=tuple(line for line, _ in worst),
        pictures=tuple(image for _, image in worst),
        reliability=tuple(reliability),
        coverage=curve,
    )


def _rates(
    lines: Sequence[Line],
    names: Iterable[str],
    unit: np.ndarray | None,
    options: EvaluateOptions,
) -> dict[str, Rate]:
    def rate(measure: metrics.Measure) -> Rate:
        sums = [measure(line.reference, line.hypothesis) for line in lines]
        return metrics.rate(sums, seed=options.seed, resamples=options.resamples, unit=unit)

    return {name: rate(metrics.MEASURES[name]) for name in names}


def _trust(
    values: list[float],
    confidences: list[float],
    correct: list[int],
    unit: np.ndarray | None,
    options: EvaluateOptions,
) -> dict[str, Rate]:
    """Return the calibration error and the shares accepted, given, with their intervals."""
    intervals = metrics.trust_intervals(
        confidences,
        correct,
        list(ACCEPTED.values()),
        seed=options.seed,
        resamples=options.resamples,
        unit=unit,
    )
    rates = (Rate(value, *interval) for value, interval in zip(values, intervals, strict=True))
    return dict(zip(["ece", *ACCEPTED], rates, strict=True))


def _slices(
    lines: list[Line], unit: np.ndarray | None, options: EvaluateOptions
) -> Iterator[Slice]:
    """Yield the scores of each slice that has lines."""
    groups = {
        "source": slices.by_value([line.source for line in lines]),
        "split": slices.by_value([line.split for line in lines]),
        **slices.by_text([line.reference for line in lines]),
        **slices.by_look([line.look for line in lines]),
    }
    for name, parts in groups.items():
        for value, members in parts.items():
            if members:
                part = [lines[i] for i in members]
                units = None if unit is None else unit[members]
                rates = _rates(part, ("exact", "cer"), units, options)
                yield Slice(name, value, len(part), rates)


def _confusions(lines: list[Line]) -> tuple[Confusion, ...]:
    """Return the most frequent confusions of the lines that could be read."""
    counts = Counter(
        (step.reference, step.hypothesis)
        for line in lines
        if line.edits and not line.error
        for step in metrics.alignment(line.reference, line.hypothesis)
        if step.operation != "equal"
    )
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
    return tuple(Confusion(*pair, count) for pair, count in most)
