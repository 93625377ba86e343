"""`penname audit`: ground truth that is probably wrong, and corrections put over it."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import MODEL, check_outputs, model_flag, say
from penname.errors import OptionError
from penname.files import open_text
from penname.options import add_flags, from_flags, to_flags

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from penname.audit import Audit
    from penname.ground_truth.sources import GroundTruth, GroupedSourceOptions

HEAD = 20  # rows of the table that is printed
CROSS_FIT = ("work", "start", "language", "epochs")  # for --cross-fit alone
JUDGING = ("csv", "html", "json", "cross_fit", *CROSS_FIT)  # not for --apply
EPOCHS = 40  # of each cross-fitted model


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from penname.ground_truth.sources import GroupedSourceOptions

    model_flag(sub)
    add = sub.add_argument
    add("--data", nargs="+", type=Path, required=True, metavar="PATH", help="ground truth to judge")
    add(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write file,text,suggestion,score of every line judged",
    )
    add("--html", type=Path, metavar="FILE", help="write a page to review and correct on")
    add("--json", action="store_true", help="print the audit as JSON")
    crossed = sub.add_argument_group(
        "cross-fitting: models that were not trained on what they judge"
    )
    add = crossed.add_argument
    add("--cross-fit", type=int, default=0, metavar="K", help="train K, each without a K-th part")
    add("--work", type=Path, metavar="DIR", help="where they are trained; goes on where it stopped")
    add(
        "--from",
        dest="start",
        metavar="MODEL",
        help="fine-tune this model, not trained on the data",
    )
    text = "texts that decoding prefers, a list as of export (default: those of the other parts)"
    add("--language", type=Path, metavar="FILE", help=text)
    text = f"passes over their lines (default: {EPOCHS})"
    add("--epochs", type=int, metavar="N", help=text)
    review = sub.add_argument_group("after review")
    add = review.add_argument
    add("--apply", type=Path, metavar="FILE", help="a reviewed CSV, with a column correction")
    add("--out", type=Path, metavar="FILE", help="the corrected ground truth, .parquet or .csv")
    add_flags(sub, GroupedSourceOptions, title="columns")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if bool(arguments.apply) != bool(arguments.out):
        raise OptionError("--apply and --out go together: a reviewed CSV, and the table to write")
    if arguments.apply:
        return _apply(arguments)
    _check_cross_fit(arguments)
    check_outputs([arguments.csv, arguments.html], [*_tables(arguments), arguments.language])
    audit = _audit(arguments)
    for line in audit.aside:
        say(f"set aside: {line.row}: {line.aside}")
    if arguments.html:  # before the CSV, as it reads the data again, which may lie beside it
        _write_page(audit, arguments)
    if arguments.csv:
        _write_csv(audit, arguments.csv)
    if arguments.json:
        print(json.dumps(audit.to_json(), ensure_ascii=False))
    else:
        _print_table(audit)
    return 0


def _check_cross_fit(arguments: argparse.Namespace) -> None:
    if not arguments.cross_fit and any(getattr(arguments, name) for name in CROSS_FIT):
        raise OptionError(
            "--work, --from, --language and --epochs are of --cross-fit: give it a number"
        )
    if arguments.cross_fit and (not arguments.work or arguments.model != MODEL):
        raise OptionError("--cross-fit trains its own models: give --work, and no --model")


def _columns(arguments: argparse.Namespace) -> GroupedSourceOptions:
    from penname.ground_truth.sources import GroupedSourceOptions

    return from_flags(GroupedSourceOptions, arguments)


def _lines(arguments: argparse.Namespace) -> Iterable[GroundTruth]:
    from penname.ground_truth.sources import read_sources

    return read_sources(arguments.data, _columns(arguments))


def _tables(arguments: argparse.Namespace) -> list[Path]:
    from penname.ground_truth.sources import table_files

    return table_files(arguments.data, _columns(arguments))


def _audit(arguments: argparse.Namespace) -> Audit:
    from penname.audit import audit, judge, rank
    from penname.recognizer import Recognizer

    if not arguments.cross_fit:
        return audit(Recognizer.load(arguments.model), _lines(arguments))
    from penname.training.cross_fit import cross_fit

    folds = cross_fit(
        lambda: _lines(arguments),
        arguments.work,
        arguments.cross_fit,
        epochs=EPOCHS if arguments.epochs is None else arguments.epochs,
        start=arguments.start,
        language=arguments.language,
    )
    judged = (x for model, held in folds for x in judge(Recognizer.load(model), held))
    return rank(judged, f"{arguments.cross_fit} cross-fitted models")


def _write_csv(audit: Audit, file: Path) -> None:
    with open_text(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "text", "suggestion", "score"])
        for x in audit.findings:
            writer.writerow([x.file, x.text, x.suggestion, f"{x.score:.6f}"])


def _write_page(audit: Audit, arguments: argparse.Namespace) -> None:
    from penname.audit_page import LINES, audit_page

    shown = {finding.order for finding in audit.findings[:LINES]}
    numbered = enumerate(_lines(arguments))
    pictures = {order: line.image for order, line in numbered if order in shown}
    data = list(map(str, arguments.data))
    apply = ["penname", "audit", "--data", *data, *to_flags(_columns(arguments))]
    apply += ["--apply", "reviewed.csv", "--out", "corrected.parquet"]
    page = audit_page(audit, " ".join(data), shlex.join(apply), pictures)
    with open_text(arguments.html) as stream:
        stream.write(page)


def _print_table(audit: Audit) -> None:
    from penname.report import aligned

    head = [["score", "text", "suggestion", "line", "reason"]]
    head += [
        [f"{x.score:.3f}", x.text, x.suggestion, x.row, x.reason] for x in audit.findings[:HEAD]
    ]
    print(aligned(head))
    say(
        f"{len(audit.findings):,} lines judged with {audit.model}, {len(audit.aside):,} set aside, "
        f"{len(audit.leaks):,} pictures nearly the same as one in another part"
    )


def _apply(arguments: argparse.Namespace) -> int:
    from penname.ground_truth.corrections import Corrections, write_table
    from penname.line_image import SUFFIXES

    if any(getattr(arguments, name) for name in JUDGING):
        raise OptionError("--apply judges nothing: give it --data and --out alone")
    check_outputs([arguments.out], [*_tables(arguments), arguments.apply], never=SUFFIXES)
    corrections = Corrections.read(arguments.apply)
    number = write_table(corrections.apply(_lines(arguments)), arguments.out)
    for row in corrections.aside:
        say(f"set aside: {row}")
    say(
        f"{corrections.changed:,} of {number:,} lines changed, {len(corrections.aside):,} set aside"
    )
    print(arguments.out)
    return 0
