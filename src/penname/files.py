"""Files: those of a folder, those opened for text, and those that are whole or not there."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)


def visible_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and each one below it with the names of its files, sorted; no hidden ones.

    Links to folders elsewhere are followed, each folder once; those to what is walked anyway, or
    to what it lies in, are not. A folder that cannot be opened is named in a warning.
    """
    top = Path(os.path.realpath(folder))

    def followed(path: Path) -> bool:
        real = Path(os.path.realpath(path))
        inside = real.is_relative_to(top) or top.is_relative_to(real)
        return not (path.is_symlink() and inside)

    def warn(error: OSError) -> None:
        logger.warning("%s: %s; what is in it is left out", error.filename, error.strerror)

    seen = set()
    for root, folders, names in os.walk(folder, onerror=warn, followlinks=True):
        real = os.path.realpath(root)
        shown = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in shown if followed(Path(root, name))]
        if real in seen:
            folders.clear()
        else:
            yield Path(root), sorted(name for name in names if not name.startswith("."))
        seen.add(real)


@contextmanager
def work_folder(out: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder in `out` to work in; it goes, and with it what killed runs left."""
    for left in out.glob(f".{name}-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out) as folder:
        yield Path(folder)


def escaped(path: Path | str) -> str:
    """Return a path as text that can be written; bytes in it that are not UTF-8 are escaped."""
    return PurePath(path).as_posix().encode(errors="backslashreplace").decode()


def open_text(path: str | Path) -> TextIO:
    """Open a file to write UTF-8 in, lines as they come; what is no text in names is escaped."""
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a machine that dies, finds the old or the new one.

    It is synced to the disk, then renamed.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_text(text, "utf-8")
    sync(unfinished)
    unfinished.replace(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle for a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
