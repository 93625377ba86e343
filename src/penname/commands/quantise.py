"""`penname quantise`: a model folder made faster, in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import change_flags, say
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.ground_truth.sources import SourceOptions

    change_flags(sub)
    sub.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="ground truth that was not trained on, to calibrate the confidence again",
    )
    add_flags(sub, SourceOptions, title="columns of --calibrate")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.calibrate import calibrate
    from penname.ground_truth.sources import SourceOptions, read_sources
    from penname.inputs import expand
    from penname.training.export import changed
    from penname.training.quantise import quantise

    columns = from_flags(SourceOptions, arguments)
    with changed(arguments.model) as folder:
        agreement = quantise(folder, expand(arguments.pictures))
        say(f"{agreement:.1%} of the pictures read as before, greedily")
        if arguments.calibrate:
            calibrate(folder, read_sources(arguments.calibrate, columns))
    print(arguments.model)
    return 0
