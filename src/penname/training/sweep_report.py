"""What a sweep found: settings side by side, each score with its mean and interval over seeds.

The loss is the last epoch's, over training lines. CER, exact match and the 2021 project's scores
are those of the epoch with the lowest CER, whose weights `penname export` takes.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from penname.html import page, percent, section, table
from penname.options import to_json
from penname.report import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penname.training.options import TrainOptions

# Student's t, 97.5 %, for 1, 2, ... degrees of freedom. Beyond: the last, a little too wide.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6bd1", "#7f7f7f")
SCROLL = 'style="overflow-x:auto"'
TWO = 'style="grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr))"'
DASHES = ("none", "7 4", "2 3")  # after eight settings the colours come again, dashed


def _number(value: float) -> str:
    return f"{value:.2f}"


class Score(NamedTuple):
    """How a score is called and written."""

    title: str
    written: Callable[[float], str]


SCORES = {
    "loss": Score("Loss", _number),
    "cer": Score("CER", percent),
    "exact": Score("Exact", percent),
    "correct_characters": Score("Correct characters", percent),
    "seconds": Score("Seconds", _number),
}
CURVES = ("cer", "exact", "correct_characters", "loss")


class Spread(NamedTuple):
    """The mean over n seeds and half its 95 % interval (Student's t), None for a single seed."""

    mean: float
    plus_minus: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Return the mean of values, one a seed, and how far off it may be.

    >>> spread([0.5])
    Spread(mean=0.5, plus_minus=None, n=1)
    """
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Spread(mean, None, 1)
    t = T[min(n - 1, len(T)) - 1]
    return Spread(mean, t * statistics.stdev(values) / math.sqrt(n), n)


@dataclass(frozen=True, eq=False)
class Result:
    """What one run has reached: `history` has a record an epoch, as `metrics.jsonl` has."""

    setting: str
    options: TrainOptions
    history: Sequence[Mapping[str, float]]
    seconds_a_step: float
    finished: bool
    error: str = ""

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def scores(self) -> dict[str, float]:
        """Return the scores of `SCORES` that are known yet."""
        if not self.history:
            return {}
        last = self.history[-1]
        best = min(self.history, key=lambda record: record.get("cer", math.inf))
        known = dict(best) | {
            "loss": last["loss"],
            "seconds": self.seconds_a_step * last["step"] / last["epoch"],
        }
        return {name: known[name] for name in SCORES if name in known}


@dataclass(frozen=True)
class SweepReport:
    """All runs of a sweep, and its tables and page."""

    name: str
    results: tuple[Result, ...]

    @property
    def settings(self) -> dict[str, list[Result]]:
        """The results by setting, in the order of the file."""
        settings: dict[str, list[Result]] = {}
        for result in self.results:
            settings.setdefault(result.setting, []).append(result)
        return settings

    @property
    def unfinished(self) -> int:
        """How many runs are not finished."""
        return sum(not result.finished for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object; its keys are stable."""
        return {
            "name": self.name,
            "settings": [
                {
                    "setting": setting,
                    "scores": {name: found._asdict() for name, found in _spreads(results).items()},
                    "runs": [_run_json(result) for result in results],
                }
                for setting, results in self.settings.items()
            ],
        }

    def table(self) -> str:
        """Return the comparison as plain text for a terminal."""
        return aligned([[cell.lower() for cell in self._header()], *self._rows()])

    def to_html(self) -> str:
        """Return the report as one self-contained page."""
        facts = (
            "Mean over seeds, and 95 % of it by Student's t where there are several: what another "
            "choice of seeds would change, not another choice of validation lines. Loss: of a "
            "training line, in the last epoch. Seconds: of an epoch. The other scores are those of "
            "the epoch with the lowest validation CER, which penname export takes. Exact is what "
            "the 2021 project called correct words, and correct characters is its other score."
        )
        compared = f'<div class="card" {SCROLL}>{table(self._header(), self._rows())}</div>'
        return page(
            f"Sweep {self.name}",
            f'<p class="faint">{escape(facts)}</p>'
            + section("Settings", compared)
            + section("Epoch by epoch", self._charts())
            + section("Runs", self._runs()),
        )

    def _header(self) -> list[str]:
        return ["Setting", "Seeds", *(score.title for score in SCORES.values())]

    def _rows(self) -> list[list[str]]:
        rows = []
        for setting, results in self.settings.items():
            done = sum(result.finished for result in results)
            seeds = str(done) if done == len(results) else f"{done} of {len(results)}"
            found = _spreads(results)
            rows.append(
                [
                    setting,
                    seeds,
                    *(_written(name, found.get(name)) for name in SCORES),
                ]
            )
        return rows

    def _charts(self) -> str:
        legend = "".join(
            f'<p class="faint"><svg viewBox="0 0 30 8" style="display:inline;width:30px">'
            f'<path d="M0 4H30" {_stroke(i)}/></svg> {escape(setting)}</p>'
            for i, setting in enumerate(self.settings)
        )
        charts = ""
        for name in CURVES:
            lines = [
                [curve for result in results if (curve := _curve(result, name))]
                for results in self.settings.values()
            ]
            if any(lines):
                charts += f'<div class="card"><h3>{SCORES[name].title}</h3>'
                charts += f"{chart(lines, SCORES[name])}</div>"
        thin = "Bold: the mean over seeds, as far as all of them are. Thin: each seed."
        return f'{legend}<div class="grid" {TWO}>{charts}</div><p class="faint">{thin}</p>'

    def _runs(self) -> str:
        rows = []
        for result in self.results:
            state = "finished" if result.finished else result.error or "not finished"
            scores = {name: Spread(value, None, 1) for name, value in result.scores.items()}
            rows.append(
                [
                    result.setting,
                    str(result.options.seed),
                    f"{result.epochs}: {state}",
                ]
                + [_written(name, scores.get(name)) for name in SCORES]
            )
        header = ["Setting", "Seed", "Epochs", *(score.title for score in SCORES.values())]
        return f'<div class="card" {SCROLL}>{table(header, rows)}</div>'


Curve = list[tuple[float, float]]


def chart(settings: Sequence[Sequence[Curve]], score: Score) -> str:
    """Return an SVG of a score by epoch: for each setting a curve a seed, and their mean."""
    every = [point for curves in settings for curve in curves for point in curve]
    last = max(epoch for epoch, _ in every)
    step = _tick(max(value for _, value in every))
    top = step * max(1, math.ceil(max(value for _, value in every) / step))

    def place(epoch: float, value: float) -> str:
        return f"{60 + 370 * epoch / last:.1f},{230 - 212 * value / top:.1f}"

    def line(curve: Curve, style: str) -> str:
        points = " ".join(place(*point) for point in curve)
        x, y = place(*curve[-1]).split(",")
        return f'<polyline points="{points}" {style}/><circle cx="{x}" cy="{y}" r="3" {style}/>'

    marks = ""
    for tick in range(round(top / step) + 1):
        x, y = place(0, tick * step).split(",")
        marks += f'<path class="axis" d="M{x} {y}H430"/>'
        marks += (
            f'<text x="54" y="{y}" dy="4" text-anchor="end">{_tick_text(tick * step, score)}</text>'
        )
    stride = max(1, round(_tick(last)))
    for epoch in range(0, int(last) + 1, stride):
        x = place(epoch, 0).split(",")[0]
        marks += f'<text x="{x}" y="248" text-anchor="middle">{epoch}</text>'
    for index, curves in enumerate(settings):
        marks += "".join(line(curve, _stroke(index, thin=True)) for curve in curves)
        marks += line(_mean_curve(curves), _stroke(index)) if curves else ""
    return (
        f'<svg viewBox="0 0 450 272" role="img" aria-label="{score.title} by epoch">{marks}'
        '<text x="430" y="268" text-anchor="end">epoch</text></svg>'
    )


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean at the epochs that all curves have."""
    values = [dict(curve) for curve in curves]
    common = sorted(set.intersection(*map(set, values)))
    return [(epoch, statistics.fmean(each[epoch] for each in values)) for epoch in common]


def _curve(result: Result, name: str) -> Curve:
    return [(record["epoch"], record[name]) for record in result.history if name in record]


def _stroke(index: int, *, thin: bool = False) -> str:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
    width = 'stroke-width="1" opacity="0.45"' if thin else 'stroke-width="2.5"'
    return f'stroke="{colour}" fill="none" stroke-dasharray="{dash}" {width}'


def _tick(largest: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that gives at most six ticks."""
    power = 10.0 ** math.floor(math.log10(max(largest, 1e-6) / 6))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 6 >= largest)


def _tick_text(value: float, score: Score) -> str:
    return f"{100 * value:.4g} %" if score.written is percent else f"{value:.4g}"


def _values(results: Sequence[Result], name: str) -> list[float]:
    return [result.scores[name] for result in results if name in result.scores]


def _spreads(results: Sequence[Result]) -> dict[str, Spread]:
    """Return the spread of each score that some run has."""
    return {name: spread(values) for name in SCORES if (values := _values(results, name))}


def _written(name: str, found: Spread | None) -> str:
    """Return a cell: 12.34 ± 0.56 %."""
    if not found:
        return "-"
    written = SCORES[name].written
    if found.plus_minus is None:
        return written(found.mean)
    return f"{written(found.mean).removesuffix(' %')} ± {written(found.plus_minus)}"


def _run_json(result: Result) -> dict[str, Any]:
    return {
        "options": to_json(result.options),
        "epochs": result.epochs,
        "finished": result.finished,
        "error": result.error,
        "scores": result.scores,
        "history": list(result.history),
    }
