"""Crops of names as `latin` is to write them: names.py MODEL OUT.parquet TABLE.parquet...

The labels of names are all capitals, whatever was written. A model that knows both cases reads the
crops greedily: what it reads in small letters for the most part keeps its case and accents where
the letters are those of the label, and is left out where they are not; all others are capitals. A
printed label before a name, which a model that reads everything reads too, is no part of the text.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from penname import Recognizer
from penname.alphabet import without_accents
from penname.decoder import Decoder
from penname.inputs import expand

SMALL = 0.6  # of the letters after the first, from which a name is in small letters
PRINTED = re.compile(r"^\s*(?:[GFEKYV]?R?[ÉE]?)?[NY][O0]M\s*[:.\-]*\s*", re.IGNORECASE)


def plain(text: str) -> str:
    """Return a text in capitals without accents, as labels are."""
    return without_accents(text).upper()


def as_written(label: str, read: str) -> str | None:
    """Return a label in the case that it is written in; None where that cannot be told."""
    text = read if plain(read) == label else PRINTED.sub("", read)
    after = [c for c in text if c.isalpha()][1:]
    if sum(map(str.islower, after)) <= SMALL * len(after):
        return label
    return text if plain(text) == label else None


def main(model: str, out: str, *tables: str) -> None:
    """Write the crops of all tables that can be told."""
    recognizer = Recognizer.load(model).quick()
    recognizer.decoder = Decoder(recognizer.model.alphabet)  # its language prefers small letters
    parts = []
    for table in tables:
        rows = pq.read_table(table)
        read = [prediction.text for prediction in recognizer.stream(expand([table]))]
        pairs = zip(rows["text"].to_pylist(), read, strict=True)
        texts = pa.array([as_written(*pair) for pair in pairs], pa.string())
        rows = rows.set_column(rows.schema.get_field_index("text"), "text", texts)
        parts.append(rows.filter(texts.is_valid()))
        changed = sum(text != plain(text) for text in parts[-1]["text"].to_pylist())
        print(
            f"{table}: {len(rows):,} crops, {len(parts[-1]):,} kept, {changed:,} in small letters"
        )
    pq.write_table(pa.concat_tables(parts), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
