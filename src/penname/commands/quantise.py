"""`penname quantise`: a model folder made faster, in place."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import say
from penname.errors import OptionError

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    sub.add_argument("model", type=Path, metavar="DIR", help="the model folder to change")
    sub.add_argument(
        "--pictures",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, folders, patterns or Parquet files like those to be read; 512 are used",
    )
    sub.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="ground truth that was not trained on, to calibrate the confidence again",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.calibrate import calibrate
    from penname.ground_truth.sources import SourceOptions, read_sources
    from penname.inputs import expand
    from penname.model_folder import INCLUDED, ModelFolder, included
    from penname.training.export import move_into
    from penname.training.quantise import quantise

    out: Path = arguments.model
    if not out.exists() and out.name in included():
        raise OptionError(f"included models stay as they are; copy {INCLUDED / out.name} first")
    ModelFolder.load(out)
    with tempfile.TemporaryDirectory(prefix=".quantise-", dir=out) as partial:
        for file in filter(Path.is_file, out.iterdir()):
            shutil.copyfile(file, Path(partial) / file.name)
        folder = ModelFolder.load(Path(partial))
        agreement = quantise(folder, expand(arguments.pictures))
        say(f"{agreement:.1%} of the pictures read as before, greedily")
        if arguments.calibrate:
            folder = calibrate(folder, read_sources(arguments.calibrate, SourceOptions()))
        move_into(folder, out)
    print(out)
    return 0
