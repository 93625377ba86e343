"""`penname train-language`: texts to a language network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.training.language_options import LanguageOptions

    sub.add_argument(
        "--language", type=Path, required=True, metavar="FILE", help="texts to learn: name,count"
    )
    sub.add_argument(
        "--text",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="running text to learn too, such as novels, a paragraph a line",
    )
    sub.add_argument(
        "--alphabet", required=True, metavar="STR", help="the characters of the model it is for"
    )
    out_flag(sub, "where checkpoints and language.onnx go")
    sub.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    add_flags(sub, LanguageOptions, title="training")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.alphabet import Alphabet
    from penname.training.language_network import FILE, train_language
    from penname.training.language_options import LanguageOptions

    finished = train_language(
        arguments.language,
        arguments.text,
        Alphabet.given(arguments.alphabet),
        arguments.out,
        from_flags(LanguageOptions, arguments),
        resume=arguments.resume,
    )
    if finished:
        print(arguments.out / FILE)
    return 0
