"""Tables: ground truth in CSV, TSV, JSONL or Parquet, streamed row by row.

The columns are found by their usual names or named by `SourceOptions`; a CSV may be separated by
commas, semicolons or tabs. Rows are counted as people see them: the lines of a text file from 1,
its header included, and the rows of a Parquet file from 1.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from penname.errors import GroundTruthError
from penname.files import escaped
from penname.inputs import IMAGE_COLUMNS, image_cell
from penname.options import option

TEXT_COLUMNS = ("text", "identity", "label", "transcription")
GROUP_COLUMNS = ("writer", "page", "group")  # the first that holds a value names the group
SPLIT_NAMES = {"": "", "train": "train", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)
READINGS = ("text", "confidence")  # the columns by which a table of `penname read` is known
NO_COLUMN = "\0"
BATCH = 256  # rows of a Parquet file held at a time
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character that JSON writes in two

logger = logging.getLogger(__name__)

Row = tuple[int, Mapping[str, Any]]  # place in the file, counted as an editor does, and its values


@dataclass(frozen=True)
class SourceOptions:
    """Which columns of a table or Parquet file hold what; empty means the usual names."""

    image_column: str = option("", "column of the image or its path; empty: the usual names")
    text_column: str = option("", "column of the text; empty: the usual names")

    @property
    def needs_text(self) -> bool:
        """Whether a table without a column of texts is a mistake."""
        return True

    @property
    def groups(self) -> tuple[str, ...]:
        """The column that must be there and names the group; none: the usual names."""
        return ()


@dataclass(frozen=True)
class GroupedSourceOptions(SourceOptions):
    """The same where it matters which lines belong together."""

    group_column: str = option(
        "",
        "column of the writer or page, whose lines belong together; empty: writer, page or group",
    )

    @property
    def groups(self) -> tuple[str, ...]:
        """The column that was named, if any."""
        return (self.group_column,) if self.group_column else ()


@dataclass(frozen=True)
class GroundTruth:
    """One line as its source gives it, neither cleaned nor decoded.

    `file` is the name shown to people, `row` the place, as in "names.csv:17"; `group` is the
    writer, else the page, else the group, else empty; `split` is empty unless the source brings
    its own; `place` is the table or folder that it comes from.
    """

    file: str
    row: str
    text: str | None
    source: str
    group: str
    image: bytes | Path
    split: str = ""
    place: str = ""


@dataclass(frozen=True)
class Table:
    """A CSV, TSV or JSONL table of image paths, relative to the first of `folders` that has it."""

    path: Path
    options: SourceOptions
    folders: tuple[Path, ...]
    split: str = ""

    def paths(self) -> list[Path]:
        """Return the table."""
        return [self.path]

    def count(self) -> int:
        """Return the number of newlines."""
        with self.path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per row."""
        if not (there := self._columns()):
            return
        columns = Columns.of(self.path, there, self.options)
        if images:
            columns.warn_of_readings(self.path, there)
        name, stem = escaped(self.path.name), escaped(self.path.stem)
        place = escaped(self.path)
        for number, row in numbered_rows(self.path):
            file = str(row.get(columns.image) or "")
            yield GroundTruth(
                file=file,
                row=f"{name}:{number}",
                text=label(row.get(columns.text), f"{name}:{number}"),
                source=_text(row.get(columns.source)) or stem,
                group=columns.group_of(row),
                image=self._image(file) if images and file else b"",
                split=self.split or _split(row.get(columns.split), self.path, number),
                place=place,
            )

    def _columns(self) -> list[str]:
        """Return the columns, in order; rows of JSONL need not have all of them."""
        rows = numbered_rows(self.path)
        if self.path.suffix.lower() != ".jsonl":
            rows = islice(rows, 1)
        return list(dict.fromkeys(name for _, row in rows for name in row if name is not None))

    def _image(self, file: str) -> Path:
        # os.path.exists is False for names too long or with a NUL, where Path.exists raises; and
        # to join paths as text takes a fifth of the time.
        for folder in self.folders:
            if os.path.exists(path := os.path.join(folder, file)):  # noqa: PTH110, PTH118
                return Path(path)
        return self.folders[0] / file


@dataclass(frozen=True)
class Parquet:
    """A Parquet file with a column of image bytes, or of {bytes, path}."""

    path: Path
    options: SourceOptions

    def paths(self) -> list[Path]:
        """Return the file."""
        return [self.path]

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._open().metadata.num_rows)

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per row; without `images`, the column of images is not read."""
        file = self._open()
        there = list(file.schema_arrow.names)
        columns = Columns.of(self.path, there, self.options)
        wanted = {columns.text, *columns.groups, columns.source, columns.split} & set(there)
        if images:
            wanted.add(columns.image)
            columns.warn_of_readings(self.path, there)
        name, stem = escaped(self.path.name), escaped(self.path.stem)
        place = escaped(self.path)
        for number, row in enumerate(self._rows(file, sorted(wanted)), start=1):
            at = f"{name}:{number}"
            encoded, picture = image_cell(row.get(columns.image))
            if not isinstance(encoded, bytes | None):
                raise GroundTruthError(
                    f"{at}: the image is of type {type(encoded).__name__}, not bytes or a path; "
                    "name its column with --image-column"
                )
            yield GroundTruth(
                file=picture or at,
                row=at,
                text=label(row.get(columns.text), at),
                source=_text(row.get(columns.source)) or stem,
                group=columns.group_of(row),
                image=self.path.parent / picture if encoded is None and picture else encoded or b"",
                split=_split(row.get(columns.split), self.path, number),
                place=place,
            )

    def _rows(self, file: Any, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        try:
            for batch in file.iter_batches(BATCH, columns=columns):
                yield from batch.to_pylist()
        except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
            raise GroundTruthError(f"{self.path}: damaged: {error}; get it again") from None

    def _open(self) -> Any:
        try:
            return pq.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise GroundTruthError(f"{self.path}: not a Parquet file: {error}") from None


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read."""

    image: str
    text: str  # `NO_COLUMN` where there is none
    groups: tuple[str, ...]
    source: str
    split: str

    @classmethod
    def of(cls, path: Path, there: list[str], options: SourceOptions) -> Columns:
        """Return the columns of a table that has the columns `there`."""
        lower = {name.lower(): name for name in reversed(there)}
        named = tuple(_column(path, there, "group", name, ()) for name in options.groups)
        groups = named or tuple(lower[name] for name in GROUP_COLUMNS if name in lower)
        image = _column(path, there, "image", options.image_column, IMAGE_COLUMNS)
        text = NO_COLUMN
        if options.needs_text or options.text_column or lower.keys() & set(TEXT_COLUMNS):
            text = _column(path, there, "text", options.text_column, TEXT_COLUMNS)
        return cls(
            image,
            text,
            groups,
            lower.get("source", "source"),
            lower.get("split", "split"),
        )

    def group_of(self, row: Mapping[str, Any]) -> str:
        """Return the first of the group's columns that has a value, else empty."""
        return next((text for name in self.groups if (text := _number(row.get(name)))), "")

    def warn_of_readings(self, path: Path, there: list[str]) -> None:
        """Say so when the texts come from a model: scores against them mean nothing."""
        text, confidence = READINGS
        if self.text.lower() == text and confidence in map(str.lower, there):
            logger.warning(
                "%s: a column %s, so a model read these texts; as ground truth they are only as "
                "good as the person who has checked them",
                *(path, confidence),
            )


def _column(path: Path, there: list[str], what: str, given: str, usual: tuple[str, ...]) -> str:
    if given and given in there:
        return given
    lower = {name.lower(): name for name in reversed(there)}
    found = [lower[name] for name in usual if name in lower]
    if found and not given:
        return found[0]
    wanted = repr(given) if given else f"for the {what} ({', '.join(usual)})"
    raise GroundTruthError(
        f"{path}: no column {wanted}; it has {', '.join(map(repr, there))}; "
        f"name one with --{what}-column"
    )


def numbered_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table with their line numbers.

    Raises:
        GroundTruthError: naming the place, when it is not UTF-8 or not a table.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _json_rows(file) if path.suffix.lower() == ".jsonl" else _csv_rows(file, path)
            for number, row in rows:
                yield number, row
    except csv.Error as error:
        raise GroundTruthError(
            f"{path}: after line {number}: {error}; write a quotation mark in a text twice, and "
            "one before and after the text"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        is_json = path.suffix.lower() == ".jsonl" and not isinstance(error, UnicodeError)
        remedy = "each line is to be a JSON object" if is_json else "the table must be UTF-8 text"
        raise GroundTruthError(f"{path}: after line {number}: {error}; {remedy}") from None


def _csv_rows(file: Any, path: Path) -> Iterator[Row]:
    header = file.readline()
    file.seek(0)
    if header and not header.strip():
        raise GroundTruthError(f"{path}:1: no header; begin with the names of the columns")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    names = reader.fieldnames or ()
    above = reader.line_num
    for row in reader:
        if None in row or reader.line_num > above + 1:
            _check_cells(row, f"{path}:{above + 1}", delimiter, len(names))
        above = reader.line_num
        yield above, row


def _check_cells(row: Mapping[Any, Any], place: str, delimiter: str, columns: int) -> None:
    """Refuse a row in which a text was cut at a comma, or goes on into the rows below it."""
    if more := [cell for cell in row.get(None, ()) if cell]:
        raise GroundTruthError(
            f"{place}: {columns + len(more)} cells, where the header has {columns}; put "
            f"quotation marks around a text that has {delimiter!r} in it"
        )
    for cell in row.values():
        if isinstance(cell, str) and delimiter in cell.partition("\n")[2]:
            raise GroundTruthError(
                f"{place}: {cell[:40]!r} goes on below its line; close its quotation mark, or "
                "write it in one line"
            )


def _json_rows(file: Any) -> Iterator[Row]:
    for number, text in enumerate(file, start=1):
        if text.strip():
            row = json.loads(text)
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is no object with columns")
            if HALF.search(text):
                json.dumps(row, ensure_ascii=False).encode()  # raises where the other half lacks
            yield number, row


def _text(value: Any) -> str | None:
    """Return a cell as text; None for null and for the NaN that data frames write."""
    return None if value is None or value != value else str(value)


def _number(value: Any) -> str | None:
    """Return a cell as text, 7.0 as 7: of a column with gaps data frames make floats."""
    return _text(int(value) if isinstance(value, float) and value.is_integer() else value)


def label(value: Any, place: str) -> str | None:
    """Return the cell of a text; a number is one, what has parts is none."""
    if isinstance(value, list | dict | bool | bytes):
        raise GroundTruthError(
            f"{place}: the text is of type {type(value).__name__}; name its column with "
            "--text-column"
        )
    return _number(value)


def _split(value: Any, path: Path, number: int) -> str:
    name = (_text(value) or "").lower()
    if name not in SPLIT_NAMES:
        raise GroundTruthError(
            f"{path.name}:{number}: split is {value!r}; use train, validation or test"
        )
    return SPLIT_NAMES[name]
