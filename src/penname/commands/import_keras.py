"""`penname import-keras`: a Keras file to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag, say
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.training.keras_options import KerasOptions

    sub.add_argument(
        "model", type=Path, metavar="MODEL", help="a .keras file, or an .h5 file of Keras 2 or 3"
    )
    sub.add_argument(
        "--alphabet",
        required=True,
        metavar="TEXT",
        help="the characters of the network's labels, in order, without the blank",
    )
    out_flag(sub, "the model folder to write")
    add_flags(sub, KerasOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.alphabet import Alphabet
    from penname.training.keras_model import import_keras
    from penname.training.keras_options import KerasOptions

    options = from_flags(KerasOptions, arguments)
    folder = import_keras(
        arguments.model, Alphabet.given(arguments.alphabet), arguments.out, options
    )
    used = folder.training["keras"]
    say(
        f"pictures: {used['image']}, {used['turn']}, {folder.image.max_width} x "
        f"{folder.image.height}; ink and paper are {used['values']}; the blank is "
        f"{used['blank']}; {folder.stride} pixels a frame. "
        "A Keras file does not say these: check what the model reads (docs/keras.md)."
    )
    print(folder.path)
    return 0
