"""Corrections: a reviewed table put over ground truth, and ground truth written as a table.

A reviewed table is what `penname audit --csv` writes, with a column `correction` that a person
filled in. A row whose correction is empty leaves its line as it is; `EMPTY` or `UNREADABLE` keeps
the line, and packing drops it and lists it. Lines are found by file and text, so a correction that
was applied already, or belongs to other data, is an error and never a silent nothing.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from penname.alphabet import nfc
from penname.errors import GroundTruthError
from penname.files import open_text, sync
from penname.ground_truth.cleaning import is_marker
from penname.ground_truth.tables import label, numbered_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penname.ground_truth.sources import GroundTruth

ROWS = 256  # rows of a Parquet file in memory at a time
NEEDED = ("file", "text", "correction")  # columns of a reviewed table
SCHEMA = pa.schema(
    [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    + [(name, pa.string()) for name in ("text", "source", "writer", "split")]
)
COLUMNS = ("file", "text", "source", "writer", "split")  # of a CSV


@dataclass
class Corrections:
    """Texts by file and the text that was there; what they changed is counted as they are used."""

    path: Path
    texts: dict[tuple[str, str], str]
    changed: int = 0
    aside: list[str] = field(default_factory=list)  # rows marked EMPTY or UNREADABLE

    @classmethod
    def read(cls, path: Path) -> Corrections:
        """Return the corrections in a reviewed table.

        Raises:
            GroundTruthError: it is no UTF-8 CSV with the columns file, text and correction, a
                text in it is cut or goes on below its row, or it says two things about one line.
        """
        texts: dict[tuple[str, str], str] = {}
        number = 0
        for number, row in numbered_rows(path):
            place = f"{path}:{number}"
            cells = {  # the first of a name counts, as in ground truth
                str(name).lower(): label(cell, place) or ""
                for name, cell in reversed([*row.items()])
                if name is not None  # empty cells beyond the header
            }
            if missing := [name for name in NEEDED if name not in cells]:
                raise GroundTruthError(
                    f"{path}: no column {missing[0]}; give a CSV with {', '.join(NEEDED)}"
                )
            file, text, correction = (cells[name] for name in NEEDED)
            line, correction = (file, nfc(text)), nfc(correction)
            if correction and texts.setdefault(line, correction) != correction:
                raise GroundTruthError(
                    f"{path}:{number}: {file} is {texts[line]!r} and {correction!r}; keep one"
                )
        if not number:
            raise GroundTruthError(f"{path}: no row; give a CSV with {', '.join(NEEDED)}")
        return cls(path, texts)

    def apply(self, lines: Iterable[GroundTruth]) -> Iterator[GroundTruth]:
        """Yield every line, those with a correction with its text.

        Raises:
            GroundTruthError: when a correction is of lines in two tables or of two pictures, or, at
                the end, of none.
        """
        used: dict[tuple[str, str], GroundTruth] = {}
        for line in lines:
            key = line.file, nfc(line.text or "")
            correction = self.texts.get(key)
            if correction is None:
                yield line
                continue
            first = used.setdefault(key, line)
            if first.place != line.place:
                raise GroundTruthError(
                    f"{self.path}: {line.file} with the text {key[1]!r} is in {first.place} and in "
                    f"{line.place}; correct one of them at a time"
                )
            if first.image != line.image:
                raise GroundTruthError(
                    f"{self.path}: {first.row} and {line.row} are different pictures, both called "
                    f"{line.file} and with the text {key[1]!r}; give them names of their own"
                )
            self.changed += correction != key[1]
            if is_marker(correction):
                self.aside.append(line.row)
            yield replace(line, text=correction)
        if unused := [key for key in self.texts if key not in used]:
            file, text = unused[0]
            raise GroundTruthError(
                f"{self.path}: {len(unused)} corrections are of no line, such as {file} with the "
                f"text {text!r}; give the ground truth that was audited"
            )


def write_table(lines: Iterable[GroundTruth], out: Path) -> int:
    """Write ground truth as a table that appears when it is whole, and return its lines.

    A `.parquet` holds the pictures, a `.csv` their paths, from where it lies.

    Raises:
        GroundTruthError: `out` is neither, exists, or a picture is missing; in a `.csv` also one
            that is not a file of its own.
    """
    kinds = {".parquet": _write_parquet, ".csv": _write_csv}
    if out.suffix not in kinds:
        raise GroundTruthError(f"{out}: a table is written as .parquet or .csv; name it so")
    if out.exists():
        raise GroundTruthError(f"{out} exists; choose another --out")
    unfinished = out.with_name(f".{out.name}.partial")
    try:
        number = kinds[out.suffix](lines, unfinished)
        sync(unfinished)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return number


def _write_parquet(lines: Iterable[GroundTruth], out: Path) -> int:
    rest, number = iter(lines), 0
    with pq.ParquetWriter(out, SCHEMA) as writer:
        while rows := [_row(line) for line in islice(rest, ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
            number += len(rows)
    return number


def _row(line: GroundTruth) -> dict[str, Any]:
    try:
        content = line.image if isinstance(line.image, bytes) else line.image.read_bytes()
    except (OSError, ValueError) as error:  # a name with a NUL
        raise GroundTruthError(f"{line.row}: {error}; put the picture there") from None
    image = {"bytes": content, "path": line.file}
    return {"image": image, "text": line.text, "source": line.source} | _rest(line)


def _write_csv(lines: Iterable[GroundTruth], out: Path) -> int:
    number = 0
    with open_text(out) as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for line in lines:
            text = line.text and nfc(line.text)  # of a .gt.txt file, in one line
            row = {"file": _path(line, out.parent), "text": text, "source": line.source}
            writer.writerow(row | _rest(line))
            number += 1
    return number


def _path(line: GroundTruth, folder: Path) -> str:
    """Return where a line's picture lies, seen from a folder."""
    if isinstance(line.image, bytes):
        raise GroundTruthError(f"{line.row}: the picture is not a file; name --out .parquet")
    if not line.image.is_file():
        raise GroundTruthError(f"{line.row}: no picture {line.image}; put it there")
    beside = folder / line.file
    if beside.is_file() and beside.samefile(line.image):
        return line.file
    there = os.path.realpath(line.image.parent)  # of links, .. is another folder than it seems
    return Path(os.path.relpath(there, os.path.realpath(folder)), line.image.name).as_posix()


def _rest(line: GroundTruth) -> dict[str, str | None]:
    return {"writer": line.group or None, "split": line.split or None}
