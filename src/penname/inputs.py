"""Inputs: from the paths a person gives to the pictures behind them.

A path is an image file, a folder (all images and Parquet files in it, at any depth), a pattern
such as `scans/*.jpg`, or a Parquet file with one encoded image per row. A file of several pages,
as scanners write TIFF, is a picture for each.
"""

from __future__ import annotations

import glob
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penname.errors import ImageError
from penname.files import visible_files
from penname.line_image import SUFFIXES, pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from penname.line_image import Source

logger = logging.getLogger(__name__)

PARQUET = ".parquet"
PDF = ".pdf"
PAGES = (".tif", ".tiff")
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "image_path")
ROWS = 256  # rows of a Parquet file in memory at a time


@dataclass(frozen=True, slots=True)
class Input:
    """A picture and the name it goes by: its path, or the file and its row or page, from 1.

    Of a file that holds no pictures, `error` says why.
    """

    file: str
    source: Source
    error: str = ""


def expand(paths: Iterable[str | Path]) -> Iterator[Input]:
    """Return the pictures at `paths`, in order, those in a folder sorted as people count.

    Raises:
        ImageError: at once, for a path that matches nothing.
    """
    files = [file for path in paths for file in _matches(path)]
    return (picture for file in files for picture in _pictures(file))


def natural(path: Path) -> list[str | int]:
    """Return a sort key that puts line2 before line10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]


def matching(pattern: str | Path) -> list[Path]:
    """Return what a pattern matches, in no order."""
    # pathlib refuses patterns that are absolute, as those a shell did not expand may be
    return [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207


def _matches(path: str | Path) -> list[Path]:
    if Path(path).exists():
        if files := _files(Path(path)):
            return files
        raise ImageError(f"{path}: no images in this folder")
    matches = matching(path)
    if not matches:
        raise ImageError(f"{path}: no such file or folder, and nothing matches it as a pattern")
    files = [file for match in sorted(matches, key=natural) for file in _files(match)]
    if not files:
        raise ImageError(f"{path}: no images in the folders that match it")
    return list(dict.fromkeys(files))  # a pattern matches folders and what is in them


def _files(path: Path) -> list[Path]:
    """Return the path itself, or the images below a folder; hidden files are left out."""
    if not path.is_dir():
        return [path]
    files = [
        folder / name
        for folder, names in visible_files(path)
        for name in names
        if name.lower().endswith((*SUFFIXES, PARQUET, PDF))
    ]
    # A link that leads nowhere is kept, and named when it is read; a pipe would be waited for.
    files = [file for file in files if file.is_file() or not file.exists()]
    if scans := [file for file in files if file.suffix.lower() == PDF]:
        logger.warning(
            "%s: %d PDF files are not read, such as %s; make images of them first",
            *(path, len(scans), scans[0].name),
        )
    return sorted((file for file in files if file.suffix.lower() != PDF), key=natural)


def _pictures(file: Path) -> Iterator[Input]:
    if file.suffix.lower() == PARQUET:
        return _parquet(file)
    if file.suffix.lower() in PAGES:
        return _pages(file)
    return iter([Input(str(file), file)])


def _pages(file: Path) -> Iterator[Input]:
    """Yield the pages of a file, or the file itself when it has one or cannot be opened."""
    number = 0
    for number, page in enumerate(pages(file), start=1):
        wrong = page if isinstance(page, str) else ""
        yield Input(f"{file}:{number}", b"" if isinstance(page, str) else page, wrong)
    if not number:
        yield Input(str(file), file)


def _parquet(file: Path) -> Iterator[Input]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            column = _image_column(table.schema_arrow)
            batches = table.iter_batches(batch_size=ROWS, columns=[column])
            rows = (value for batch in batches for value in batch.column(0).to_pylist())
            for row, value in enumerate(rows, start=1):
                yield _picture(file, row, value)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        yield Input(str(file), b"", str(error))


def _image_column(schema: pa.Schema) -> str:
    """Return the column of encoded images, one of a usual name if there is one, else of paths."""
    named = [column for name in IMAGE_COLUMNS for column in schema if column.name.lower() == name]
    encoded = [column for column in (*named, *schema) if _holds_images(column.type)]
    paths = [column for column in named if _holds_text(column.type)]
    if not (found := encoded + paths):
        raise ValueError(f"no column of images among {', '.join(schema.names)}")
    return str(found[0].name)


def _holds_images(kind: pa.DataType) -> bool:
    """Return whether a column is binary, or a struct with `bytes` in it."""
    from pyarrow import types

    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _holds_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):  # as data frames keep what comes again and again
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def image_cell(value: Any) -> tuple[Any, str]:
    """Return what is encoded in a cell, None where nothing is, and the path in it, else empty.

    A cell is bytes, a path, or {bytes, path}, the layout Hugging Face `datasets` reads.
    """
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path") or ""
    return (None, value) if isinstance(value, str) else (value, "")


def _picture(file: Path, row: int, value: Any) -> Input:
    """Return the picture of one row; a row without an image is an empty one."""
    content, path = image_cell(value)
    if content is None and path:
        return Input(path, file.parent / path)
    return Input(path or f"{file}:{row}", content or b"")
