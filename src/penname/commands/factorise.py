"""`penname factorise`: a model folder with fewer multiplications, in place, to be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penname.commands.common import change_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    change_flags(sub)
    sub.add_argument(
        "--share",
        type=float,
        default=0.45,
        metavar="X",
        help="of the multiplications of a convolution that its factors may take (default 0.45)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.inputs import expand
    from penname.training.export import changed
    from penname.training.factorise import factorise

    with changed(arguments.model) as folder:
        factorise(folder, expand(arguments.pictures), arguments.share)
    print(arguments.model)
    return 0
