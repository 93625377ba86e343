"""Report: the scores of one model on one set of ground truth, in every form they are shown."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penname import html, metrics
from penname.files import open_text
from penname.ground_truth.sources import GroundTruth
from penname.line_image import Source
from penname.metrics import Rate
from penname.slices import Look

CURVE = 200  # points of the coverage curve kept
ENOUGH = 20  # lines of a slice that can be called hard
HARD = 8  # slices called so


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
    group: str
    look: Look | None


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
    `metrics.coverage_curve`. `groups` says how many writers or pages the lines are
    of, 0 where none is named; `metrics.units` says what intervals draw.
    """

    model: str
    data: str
    lines: tuple[Line, ...]
    skipped: tuple[GroundTruth, ...]
    groups: int
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
            "groups": self.groups,
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
        tables = map(aligned, self._tables(shown))
        return "\n\n".join([f"{self.model} on {self.data}: {self._summary()}", *tables])

    def write_predictions(self, path: str | Path) -> None:
        """Write one CSV row per scored line, in order: file, reference, hypothesis, confidence."""
        with open_text(path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["file", "reference", "hypothesis", "confidence"])
            for x in self.lines:
                writer.writerow([x.file, x.reference, x.hypothesis, f"{x.confidence:.6f}"])

    def _summary(self) -> str:
        unreadable = sum(bool(line.error) for line in self.lines)
        return (
            f"{len(self.lines)} lines, {len(self.skipped)} skipped for want of a text, "
            f"{unreadable} unreadable; intervals over {html.drawn(self.groups)}"
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


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as plain text, their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _markdown(rows: list[list[str]]) -> Iterator[str]:
    header, *rest = rows
    for row in [header, ["---"] * len(header), *rest]:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
