"""Prepare the names data: fixed train and validation rows, and labels two readers agree on.

Usage: prepare.py DATA OUT, where DATA is the folder of the shared data. Writes to OUT

    labelled.parquet    rows 1-300 of names_labelled (VALIDATION_0001..0300) with corrections.csv
                        applied, what cannot be decided and markers left out: for training
    validation.parquet  rows 301-700, labels as they are: what scores "raw" mean
    verified.parquet    the same rows, treated as the first: what scores "checked" mean
    agreed.parquet      names_unlabelled where both machine readings agree (not ground truth)
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
TRAIN_ROWS = 300
MARKERS = {"EMPTY", "UNREADABLE"}


def with_texts(table: pa.Table, texts: list[str | None]) -> pa.Table:
    """Return the rows whose new text is not None, with it."""
    column = table.schema.get_field_index("text")
    table = table.set_column(column, "text", pa.array(texts, pa.string()))
    return table.filter(pa.array([text is not None for text in texts]))


def files_of(table: pa.Table) -> list[str]:
    """Return the file name of each row."""
    return [image["path"] for image in table["image"].to_pylist()]


def rows_of(file: Path) -> dict[str, dict[str, str]]:
    """Return a CSV file's rows by their column `file`."""
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def verified(table: pa.Table) -> pa.Table:
    """Apply corrections.csv; leave out markers and undecided rows, corrected to an empty text."""
    corrections = rows_of(HERE / "corrections.csv")
    texts: list[str | None] = []
    for file, label in zip(files_of(table), table["text"].to_pylist(), strict=True):
        text = corrections[file]["text"] if file in corrections else label
        texts.append(None if not text or text in MARKERS else text)
    return with_texts(table, texts)


def main() -> None:
    """Write the four tables."""
    data, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    labelled = pq.read_table(data / "names_labelled.parquet")
    validation = labelled.slice(TRAIN_ROWS)
    pq.write_table(verified(labelled.slice(0, TRAIN_ROWS)), out / "labelled.parquet")
    pq.write_table(validation, out / "validation.parquet")
    pq.write_table(verified(validation), out / "verified.parquet")
    unlabelled = pq.read_table(data / "names_unlabelled.parquet")
    machine = rows_of(data / "names_machine_labels.csv")
    agreed = [
        machine[f]["text"] if machine[f]["text"] == machine[f]["second_reading"] else None
        for f in files_of(unlabelled)
    ]
    pq.write_table(with_texts(unlabelled, agreed), out / "agreed.part")
    (out / "agreed.part").replace(out / "agreed.parquet")  # all is there when this is


if __name__ == "__main__":
    main()
