"""`penname export`: a run to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.beam import DecodingOptions
from penname.commands.common import out_flag
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.ground_truth.sources import SourceOptions

    sub.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="the --out of a training run"
    )
    out_flag(sub, "the model folder to write")
    sub.add_argument("--name", required=True, help="what the model calls itself")
    sub.add_argument(
        "--language",
        type=Path,
        metavar="FILE",
        help="let decoding prefer these texts, one a line, or a CSV with name and count",
    )
    sub.add_argument(
        "--text",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="running text to count word bigrams in, a paragraph a line; with --word-share",
    )
    sub.add_argument(
        "--second",
        metavar="MODEL",
        help="look again at what is doubtful with this model's network (of two, the second)",
    )
    sub.add_argument(
        "--fast",
        metavar="MODEL",
        help="let the network of this faster model (of two, the fast one) read first, and this one "
        "what that doubts",
    )
    sub.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="ground truth that was not trained on, to calibrate the confidence",
    )
    add_flags(sub, SourceOptions, title="columns of --calibrate")
    add_flags(sub, DecodingOptions, title="decoding, with a --language")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.ground_truth.sources import SourceOptions
    from penname.training.export import export_model

    folder = export_model(
        arguments.checkpoint,
        arguments.out,
        arguments.name,
        language=arguments.language,
        running=arguments.text,
        decoding=from_flags(DecodingOptions, arguments),
        second=arguments.second,
        fast=arguments.fast,
        calibration=arguments.calibrate,
        columns=from_flags(SourceOptions, arguments),
    )
    print(folder.path)
    return 0
