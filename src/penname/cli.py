"""Command line: parse, call, print.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage. Each
command is a module of `penname.commands`; only the chosen one is imported, so reading one picture
never waits for what training needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from penname import __version__
from penname.commands.common import say
from penname.errors import OptionError, PennameError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "read": "Read images and print what is written in them.",
    "evaluate": "Score a model on ground truth.",
    "audit": "Rank ground truth by how likely it is to be wrong, and correct it.",
    "pack": "Make a pack for training from ground truth.",
    "train": "Train a model on packs.",
    "sweep": "Train with various options on the same packs and compare.",
    "export": "Make a model folder from a training run.",
    "quantise": "Make a model folder read faster, with 8-bit integers.",
    "factorise": "Make a model folder with fewer multiplications, to be trained on.",
    "prune": "Make a model folder with fewer LSTM cells.",
    "import-keras": "Make a model folder from a Keras file.",
    "synth": "Make a pack of synthetic names or lines.",
}
TRAIN_EXTRA = {"filelock", "onnx", "safetensors", "tensorboard", "torch", "tqdm", "yaml"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Raises:
        SystemExit: with 2, for wrong usage.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be text
        encoding = None if sys.stdout.isatty() else "utf-8"  # a file's, whatever a terminal's is
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    arguments = parser(words).parse_args(words)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("penname").setLevel(logging.INFO)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except OptionError as error:
        return _failed(str(error), code=2)
    except PennameError as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "h5py":
            return _failed(
                "Keras files need the keras extra: pip install '.[keras]' in penname's folder"
            )
        if package not in TRAIN_EXTRA:
            raise
        return _failed(
            f"{words[0]} needs the train extra: pip install '.[train]' in penname's folder"
        )
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _failed("interrupted")
    return code


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for a command line, with the flags of its command alone."""
    chosen = next((word for word in words if not word.startswith("-")), "")
    top = argparse.ArgumentParser("penname", description="Read handwriting from images.")
    top.add_argument("--version", action="version", version=f"penname {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if name == chosen:
            command = import_module(f"penname.commands.{name.replace('-', '_')}")
            command.flags(sub)
            sub.set_defaults(run=command.run)
    return top


def _failed(text: str, code: int = 1) -> int:
    say("penname: error: " + " ".join(text.split()))
    return code
