"""Sources: ground truth as people have it, streamed as one kind of line.

Recognised by what is found at a path:

- the Kaggle names layout: `written_name_{train,validation,test}_v2.csv` and folders of images;
- a CSV, TSV or JSONL table of image paths and texts, paths relative to the table;
- Parquet with image bytes, the layout Hugging Face `datasets` reads as an Image feature;
- a folder of images with `.gt.txt` files beside them (kraken, Calamari, OCR-D);
- a folder of such tables or Parquet files, or of images alone, which have no text.

Lines come in a fixed order and one at a time, so memory does not grow with the source.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from penname.errors import GroundTruthError
from penname.options import option

IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "image_path")
TEXT_COLUMNS = ("text", "identity", "label", "transcription")
GROUP_COLUMNS = ("writer", "page", "group")  # the first that holds a value names the group
SPLIT_NAMES = {
    "": "",
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
TABLES = (".csv", ".tsv", ".jsonl")
IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2", ".ppm", ".pgm")
BATCH = 256  # rows of a Parquet file held at a time

Row = tuple[int, Mapping[str, Any]]  # place in the file, counted as an editor does, and its values


@dataclass(frozen=True)
class SourceOptions:
    """Which columns of a table or Parquet file hold what; empty means the usual names."""

    image_column: str = option("", "column of the image or its path; empty: the usual names")
    text_column: str = option("", "column of the text; empty: the usual names")
    group_column: str = option("", "column of the writer or page; empty: writer, page or group")


@dataclass(frozen=True)
class GroundTruth:
    """One line as its source gives it, neither cleaned nor decoded.

    `file` is the name shown to people, `row` the place, as in "names.csv:17"; `group` is the
    writer, else the page, else empty; `split` is empty unless the source brings its own.
    """

    file: str
    row: str
    text: str | None
    source: str
    group: str
    image: bytes | Path
    split: str = ""


class Source(Protocol):
    """One recognised table, Parquet file or folder."""

    def count(self) -> int:
        """Return about how many lines there are, without reading them."""

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield the lines; without `images`, `image` may be empty bytes."""


def read_sources(
    paths: Sequence[Path], options: SourceOptions, *, images: bool = True
) -> Iterator[GroundTruth]:
    """Yield every line of every source, in order; `images=False` is the cheap pass over texts.

    An image file that is missing is found when it is decoded, so the line is still yielded.

    Raises:
        GroundTruthError: for a path where nothing is recognised, or a table without its columns.
    """
    for source in open_sources(paths, options):
        yield from source.lines(images)


def count_sources(paths: Sequence[Path], options: SourceOptions) -> int:
    """Return about how many lines `read_sources` will yield: for a progress bar."""
    return sum(source.count() for source in open_sources(paths, options))


def open_sources(paths: Sequence[Path], options: SourceOptions) -> list[Source]:
    """Return what is recognised at each path.

    Raises:
        GroundTruthError: for a path where nothing is.
    """
    return [source for path in paths for source in _recognised(Path(path), options)]


def _recognised(path: Path, options: SourceOptions) -> list[Source]:
    if path.is_file():
        return [_file(path, options)]
    if not path.is_dir():
        raise GroundTruthError(f"{path}: no such file or folder")
    if (path / "manifest.json").exists():
        raise GroundTruthError(f"{path} is a pack already; give what it was made from")
    if tables := _names_tables(path, options):
        return tables
    if next(path.rglob("*.gt.txt"), None):
        return [LineFolder(path)]
    if files := sorted(p for p in path.iterdir() if p.suffix.lower() in (*TABLES, ".parquet")):
        return [_file(file, options) for file in files]
    if any(_is_image(p.name) for p in path.rglob("*")):
        return [LineFolder(path)]
    raise GroundTruthError(
        f"{path}: no ground truth recognised; give the Kaggle names folder, a CSV, TSV or JSONL "
        "table, Parquet files, or a folder of images with .gt.txt files beside them"
    )


def _file(path: Path, options: SourceOptions) -> Source:
    if match := re.fullmatch(r"written_name_(train|validation|test)_v2\.csv", path.name):
        return _names_table(path, match[1], options)
    if path.suffix.lower() == ".parquet":
        return Parquet(path, options)
    if path.suffix.lower() in TABLES:
        return Table(path, options, (path.parent,))
    raise GroundTruthError(f"{path}: not a table; give .csv, .tsv, .jsonl or .parquet, or a folder")


def _names_tables(folder: Path, options: SourceOptions) -> list[Source]:
    """Return the Kaggle tables in the folder, in its split folders, or above a split folder."""
    tables: list[Source] = []
    for split in ("train", "validation", "test"):
        places = [folder, folder / f"{split}_v2", folder / split]
        if folder.name in (f"{split}_v2", split):
            places.append(folder.parent)
        candidates = (place / f"written_name_{split}_v2.csv" for place in places)
        if table := next((path for path in candidates if path.is_file()), None):
            tables.append(_names_table(table, split, options))
    return tables


def _names_table(path: Path, split: str, options: SourceOptions) -> Table:
    """Return a Kaggle table with the folders in which people keep its images."""
    inside = (f"{split}_v2/{split}", f"{split}_v2", split, ".")
    return Table(path, options, tuple(path.parent / folder for folder in inside), split)


@dataclass(frozen=True)
class Table:
    """A CSV, TSV or JSONL table of image paths, relative to the first of `folders` that has it."""

    path: Path
    options: SourceOptions
    folders: tuple[Path, ...]
    split: str = ""

    def count(self) -> int:
        """Return the number of newlines."""
        with self.path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per row."""
        columns: Columns | None = None
        for number, row in _numbered_rows(self.path):
            columns = columns or Columns.of(self.path, list(row), self.options)
            file = str(row.get(columns.image) or "")
            yield GroundTruth(
                file=file,
                row=f"{self.path.name}:{number}",
                text=_text(row.get(columns.text)),
                source=str(row.get("source") or self.path.stem),
                group=columns.group_of(row),
                image=self._image(file),
                split=self.split or _split(row.get("split"), self.path, number),
            )

    def _image(self, file: str) -> Path:
        found = (folder / file for folder in self.folders)
        return next((path for path in found if path.exists()), self.folders[0] / file)


@dataclass(frozen=True)
class Parquet:
    """A Parquet file with a column of image bytes, or of {bytes, path}."""

    path: Path
    options: SourceOptions

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._open().metadata.num_rows)

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per row; without `images`, the column of images is not read."""
        file = self._open()
        columns = Columns.of(self.path, list(file.schema_arrow.names), self.options)
        wanted = {columns.image, columns.text, *columns.groups, "source", "split"}
        if not images:
            wanted.discard(columns.image)
        wanted &= set(file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(BATCH, columns=sorted(wanted)):
            for row in batch.to_pylist():
                number += 1
                yield self._line(row, number, columns)

    def _line(self, row: Mapping[str, Any], number: int, columns: Columns) -> GroundTruth:
        image = row.get(columns.image) or b""
        encoded, name = (
            (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
        )
        if isinstance(encoded, str):  # a column of paths
            encoded, name = None, encoded
        place = f"{self.path.name}:{number}"
        return GroundTruth(
            file=name or place,
            row=place,
            text=_text(row.get(columns.text)),
            source=str(row.get("source") or self.path.stem),
            group=columns.group_of(row),
            image=self.path.parent / name if encoded is None and name else encoded or b"",
            split=_split(row.get("split"), self.path, number),
        )

    def _open(self) -> Any:
        try:
            return pq.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise GroundTruthError(f"{self.path}: not a Parquet file: {error}") from None


@dataclass(frozen=True)
class LineFolder:
    """Images below a folder; `x.gt.txt` is the text of `x.png`, `x.nrm.png` or `x.bin.png`."""

    path: Path

    def count(self) -> int:
        """Return the number of different stems."""
        return sum(len(_stems(names)) for _, names in self._folders())

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per stem; an image without `.gt.txt` has no text."""
        for folder, names in self._folders():
            for stem, files in sorted(_stems(names).items()):
                pictures = [name for name in files if _is_image(name)]
                image = folder / min(pictures, key=_plainest, default=f"{stem}.png")
                place = folder / f"{stem}.gt.txt"
                yield GroundTruth(
                    file=image.relative_to(self.path).as_posix(),
                    row=str(place if place.name in files else image),
                    text=_read_text(place) if place.name in files else None,
                    source=self.path.resolve().name,
                    group="",
                    image=image,
                )

    def _folders(self) -> Iterator[tuple[Path, list[str]]]:
        for root, folders, names in os.walk(self.path):
            folders.sort()
            yield Path(root), sorted(names)


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read."""

    image: str
    text: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, there: list[str], options: SourceOptions) -> Columns:
        """Return the columns of a table that has the columns `there`."""
        groups = tuple(name for name in GROUP_COLUMNS if name in there)
        if options.group_column:
            groups = (_column(path, there, "group", options.group_column, ()),)
        return cls(
            _column(path, there, "image", options.image_column, IMAGE_COLUMNS),
            _column(path, there, "text", options.text_column, TEXT_COLUMNS),
            groups,
        )

    def group_of(self, row: Mapping[str, Any]) -> str:
        """Return the writer, else the page, else empty."""
        return next((str(row[name]) for name in self.groups if row.get(name)), "")


def _column(path: Path, there: list[str], what: str, given: str, usual: tuple[str, ...]) -> str:
    lower = {name.lower(): name for name in reversed(there)}
    names = [given] if given in there else [lower[name] for name in usual if name in lower]
    if not names or (given and given not in there):
        wanted = repr(given) if given else f"for the {what} (tried {', '.join(usual)})"
        raise GroundTruthError(
            f"{path}: no column {wanted}; it has {', '.join(map(repr, there))}; "
            f"name one with --{what}-column"
        )
    return names[0]


def _numbered_rows(path: Path) -> Iterator[Row]:
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
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, TypeError) as error:
        raise GroundTruthError(
            f"{path}: after line {number}: {error}; the table must be UTF-8 text"
        ) from None


def _csv_rows(file: Any, path: Path) -> Iterator[Row]:
    header = file.readline()
    file.seek(0)
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else delimiter)
    for row in reader:
        yield reader.line_num, row


def _json_rows(file: Any) -> Iterator[Row]:
    for number, text in enumerate(file, start=1):
        if text.strip():
            yield number, dict(json.loads(text))


def _text(value: Any) -> str | None:
    """Return a cell as text; None for null and for the NaN that data frames write."""
    return None if value is None or value != value else str(value)


def _split(value: Any, path: Path, number: int) -> str:
    name = str(value or "").lower()
    if name not in SPLIT_NAMES:
        raise GroundTruthError(
            f"{path.name}:{number}: split is {value!r}; use train, validation or test"
        )
    return SPLIT_NAMES[name]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def _stems(names: list[str]) -> dict[str, list[str]]:
    """Return the images and `.gt.txt` files of a folder by the stem they share."""
    stems: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(".gt.txt"):
            stems.setdefault(name.removesuffix(".gt.txt"), []).append(name)
        elif _is_image(name):
            stem = re.sub(r"\.(bin|nrm)$", "", Path(name).stem)
            stems.setdefault(stem, []).append(name)
    return stems


def _plainest(name: str) -> tuple[int, bool]:
    """Sort `x.png` before `x.nrm.png` before `x.bin.png`: the most grey levels first."""
    return len(Path(name).suffixes), ".bin." in name


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GroundTruthError(f"{path}: {error}; save it as UTF-8") from None
