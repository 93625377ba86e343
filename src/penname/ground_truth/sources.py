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

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penname.errors import GroundTruthError
from penname.files import escaped, visible_files
from penname.ground_truth.tables import (
    GroundTruth,
    GroupedSourceOptions,
    Parquet,
    SourceOptions,
    Table,
)
from penname.line_image import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "GroundTruth",
    "GroupedSourceOptions",
    "SourceOptions",
    "count_sources",
    "open_sources",
    "read_sources",
    "table_files",
]

TABLES = (".csv", ".tsv", ".jsonl")


class Source(Protocol):
    """One recognised table, Parquet file or folder."""

    def paths(self) -> list[Path]:
        """Return the files that hold the texts, or the folder of them."""

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


def table_files(paths: Sequence[Path], options: SourceOptions) -> list[Path]:
    """Return the tables and Parquet files that `read_sources` reads, and the folders of lines."""
    return [path for source in open_sources(paths, options) for path in source.paths()]


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
    if _first(path, _is_text):
        return [LineFolder(path)]
    if files := _visible(path):
        parts = [_file(file, options) for file in files]
        return [TableFolder(tuple(parts))] if len(parts) > 1 else parts
    if lower := _first(path, _is_table):
        raise GroundTruthError(
            f"{path}: tables are looked for in the folder itself, and {escaped(lower)} lies "
            "below it; give the folder it lies in, or move it away"
        )
    if _first(path, _is_image):
        return [LineFolder(path)]
    raise GroundTruthError(
        f"{path}: no ground truth recognised; give the Kaggle names folder, a CSV, TSV or JSONL "
        "table, Parquet files, or a folder of images with .gt.txt files beside them"
    )


def _first(path: Path, is_wanted: Callable[[str], bool]) -> Path | None:
    """Return the first file at or below a path whose name is wanted, if there is one."""
    files = (
        folder / name for folder, names in visible_files(path) for name in names if is_wanted(name)
    )
    return next(files, None)


def _visible(folder: Path) -> list[Path]:
    """Return the tables and Parquet files of a folder, in order; hidden ones are not for people."""
    files = (file for file in folder.iterdir() if _is_table(file.name))
    return sorted(file for file in files if not file.name.startswith("."))


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
class TableFolder:
    """The tables and Parquet files of a folder, no two tables of the same picture."""

    parts: tuple[Source, ...]

    def paths(self) -> list[Path]:
        """Return the tables and Parquet files."""
        return [path for part in self.parts for path in part.paths()]

    def count(self) -> int:
        """Return about how many rows there are."""
        return sum(part.count() for part in self.parts)

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield the lines of each part.

        Raises:
            GroundTruthError: when two tables are of one picture: one may correct the other.
        """
        places: dict[str, str] = {}  # file -> the table that it is of
        for part in self.parts:
            for line in part.lines(images):
                if isinstance(part, Table) and line.file:
                    other = places.setdefault(line.file, line.place)
                    if other != line.place:
                        raise GroundTruthError(
                            f"{other} and {line.place} are both of {line.file}; "
                            "give the one that is right"
                        )
                yield line


@dataclass(frozen=True)
class LineFolder:
    """Images below a folder; `x.gt.txt` is the text of `x.png`, `x.nrm.png` or `x.bin.png`."""

    path: Path

    def paths(self) -> list[Path]:
        """Return the folder."""
        return [self.path]

    def count(self) -> int:
        """Return the number of texts, and of images without one."""
        return sum(len(_stems(names)) for _, names in visible_files(self.path))

    def lines(self, images: bool) -> Iterator[GroundTruth]:
        """Yield one line per text, and per image without `.gt.txt`, which has none.

        Hidden files are left out. A folder below the source is a group: people keep the lines of
        a page or writer in one.
        """
        for folder, names in visible_files(self.path):
            group = "" if folder == self.path else escaped(folder.relative_to(self.path))
            for stem, files in sorted(_stems(names).items()):
                pictures = [name for name in files if _is_image(name)]
                image = folder / min(pictures, key=_plainest, default=f"{stem}.png")
                place = folder / f"{stem}.gt.txt"
                yield GroundTruth(
                    file=escaped(image.relative_to(self.path)),
                    row=escaped(place if place.name in files else image),
                    text=_read_text(place) if place.name in files else None,
                    source=escaped(self.path.resolve().name),
                    group=group,
                    image=image,
                    place=escaped(self.path),
                )


def _is_table(name: str) -> bool:
    return name.lower().endswith((*TABLES, ".parquet"))


def _is_text(name: str) -> bool:
    return name.endswith(".gt.txt")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _stems(names: list[str]) -> dict[str, list[str]]:
    """Return the `.gt.txt` files of a folder with the images of their stem, then other images.

    Those have their name as their stem: `1.jpg` and `1.png` are two lines, `1.bin.png` is `1.png`.
    """
    texts = [name for name in names if _is_text(name)]
    stems = {name.removesuffix(".gt.txt"): [name] for name in texts}
    for name in filter(_is_image, names):
        plain = re.sub(r"\.(bin|nrm)(\.\w+)$", r"\2", name)
        stem = Path(plain).stem
        stems.setdefault(stem if stem in stems else plain, []).append(name)
    return stems


def _plainest(name: str) -> tuple[int, bool]:
    """Sort `x.png` before `x.nrm.png` before `x.bin.png`: the most grey levels first."""
    return len(Path(name).suffixes), ".bin." in name


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GroundTruthError(f"{path}: {error}; save it as UTF-8") from None
