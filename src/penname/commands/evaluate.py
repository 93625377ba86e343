"""`penname evaluate`: a model scored on ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import check_outputs, load_recognizer, recognizer_flags, say
from penname.files import open_text
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    import argparse


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.evaluate import EvaluateOptions
    from penname.ground_truth.sources import GroupedSourceOptions

    recognizer_flags(sub)
    sub.add_argument(
        "--data", nargs="+", type=Path, required=True, metavar="PATH", help="ground truth to score"
    )
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    sub.add_argument("--slices", action="store_true", help="print all slices, not the hard alone")
    sub.add_argument("--predictions", type=Path, metavar="FILE", help="write every line as CSV")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page")
    sub.add_argument("--markdown", type=Path, metavar="FILE", help="write the report as Markdown")
    add_flags(sub, EvaluateOptions, title="scoring")
    add_flags(sub, GroupedSourceOptions, title="columns")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.evaluate import EvaluateOptions, evaluate
    from penname.ground_truth.sources import GroupedSourceOptions, read_sources, table_files

    outputs = (arguments.predictions, arguments.html, arguments.markdown)
    columns = from_flags(GroupedSourceOptions, arguments)
    check_outputs(outputs, [*table_files(arguments.data, columns), arguments.lexicon])
    report = evaluate(
        load_recognizer(arguments),
        read_sources(arguments.data, columns),
        data=" ".join(map(str, arguments.data)),
        options=from_flags(EvaluateOptions, arguments),
    )
    if arguments.predictions:
        report.write_predictions(arguments.predictions)
    if arguments.html:
        with open_text(arguments.html) as stream:
            stream.write(report.to_html())
    if arguments.markdown:
        with open_text(arguments.markdown) as stream:
            stream.write(report.to_markdown())
    if arguments.json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        print(report.table(slices=arguments.slices))
    unreadable = [line for line in report.lines if line.error]
    for line in unreadable:
        say(f"{line.row}: {line.file}: {line.error}")
    return int(len(unreadable) == len(report.lines))
