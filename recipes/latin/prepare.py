"""Split the lines of the shared data by writer or page into train and validation tables.

Usage: prepare.py DATA OUT WORDS.parquet, WORDS.parquet from draw_words.py. Writes to OUT for each
of lines, places and words NAME-train.parquet and NAME-validation.parquet, and texts.csv, the texts
of the three training tables with their counts, for the language. The draw is that of
`penname pack`: by a hash of the group and a seed, so it never changes.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from penname.ground_truth.pack import PackOptions, draw_split

DRAW = PackOptions(validation=0.06, seed=1)
PLACES = PackOptions(validation=0.1, seed=2)  # 31 writers: this draw takes three of them


def main() -> None:
    """Write six tables and the training texts."""
    data, out, words = map(Path, sys.argv[1:4])
    sources = {
        "lines": data / "htr_lines.parquet",
        "places": data / "dhsd_german_words.parquet",
        "words": words,
    }
    texts: list[str] = []
    for name, path in sources.items():
        table = pq.read_table(path)
        pages = table["page"].to_pylist() if "page" in table.column_names else [""] * len(table)
        files = [image["path"] for image in table["image"].to_pylist()]
        groups = zip(table["writer"].to_pylist(), pages, files, strict=True)
        draw = PLACES if name == "places" else DRAW
        splits = pa.array([draw_split(w or p or f, draw) for w, p, f in groups])
        for split in ("train", "validation"):
            rows = table.filter(pa.compute.equal(splits, split))
            pq.write_table(rows, out / f"{name}-{split}.parquet")
            print(f"{name} {split}: {len(rows):,} rows")
            if split == "train":
                texts += [" ".join(text.split()) for text in rows["text"].to_pylist() if text]
    with (out / "texts.part").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "count"])
        writer.writerows(Counter(texts).items())
    (out / "texts.part").replace(out / "texts.csv")  # all is there when this is


if __name__ == "__main__":
    main()
