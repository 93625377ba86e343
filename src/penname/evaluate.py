"""Evaluate: what a recognizer reads against ground truth, as a report.

The recognizer is the one users get, so what is scored is what they see. References are scored as
they are labelled, in NFC with single spaces: an `EMPTY` or a lower-case label counts as written.
Nothing is dropped in silence: rows without a text, or with an empty one, are named in `skipped`,
and an image that cannot be read is scored as an empty hypothesis and named in `errors`.
"""

import csv
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from penname import html, metrics, slices
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
ACCEPTED = {"coverage_at_99": 0.99, "coverage_at_995": 0.995}  # key: share of exact lines
ENOUGH = 20  # lines of a slice that can be called hard
HARD = 8  # slices called so


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
    look: slices.Look | None


@dataclass(frozen=True)
class Slice:
    """Exact match and CER of the lines that share something (`penname.slices`)."""

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

    `rates` holds one rate for each of `metrics.MEASURES`; `trust` the calibration error of the
    confidence for exact match, and the share of lines that can be accepted, the surest first, with
    99 % and 99.5 % of them exact; `worst` the lines with the most edits,
    the surest first among equals, and `pictures` their images; `coverage` is (K, 3) as in
    `metrics.coverage_curve`.
    """

    model: str
    data: str
    lines: tuple[Line, ...]
    skipped: tuple[GroundTruth, ...]
    rates: dict[str, Rate]
    trust: dict[str, Rate]
    slices: tuple[Slice, ...]
    confusions: tuple[Confusion, ...]
    worst: tuple[Line, ...]
    pictures: tuple[Source, ...]
    reliability: tuple[metrics.Bin, ...]
    coverage: np.ndarray

    @property
    def hard(self) -> list[Slice]:
        """The slices of `ENOUGH` lines or more with the fewest exact ones, the worst first."""
        whole = self.rates["exact"].value
        below = [x for x in self.slices if x.n >= ENOUGH and x.rates["exact"].value < whole]
        return sorted(below, key=lambda x: x.rates["exact"].value)[:HARD]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object; its keys are stable."""
        return {
            "model": self.model,
            "data": self.data,
            "n": len(self.lines),
            **_json_rates(self.rates),
            **_json_rates(self.trust),
            "skipped": len(self.skipped),
            "skipped_lines": [_picked(item, "file", "row") for item in self.skipped],
            "errors": [_picked(x, "file", "row", "error") for x in self.lines if x.error],
            "by": {
                name: [_json_slice(x) for x in self.slices if x.name == name]
                for name in dict.fromkeys(x.name for x in self.slices)
            },
            "hard": [_json_slice(x) for x in self.hard],
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
        tables = ("\n".join(_markdown(rows)) for rows in self._tables(self.slices))
        return "\n\n".join([f"# {self.model} on {self.data}", self._summary(), *tables]) + "\n"

    def table(self, *, slices: bool = False) -> str:
        """Return the scores, hard or all slices, and confusions as plain text for a terminal."""
        shown = self.slices if slices else self.hard
        tables = ("\n".join(_aligned(rows)) for rows in self._tables(shown))
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

    def _tables(self, parts: Sequence[Slice]) -> Iterator[list[list[str]]]:
        """Yield tables of cells, each with its header first, but for those without rows."""
        scores = [
            [metrics.TITLES[name], *_cells({name: rate})]
            for name, rate in (self.rates | self.trust).items()
        ]
        rows = [[x.name, x.value, str(x.n), *_cells(x.rates)] for x in parts]
        confusions = [
            [html.shown(x.reference), html.shown(x.hypothesis), str(x.count)]
            for x in self.confusions[:10]
        ]
        yield [["score", "value", "95 % interval"], *scores]
        if rows:
            name = "slice" if len(rows) == len(self.slices) else "hard slice"
            yield [[name, "value", "lines", "exact", "95 %", "CER", "95 %"], *rows]
        if confusions:
            yield [["written", "read as", "times"], *confusions]


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
        look=slices.look(item.image),
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
        trust=_trust(confidences, correct, options),
        slices=tuple(_slices(lines, options)),
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


def _trust(
    confidences: list[float], correct: list[int], options: EvaluateOptions
) -> dict[str, Rate]:
    curve = metrics.coverage_curve(confidences, correct)
    ece = metrics.expected_calibration_error(metrics.reliability(confidences, correct))
    values = [ece, *(metrics.coverage_at(share, curve) for share in ACCEPTED.values())]
    intervals = metrics.trust_intervals(
        confidences,
        correct,
        list(ACCEPTED.values()),
        seed=options.seed,
        resamples=options.resamples,
    )
    rates = (Rate(value, *interval) for value, interval in zip(values, intervals, strict=True))
    return dict(zip(["ece", *ACCEPTED], rates, strict=True))


def _slices(lines: list[Line], options: EvaluateOptions) -> Iterator[Slice]:
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


def _cells(rates: dict[str, Rate]) -> list[str]:
    """Return each rate and its interval as people read them."""
    shown = ([html.percent(x.value), html.between(x.low, x.high)] for x in rates.values())
    return [cell for cells in shown for cell in cells]


def _json_slice(part: Slice) -> dict[str, Any]:
    return {"slice": part.name, "value": part.value, "n": part.n, **_json_rates(part.rates)}


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
