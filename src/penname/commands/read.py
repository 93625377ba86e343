"""`penname read`: images in, what is written in them out."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from penname.commands.common import check_outputs, load_recognizer, recognizer_flags, say
from penname.files import open_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from penname.inputs import Input
    from penname.line_image import Source
    from penname.recognizer import Prediction

TABLE_HEAD = 1000  # rows that decide the widths of the table's columns


def flags(sub: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    sub.add_argument(
        "paths", nargs="+", metavar="PATH", help="an image, folder, pattern or Parquet file"
    )
    recognizer_flags(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON object per image")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write a table to FILE as well")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page to check readings on")
    sub.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="images read at once (default: 16)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from penname.inputs import expand

    check_outputs([arguments.csv, arguments.html], [*arguments.paths, arguments.lexicon])
    started = time.perf_counter()
    pictures = expand(arguments.paths)
    shown: list[Source] = []
    recognizer = load_recognizer(arguments)
    if arguments.html:
        pictures = _noted(pictures, shown)
    tally: Counter[str] = Counter()
    predictions = _counted(recognizer.stream(pictures, arguments.batch_size), tally)
    if arguments.csv:
        predictions = _into_csv(predictions, arguments.csv)
    kept = list(predictions) if arguments.html else []
    show = _print_json if arguments.json else _print_table
    show(iter(kept) if arguments.html else predictions)
    if arguments.html:
        from penname.predictions_page import predictions_page

        page = predictions_page(list(zip(shown, kept, strict=True)))
        with open_text(arguments.html) as stream:
            stream.write(page)
    say(
        f"{tally['read']} read, {tally['unreadable']} unreadable, with the model "
        f"{recognizer.name} in {time.perf_counter() - started:.2f} s"
    )
    return 0 if tally["read"] else 1


def _noted(pictures: Iterator[Input], shown: list[Source]) -> Iterator[Input]:
    """Pass pictures on, and note what the page shows again: pages of a scan as small pictures."""
    from penname.html import small

    for picture in pictures:
        is_kept = isinstance(picture.source, str | Path | bytes)
        shown.append(picture.source if is_kept else small(picture.source))
        yield picture


def _counted(predictions: Iterable[Prediction], tally: Counter[str]) -> Iterator[Prediction]:
    """Pass predictions on, counting them and naming those that could not be read."""
    for prediction in predictions:
        tally["unreadable" if prediction.error else "read"] += 1
        if prediction.error:
            say(f"penname: {prediction.file}: {prediction.error}")
        yield prediction


def _into_csv(predictions: Iterable[Prediction], file: Path) -> Iterator[Prediction]:
    """Pass predictions on, each also as a row of a CSV file; say so when it is not whole."""
    rows = 0
    with open_text(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "text", "confidence", "error", "reason"])
        try:
            for prediction in predictions:
                confidence = f"{prediction.confidence:.6f}"
                why = [prediction.error, prediction.reason]
                writer.writerow([prediction.file, prediction.text, confidence, *why])
                rows += 1
                yield prediction
        except BaseException:  # GeneratorExit too: whoever read our output has seen enough
            say(f"penname: {file} has the first {rows:,} pictures alone")
            raise


def _print_json(predictions: Iterator[Prediction]) -> None:
    for prediction in predictions:
        print(json.dumps(prediction.to_json(), ensure_ascii=False))


def _print_table(predictions: Iterator[Prediction]) -> None:
    head = list(islice(predictions, TABLE_HEAD))
    file = max(len("file"), *(len(prediction.file) for prediction in head), 0)
    text = max(len("text"), *(len(prediction.text) for prediction in head), 0)
    print(f"{'file':{file}}  {'text':{text}}  confidence")
    for prediction in chain(head, predictions):
        confidence = "unreadable" if prediction.error else f"{prediction.confidence:.3f}"
        cells = f"{prediction.file:{file}}  {prediction.text:{text}}  {confidence:>10}"
        print(f"{cells}  {prediction.reason}".rstrip())
