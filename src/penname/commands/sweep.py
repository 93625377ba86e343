"""`penname sweep`: training runs with various options, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import out_flag, say

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    sub.add_argument("file", type=Path, metavar="FILE.yaml", help="seeds, options, grid or runs")
    sub.add_argument(
        "--pack", action="append", type=Path, required=True, metavar="DIR", help="may be repeated"
    )
    out_flag(sub, "where the runs, sweep.html and sweep.json go")
    sub.add_argument(
        "--from", dest="start", default="", metavar="MODEL", help="fine-tune this model"
    )
    sub.add_argument(
        "--device",
        action="append",
        help="where to train, as cpu or cuda:1; give it again to train at once on several, or "
        "several on one (default: auto)",
    )
    sub.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.training.sweep import sweep

    report = sweep(
        arguments.file,
        arguments.pack,
        arguments.out,
        start=arguments.start,
        devices=arguments.device or ["auto"],
        say=say,
    )
    print(json.dumps(report.to_json()) if arguments.json else report.table())
    if report.unfinished:
        say(f"{report.unfinished} runs are not finished; the same command goes on with them")
    return 1 if any(result.error for result in report.results) else 0
