"""`penname train`: packs to a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag, say
from penname.errors import OptionError
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse

    from penname.training.options import TrainOptions


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.training.options import SelfOptions, TrainOptions

    sub.add_argument(
        "--pack", action="append", type=Path, required=True, metavar="DIR", help="may be repeated"
    )
    out_flag(sub, "where checkpoints and metrics go")
    sub.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    sub.add_argument("--from", dest="start", metavar="MODEL", help="fine-tune this model")
    sub.add_argument("--teacher", metavar="MODEL", help="learn this model's frames too")
    sub.add_argument(
        "--unlabelled",
        type=Path,
        metavar="DIR",
        help="learn also from this pack's lines without a text, those that the model of --from "
        "reads surely; --mix has a number for them, the last",
    )
    add_flags(sub, SelfOptions, title="self-training")
    add_flags(sub, TrainOptions, title="training")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.model_folder import ModelFolder
    from penname.training.device import find_device
    from penname.training.loop import train
    from penname.training.options import SelfOptions, TrainOptions
    from penname.training.run import check_models

    started = time.monotonic()
    options = from_flags(TrainOptions, arguments)
    if arguments.sure != SelfOptions.sure and not arguments.unlabelled:
        raise OptionError("--sure is of the lines of an --unlabelled pack; name one")
    start = ModelFolder.load(arguments.start) if arguments.start else None
    teacher = ModelFolder.load(arguments.teacher) if arguments.teacher else None
    check_models(options, start, teacher)  # before all lines of a pack are read
    find_device(options.device)
    packs = arguments.pack + ([_self_pack(arguments, options)] if arguments.unlabelled else [])
    state = train(
        packs,
        arguments.out,
        options,
        resume=arguments.resume,
        start=start,
        teacher=teacher,
        started=started,
    )
    if state.finished:
        say(f"finished; next: penname export --checkpoint {arguments.out} --out DIR --name NAME")
    return 0


def _self_pack(arguments: argparse.Namespace, options: TrainOptions) -> Path:
    """Return the pack of the unlabelled lines that the model reads surely."""
    from penname.training.loop import alone
    from penname.training.options import SelfOptions
    from penname.training.self_training import report, self_pack

    if not arguments.start:
        raise OptionError("--unlabelled needs a model that reads the lines; give --from MODEL")
    with alone(arguments.out):
        pack = self_pack(
            arguments.pack,
            arguments.unlabelled,
            arguments.out,
            arguments.start,
            options,
            from_flags(SelfOptions, arguments),
            resume=arguments.resume,
        )
    say(report(pack))
    return pack.path
