"""Files opened for text, and files that are whole or not there: synced to disk, then renamed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path


def open_text(path: str | Path) -> TextIO:
    """Open a file to write UTF-8 in, lines as they come; what is no text in names is escaped."""
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a machine that dies, finds the old or the new one."""
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
