"""How many of the labels that an audit suspects are wrong, by rank.

    penname audit --data validation.parquet --csv audit.csv
    python benchmarks/audit.py audit.csv
    python benchmarks/audit.py --spoil verified.parquet [--model NAME] [--seeds 10]

With CSVs of audits (several are ranked together by score) the truth is corrections.csv of the names
recipe: a label is wrong when it has a corrected text, and left out when it cannot be decided. With
`--spoil` the labels of a checked table are right but for 7 %, made wrong in equal parts by another
row's label, a letter changed for one like it, and a letter left out. Intervals are 95 %, from 1,000
draws of the lines. Prints a table, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penname.audit import CONFUSABLE, audit
from penname.ground_truth.cleaning import MARKERS
from penname.ground_truth.sources import GroundTruth, SourceOptions, read_sources
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from collections.abc import Sequence

CORRECTIONS = Path(__file__).parents[1] / "recipes" / "names" / "corrections.csv"
RANKS = (10, 25, 50)
WRONG = 0.07  # share of labels that are spoilt
EARLY = 0.15  # share of the lines that is looked at


def of_csvs(files: Sequence[Path]) -> list[bool]:
    """Return whether each label is wrong, the most suspicious first."""
    with CORRECTIONS.open(encoding="utf-8", newline="") as stream:
        truth = {row["file"]: row["text"] for row in csv.DictReader(stream)}
    rows: list[dict[str, str]] = []
    for file in files:
        with file.open(encoding="utf-8", newline="") as stream:
            rows += csv.DictReader(stream)
    rows.sort(key=lambda row: -float(row["score"]))
    decided = [x for x in rows if truth.get(x["file"], "-") and x["text"] not in MARKERS]
    return [x["file"] in truth for x in decided]


def spoilt(
    lines: list[GroundTruth], rng: np.random.Generator
) -> tuple[list[GroundTruth], set[str]]:
    """Return the lines, some with a wrong label, and the places of those."""
    texts = [line.text or "" for line in lines]
    chosen = rng.permutation(len(lines))[: round(WRONG * len(lines))]
    given = list(lines)
    for turn, index in enumerate(chosen):
        change = (_swapped, _mistaken, _shortened)[turn % 3]
        text = change(texts[index], texts, rng)
        given[index] = replace(lines[index], text=text)
    return given, {lines[index].row for index in chosen}


def _swapped(text: str, texts: list[str], rng: np.random.Generator) -> str:
    return str(rng.choice([other for other in texts if other != text]))


def _mistaken(text: str, texts: list[str], rng: np.random.Generator) -> str:
    """Change a letter for one like it; another label where there is none."""
    ways = [
        text[:i] + other + text[i + 1 :]
        for i, letter in enumerate(text)
        for group in CONFUSABLE
        if letter in group
        for other in group
        if other != letter
    ]
    return str(rng.choice(ways)) if ways else _swapped(text, texts, rng)


def _shortened(text: str, texts: list[str], rng: np.random.Generator) -> str:
    if len(text) < 2:
        return _swapped(text, texts, rng)
    at = int(rng.integers(len(text)))
    return text[:at] + text[at + 1 :]


def of_spoilt(file: Path, model: str, seed: int) -> list[bool]:
    """Return whether each label is wrong, the most suspicious first."""
    lines = list(read_sources([file], SourceOptions()))
    given, wrong = spoilt(lines, np.random.default_rng(seed))
    findings = audit(Recognizer.load(model), given).findings
    return [finding.row in wrong for finding in findings]


def measures(wrong: np.ndarray) -> dict[str, float]:
    """Return precision by rank, and the share of errors found in the first lines: of (N,) bool."""
    found = np.cumsum(wrong)
    values = {f"precision at {k}": found[k - 1] / k for k in RANKS if k <= len(wrong)}
    errors = max(int(found[-1]), 1)
    values["best possible at 50"] = min(errors, 50) / 50
    values["precision at the number of errors"] = found[errors - 1] / errors
    values["errors in the first 15 %"] = found[int(np.ceil(EARLY * len(wrong))) - 1] / errors
    return {name: float(value) for name, value in values.items()}


def intervals(runs: list[np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Return each measure's mean over the runs, and its 95 % interval when lines are drawn anew."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        each = [run[np.sort(rng.integers(0, len(run), len(run)))] for run in runs]
        drawn.append(np.mean([list(measures(run).values()) for run in each], axis=0))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    names = list(measures(runs[0]))
    mean = np.mean([list(measures(run).values()) for run in runs], axis=0)
    return {
        n: (float(m), float(a), float(b)) for n, m, a, b in zip(names, mean, low, high, strict=True)
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", nargs="*", type=Path, help="what penname audit --csv wrote")
    parser.add_argument("--spoil", type=Path, help="a table with checked labels")
    parser.add_argument("--model", default="names")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.spoil:
        seeds = range(arguments.seeds)
        runs = [of_spoilt(arguments.spoil, arguments.model, seed) for seed in seeds]
    else:
        runs = [of_csvs(arguments.csv)]
    values = intervals([np.array(run) for run in runs])
    print(f"{len(runs[0])} lines, {sum(runs[0])} wrong, {len(runs)} runs")
    for name, (mean, low, high) in values.items():
        print(f"{name:34} {mean:6.1%} ({low:.1%} to {high:.1%})")
    print(json.dumps({"lines": len(runs[0]), "wrong": sum(runs[0]), "runs": len(runs)} | values))


if __name__ == "__main__":
    main()
