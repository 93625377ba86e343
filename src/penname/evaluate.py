"""Evaluate: what a recognizer reads against ground truth, as a report.

The recognizer is the one users get, so what is scored is what they see. References are scored as
they are labelled, in NFC with single spaces: an `EMPTY` or a lower-case label counts as written.
Nothing is dropped in silence: rows without a text, or with an empty one, are named in `skipped`,
and an image that cannot be read is scored as an empty hypothesis and named in `errors`.
"""

import csv
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from penname import html, metrics
from penname.alphabet import nfc
from penname.errors import GroundTruthError, OptionError
from penname.ground_truth.sources import GroundTruth
from penname.line_image import Source
from penname.metrics import Rate
from penname.options import option
from penname.recognizer import Prediction

CONFUSIONS = 30  # most frequent ones reported
WORST = 50  # predictions with the most edits reported
CURVE = 200  # points of the coverage curve kept
CHUNK = 16  # batches read at once, so that a recognizer can put equal widths together
LENGTHS = {"1-4": 4, "5-8": 8, "9-12": 12, "13+": 1 << 62}  # name: longest reference


class Reader(Protocol):
    """What evaluation needs of a recognizer."""

    @property
    def name(self) -> str:
        """The model's name."""

    def read(self, sources: Sequence[Source], *, batch_size: int) -> Sequence[Prediction]:
        """Return one prediction per source, in order."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How predictions are scored."""

    batch_size: int = option(32, "line images read at once")
    resamples: int = option(1000, "bootstrap draws behind each 95 % interval")
    seed: int = option(0, "seed of the bootstrap draws")

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.resamples < 1 or self.seed < 0:
            raise OptionError(f"{self}: batch_size and resamples are at least 1, seed at least 0")


DEFAULTS = EvaluateOptions()


@dataclass(frozen=True)
class Line:
    """One line with its reference and what was read."""

    file: str
    row: str
    reference: str
    hypothesis: str
    confidence: float
    edits: int
    error: str
    source: str
    split: str


@dataclass(frozen=True)
class Slice:
    """Exact match and CER of the lines that share one value of a slice of `SLICES`."""

    name: str
    value: str
    n: int
    rates: dict[str, Rate]


@dataclass(frozen=True)
class Confusion:
    """A reference character read as another; the empty string is no character."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of one model on one set of ground truth.

    `rates` holds one rate for each of `metrics.MEASURES`; `worst` the lines with the most edits,
    the surest first among equals, and `pictures` their images; `coverage` is (K, 3) as in
    `metrics.coverage_curve`.
    """

    model: str
    data: str
    lines: tuple[Line, ...]
    skipped: tuple[GroundTruth, ...]
    rates: dict[str, Rate]
    slices: tuple[Slice, ...]
    confusions: tuple[Confusion, ...]
    worst: tuple[Line, ...]
    pictures: tuple[Source, ...]
    reliability: tuple[metrics.Bin, ...]
    coverage: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error of the confidence for exact match."""
        return metrics.expected_calibration_error(self.reliability)

    @property
    def coverage_at_99(self) -> float:
        """Share of lines that can be accepted, the surest first, with 99 % of them exact."""
        return metrics.coverage_at(0.99, self.coverage)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object; its keys are stable."""
        return {
            "model": self.model,
            "data": self.data,
            "n": len(self.lines),
            **_json_rates(self.rates),
            "ece": self.ece,
            "coverage_at_99": self.coverage_at_99,
            "skipped": len(self.skipped),
            "skipped_lines": [_picked(item, "file", "row") for item in self.skipped],
            "errors": [_picked(x, "file", "row", "error") for x in self.lines if x.error],
            "by": {
                name: [
                    {"slice": name, "value": x.value, "n": x.n, **_json_rates(x.rates)}
                    for x in self.slices
                    if x.name == name
                ]
                for name in SLICES
            },
            "confusions": [asdict(confusion) for confusion in self.confusions],
            "worst": [
                _picked(line, "file", "reference", "hypothesis", "confidence", "edits")
                for line in self.worst
            ],
            "reliability": [part._asdict() for part in self.reliability],
            "coverage": _thinned(self.coverage).tolist(),
        }

    def to_html(self) -> str:
        """Return the report as one self-contained page."""
        return html.report_page(self.to_json(), self.pictures)

    def to_markdown(self) -> str:
        """Return the scores, slices and confusions as Markdown tables."""
        tables = ("\n".join(_markdown(rows)) for rows in self._tables())
        return "\n\n".join([f"# {self.model} on {self.data}", self._summary(), *tables]) + "\n"

    def table(self) -> str:
        """Return the scores, slices and confusions as plain text for a terminal."""
        tables = ("\n".join(_aligned(rows)) for rows in self._tables())
        return "\n\n".join([f"{self.model} on {self.data}: {self._summary()}", *tables])

    def write_predictions(self, path: str | Path) -> None:
        """Write one CSV row per scored line, in order: file, reference, hypothesis, confidence."""
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["file", "reference", "hypothesis", "confidence"])
            for x in self.lines:
                writer.writerow([x.file, x.reference, x.hypothesis, f"{x.confidence:.6f}"])

    def _summary(self) -> str:
        unreadable = sum(bool(line.error) for line in self.lines)
        return (
            f"{len(self.lines)} lines, {len(self.skipped)} skipped for want of a text, "
            f"{unreadable} unreadable"
        )

    def _tables(self) -> list[list[list[str]]]:
        """Return three tables of cells, each with its header first."""
        scores = [
            [metrics.TITLES[name], html.percent(rate.value), html.between(rate.low, rate.high)]
            for name, rate in self.rates.items()
        ]
        scores.append(["Calibration error of the confidence", html.percent(self.ece), ""])
        scores.append(["Lines accepted at 99 % exact", html.percent(self.coverage_at_99), ""])
        slices = [
            [x.name, x.value, str(x.n), *(html.percent(rate.value) for rate in x.rates.values())]
            for x in self.slices
        ]
        confusions = [
            [html.shown(x.reference), html.shown(x.hypothesis), str(x.count)]
            for x in self.confusions[:10]
        ]
        return [
            [["score", "value", "95 % interval"], *scores],
            [["slice", "value", "lines", "exact", "CER"], *slices],
            [["written", "read as", "times"], *confusions],
        ]


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
        images: list[Source] = [item.image for item in chunk]
        predictions = recognizer.read(images, batch_size=options.batch_size)
        scored = [_line(*pair) for pair in zip(chunk, predictions, strict=True)]
        lines += scored
        wrong = [pair for pair in zip(scored, images, strict=True) if pair[0].edits]
        worst = heapq.nsmallest(WORST, worst + wrong, key=lambda x: (-x[0].edits, -x[0].confidence))
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


def _line(item: GroundTruth, prediction: Prediction) -> Line:
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
    )


def _report(
    model: str,
    data: str,
    lines: list[Line],
    skipped: list[GroundTruth],
    worst: list[tuple[Line, Source]],
    options: EvaluateOptions,
) -> Report:
    confidences = [line.confidence for line in lines]
    correct = [metrics.exact(line.reference, line.hypothesis)[0] for line in lines]
    return Report(
        model=model,
        data=data,
        lines=tuple(lines),
        skipped=tuple(skipped),
        rates=_rates(lines, metrics.MEASURES, options),
        slices=tuple(part for name in SLICES for part in _slices(lines, name, options)),
        confusions=_confusions(lines),
        worst=tuple(line for line, _ in worst),
        pictures=tuple(image for _, image in worst),
        reliability=tuple(metrics.reliability(confidences, correct)),
        coverage=metrics.coverage_curve(confidences, correct),
    )


def _rates(
    lines: Sequence[Line], names: Iterable[str], options: EvaluateOptions
) -> dict[str, Rate]:
    def rate(measure: metrics.Measure) -> Rate:
        sums = [measure(line.reference, line.hypothesis) for line in lines]
        return metrics.rate(sums, seed=options.seed, resamples=options.resamples)

    return {name: rate(metrics.MEASURES[name]) for name in names}


def _length(line: Line) -> str:
    return next(name for name, most in LENGTHS.items() if len(line.reference) <= most)


SLICES: dict[str, Callable[[Line], str]] = {
    "source": lambda line: line.source,
    "length": _length,
    "split": lambda line: line.split,
}


def _slices(lines: list[Line], name: str, options: EvaluateOptions) -> Iterator[Slice]:
    """Yield the scores for each value that is not empty, lengths in order."""
    parts: dict[str, list[Line]] = {}
    for line in lines:
        parts.setdefault(SLICES[name](line), []).append(line)
    order = list(LENGTHS) if name == "length" else sorted(parts)
    for value in order:
        if value and (part := parts.get(value)):
            yield Slice(name, value, len(part), _rates(part, ("exact", "cer"), options))


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


def _json_rates(rates: dict[str, Rate]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, rate in rates.items():
        values |= {name: rate.value, f"{name}_ci": [rate.low, rate.high]}
    return values


def _picked(item: object, *names: str) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}


def _thinned(curve: np.ndarray) -> np.ndarray:
    """Return at most `CURVE` rows of the curve (K, 3), the first and last among them."""
    if len(curve) <= CURVE:
        return curve
    return np.asarray(curve[np.linspace(0, len(curve) - 1, CURVE).round().astype(int)])


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()


def _markdown(rows: list[list[str]]) -> Iterator[str]:
    header, *rest = rows
    for row in [header, ["---"] * len(header), *rest]:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
