"""`penname pack`: ground truth made into a pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.ground_truth.pack import PackOptions
    from penname.line_image import ImageSpec

    sub.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="a table, folder or Parquet file"
    )
    out_flag(sub, "where the pack goes")
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    add_flags(sub, PackOptions, title="ground truth")
    add_flags(sub, ImageSpec, title="line images")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.ground_truth.pack import PackOptions, write_pack
    from penname.line_image import ImageSpec

    report = write_pack(
        arguments.sources,
        arguments.out,
        from_flags(PackOptions, arguments),
        from_flags(ImageSpec, arguments),
        progress=True,
    )
    print(json.dumps(report.to_json(), ensure_ascii=False) if arguments.json else report.table())
    return 0
