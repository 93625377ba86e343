"""`penname synth`: synthetic line images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import check_outputs, out_flag, progress, say
from penname.errors import OptionError
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse

SHEET = 48  # synthetic crops on a contact sheet


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.line_image import ImageSpec
    from penname.synthesis.kit import SynthOptions

    out_flag(sub, "where the pack goes")
    sub.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="names, fonts, glyphs and strokes"
    )
    sub.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet (PNG) too")
    sub.add_argument("--real", type=Path, metavar="PATH", help="real crops beside it")
    add_flags(sub, SynthOptions, title="synthesis")
    add_flags(sub, ImageSpec, title="line images")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.ground_truth.pack_folder import check_free
    from penname.line_image import ImageSpec
    from penname.synthesis.generate import synthesise
    from penname.synthesis.kit import Kit, SynthOptions
    from penname.synthesis.sheet import contact_sheet

    options, spec = from_flags(SynthOptions, arguments), from_flags(ImageSpec, arguments)
    if arguments.real and not arguments.sheet:
        raise OptionError("--real crops are shown on a contact sheet: give --sheet FILE")
    if arguments.sheet and arguments.sheet.suffix.lower() != ".png":
        raise OptionError(f"{arguments.sheet}: a contact sheet is a PNG; name it .png")
    check_free(arguments.out)
    kit = Kit(arguments.data, options.flatten, options.text)
    if arguments.sheet:
        check_outputs([arguments.sheet], [], never=())
        if arguments.sheet.resolve().is_relative_to(arguments.out.resolve()):
            raise OptionError(f"{arguments.sheet} lies in {arguments.out}; write it elsewhere")
        contact_sheet(arguments.sheet, SHEET, arguments.real, kit=kit, options=options)
    lines = synthesise(arguments.out, options, arguments.data, spec, kit=kit, progress=progress)
    say(f"{lines:,} pictures in {arguments.out}")
    return 0
