"""Label the unlabelled crops by agreement: two machine readings and our own first model's.

Usage: relabel.py DATA READINGS.csv OUT.parquet, READINGS.csv from `penname read --csv`. A crop is
kept when

    both machine readings agree, unless our model is surer than 0.95 of something else;
    our model agrees with one of them;
    or the first machine reader is surer than 0.8.

It prints how many crops each rule kept and how many were left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from prepare import files_of, rows_of, with_texts

SURE, FIRST_SURE = 0.95, 0.8


def label(machine: dict[str, str], ours: dict[str, str] | None) -> tuple[str | None, str]:
    """Return the text to train on, or None, and the rule that decided."""
    first, second = machine["text"], machine["second_reading"]
    if ours is None or ours["error"] or not first:
        return None, "nothing to read"
    own, confidence = ours["text"], float(ours["confidence"])
    if first == second:
        if own != first and confidence > SURE:
            return None, "left out: we are sure of something else"
        return first, "both machine readings"
    if own in (first, second):
        return own, "ours and one machine reading"
    if float(machine["confidence"]) > FIRST_SURE:
        return first, "the first machine reader is sure"
    return None, "left out: no agreement"


def main() -> None:
    """Write the labelled crops."""
    data, readings, out = map(Path, sys.argv[1:4])
    unlabelled = pq.read_table(data / "names_unlabelled.parquet")
    machine, ours = rows_of(data / "names_machine_labels.csv"), rows_of(readings)
    decided = [label(machine[file], ours.get(file)) for file in files_of(unlabelled)]
    for rule, count in Counter(rule for _, rule in decided).most_common():
        print(f"{count:6,}  {rule}")
    pq.write_table(with_texts(unlabelled, [text for text, _ in decided]), out)


if __name__ == "__main__":
    main()
