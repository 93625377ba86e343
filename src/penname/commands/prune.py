"""`penname prune`: a model folder with fewer LSTM cells, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penname.commands.common import change_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    change_flags(sub)
    sub.add_argument(
        "--cells",
        type=int,
        required=True,
        metavar="N",
        help="that stay in each direction of an LSTM layer",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.inputs import expand
    from penname.training.export import changed
    from penname.training.prune import prune

    with changed(arguments.model) as folder:
        prune(folder, expand(arguments.pictures), arguments.cells)
    print(arguments.model)
    return 0
