"""`penname train`: packs to a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag, say
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.training.options import TrainOptions

    sub.add_argument(
        "--pack", action="append", type=Path, required=True, metavar="DIR", help="may be repeated"
    )
    out_flag(sub, "where checkpoints and metrics go")
    sub.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    sub.add_argument("--from", dest="start", metavar="MODEL", help="fine-tune this model")
    add_flags(sub, TrainOptions, title="training")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.training.loop import train
    from penname.training.options import TrainOptions
    from penname.training.start import from_model, no_start

    state = train(
        arguments.pack,
        arguments.out,
        from_flags(TrainOptions, arguments),
        resume=arguments.resume,
        start=from_model(arguments.start) if arguments.start else no_start,
    )
    if state.finished:
        say(f"finished; next: penname export --checkpoint {arguments.out} --out DIR --name NAME")
    return 0
