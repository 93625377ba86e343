"""What several commands share: flags, and what is said on stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penname.errors import OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from penname.recognizer import Recognizer

MODEL = "names"
RUNTIME = "onnxruntime"


def model_flag(sub: argparse.ArgumentParser) -> None:
    """Declare `--model`."""
    text = f"an included model or a model folder (default: {MODEL})"
    sub.add_argument("--model", default=MODEL, metavar="NAME|DIR", help=text)


def recognizer_flags(sub: argparse.ArgumentParser) -> None:
    """Declare `--model`, `--runtime`, `--quick` and `--lexicon`: what `load_recognizer` takes."""
    model_flag(sub)
    text = f"{RUNTIME} (default), or openvino: an extra, faster with AMX and hundreds of images"
    sub.add_argument("--runtime", default=RUNTIME, metavar="NAME", help=text)
    sub.add_argument(
        "--quick",
        action="store_true",
        help="look at each line once: with latin a third of the time, a seventh more errors; names "
        "in five ninths of the time, 94 instead of 98 %% right",
    )
    sub.add_argument(
        "--lexicon",
        type=Path,
        metavar="FILE",
        help="names to look for: one a line, or a CSV with name and count",
    )
    sub.add_argument(
        "--lexicon-mode",
        choices=("open", "strict"),
        default="open",
        help="open: prefer these names; strict: write no other (default: open)",
    )


def load_recognizer(arguments: argparse.Namespace) -> Recognizer:
    """Return the recognizer that the flags ask for."""
    from penname.recognizer import Recognizer

    if arguments.lexicon_mode == "strict" and not arguments.lexicon:
        raise OptionError("--lexicon-mode strict writes the names of a list: give --lexicon FILE")
    recognizer = Recognizer.load(arguments.model, runtime=arguments.runtime)
    if arguments.lexicon:
        strict = arguments.lexicon_mode == "strict"
        recognizer = recognizer.with_lexicon(arguments.lexicon, strict=strict)
    return recognizer.quick() if arguments.quick else recognizer


def check_outputs(
    outputs: Iterable[Path | None],
    inputs: Iterable[Path | str | None],
    *,
    never: tuple[str, ...] | None = None,
) -> None:
    """Refuse files that cannot be written, or would be written over each other or what is read.

    Nor are they written with one of the suffixes `never`, those of pictures and Parquet: of
    `--csv *.jpg` a shell makes the first picture the table, and the others are what is read.

    Raises:
        OptionError: naming the file.
    """
    from penname.inputs import PARQUET, matching
    from penname.line_image import SUFFIXES

    never = (*SUFFIXES, PARQUET) if never is None else never
    read = {_identity(each) for path in inputs if path for each in (path, *matching(path))}
    written = set[tuple[int, int] | str]()
    for file in filter(None, outputs):
        identity = _identity(file)
        if not file.parent.is_dir():
            raise OptionError(f"{file}: there is no folder {file.parent}; make it first")
        if file.is_dir():
            raise OptionError(f"{file} is a folder; name a file to write")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise OptionError(f"{file} may not be written; choose another file")
        if identity in read:
            raise OptionError(f"{file} is read here; choose another file to write")
        if file.suffix.lower() in never:
            raise OptionError(f"{file} has the name of pictures; choose another file to write")
        if identity in written and (file.is_file() or not file.exists()):  # /dev/null may be
            raise OptionError(f"{file} would be written twice; name another file")
        written.add(identity)


def _identity(path: Path | str) -> tuple[int, int] | str:
    """Return what is the same for all links to a file, or the path that one would have."""
    try:
        found = os.stat(path)  # noqa: PTH116  # of patterns, too, which are no paths
    except (OSError, ValueError):
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def change_flags(sub: argparse.ArgumentParser) -> None:
    """Declare a model folder that is changed in place, and `--pictures` by which it is."""
    sub.add_argument("model", type=Path, metavar="DIR", help="the model folder to change")
    sub.add_argument(
        "--pictures",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, folders, patterns or Parquet files like those to be read; 512 are used",
    )


def out_flag(sub: argparse.ArgumentParser, text: str) -> None:
    """Declare `--out`, which must be given."""
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help=text)


def progress(done: int, total: int) -> None:
    """Count on one line of a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,}", end=end, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print on stderr: what is not data."""
    print(text, file=sys.stderr)
