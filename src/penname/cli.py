"""Command line: parse, call, print.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage. A
command imports what it needs, and only the chosen one's flags are built, so reading one picture
never waits for what training needs.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from penname import __version__
from penname.errors import PennameError
from penname.options import add_flags, from_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from penname.recognizer import Prediction

MODEL = "names"
TRAIN_EXTRA = {"onnx", "safetensors", "tensorboard", "torch", "tqdm"}
SHEET = 48  # synthetic crops on a contact sheet
TABLE_HEAD = 1000  # rows that decide the widths of the table's columns


@dataclass(frozen=True)
class Command:
    """A subcommand: one line of help, its flags, and what it does; it returns the exit code."""

    help: str
    flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Raises:
        SystemExit: with 2, for wrong usage.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(words).parse_args(words)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("penname").setLevel(logging.INFO)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except PennameError as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN_EXTRA:
            raise
        return _failed("training needs the train extra: pip install 'penname[train]'")
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _failed("interrupted")
    return code


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for a command line, with the flags of its command alone."""
    chosen = next((word for word in words if not word.startswith("-")), "")
    top = argparse.ArgumentParser("penname", description="Read handwriting from images.")
    top.add_argument("--version", action="version", version=f"penname {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        sub.set_defaults(run=command.run)
        if name == chosen:
            command.flags(sub)
    return top


def _read_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "paths", nargs="+", metavar="PATH", help="an image, folder, pattern or Parquet file"
    )
    _model_flag(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON object per image")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write a table to FILE as well")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pictures")
    sub.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="images read at once (default: 32)"
    )


def _read(arguments: argparse.Namespace) -> int:
    from penname.inputs import Input, expand
    from penname.recognizer import Recognizer

    started = time.perf_counter()
    pictures: Iterable[Input] = expand(arguments.paths)
    recognizer = Recognizer.load(arguments.model)
    if arguments.html:
        pictures = list(pictures)  # the page shows them again
    tally: Counter[str] = Counter()
    predictions = _counted(recognizer.stream(pictures, arguments.batch_size), tally)
    if arguments.csv:
        predictions = _into_csv(predictions, arguments.csv)
    kept = list(predictions) if arguments.html else []
    show = _print_json if arguments.json else _print_table
    show(iter(kept) if arguments.html else predictions)
    if arguments.html:
        from penname.html import predictions_page

        sources = [picture.source for picture in pictures]
        page = predictions_page(list(zip(sources, kept, strict=True)))
        arguments.html.write_text(page, "utf-8")
    _say(
        f"{tally['read']} read, {tally['unreadable']} unreadable, with the model "
        f"{recognizer.name} in {time.perf_counter() - started:.2f} s"
    )
    return 0 if tally["read"] else 1


def _counted(predictions: Iterable[Prediction], tally: Counter[str]) -> Iterator[Prediction]:
    """Pass predictions on, counting them and naming those that could not be read."""
    for prediction in predictions:
        tally["unreadable" if prediction.error else "read"] += 1
        if prediction.error:
            _say(f"penname: {prediction.file}: {prediction.error}")
        yield prediction


def _into_csv(predictions: Iterable[Prediction], file: Path) -> Iterator[Prediction]:
    """Pass predictions on, each also as a row of a CSV file."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "text", "confidence", "error"])
        for prediction in predictions:
            confidence = f"{prediction.confidence:.6f}"
            writer.writerow([prediction.file, prediction.text, confidence, prediction.error])
            yield prediction


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
        print(f"{prediction.file:{file}}  {prediction.text:{text}}  {confidence:>10}")


def _evaluate_flags(sub: argparse.ArgumentParser) -> None:
    from penname.evaluate import EvaluateOptions
    from penname.ground_truth.sources import SourceOptions

    _model_flag(sub)
    sub.add_argument(
        "--data", nargs="+", type=Path, required=True, metavar="PATH", help="ground truth to score"
    )
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    sub.add_argument("--predictions", type=Path, metavar="FILE", help="write every line as CSV")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page")
    sub.add_argument("--markdown", type=Path, metavar="FILE", help="write the report as Markdown")
    add_flags(sub, EvaluateOptions, title="scoring")
    add_flags(sub, SourceOptions, title="columns")


def _evaluate(arguments: argparse.Namespace) -> int:
    from penname.evaluate import EvaluateOptions, evaluate
    from penname.ground_truth.sources import SourceOptions, read_sources
    from penname.recognizer import Recognizer

    report = evaluate(
        Recognizer.load(arguments.model),
        read_sources(arguments.data, from_flags(SourceOptions, arguments)),
        data=" ".join(map(str, arguments.data)),
        options=from_flags(EvaluateOptions, arguments),
    )
    if arguments.predictions:
        report.write_predictions(arguments.predictions)
    if arguments.html:
        arguments.html.write_text(report.to_html(), "utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(report.to_markdown(), "utf-8")
    print(json.dumps(report.to_json(), ensure_ascii=False) if arguments.json else report.table())
    return 0


def _pack_flags(sub: argparse.ArgumentParser) -> None:
    from penname.ground_truth.pack import PackOptions
    from penname.line_image import ImageSpec

    sub.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="a table, folder or Parquet file"
    )
    _out_flag(sub, "where the pack goes")
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    add_flags(sub, PackOptions, title="ground truth")
    add_flags(sub, ImageSpec, title="line images")


def _pack(arguments: argparse.Namespace) -> int:
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


def _train_flags(sub: argparse.ArgumentParser) -> None:
    from penname.training.options import TrainOptions

    sub.add_argument(
        "--pack", action="append", type=Path, required=True, metavar="DIR", help="may be repeated"
    )
    _out_flag(sub, "where checkpoints and metrics go")
    sub.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    sub.add_argument("--from", dest="start", metavar="MODEL", help="fine-tune this model")
    add_flags(sub, TrainOptions, title="training")


def _train(arguments: argparse.Namespace) -> int:
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
        _say(f"finished; next: penname export --checkpoint {arguments.out} --out DIR --name NAME")
    return 0


def _export_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="the --out of a training run"
    )
    _out_flag(sub, "the model folder to write")
    sub.add_argument("--name", required=True, help="what the model calls itself")
    sub.add_argument(
        "--language", type=Path, metavar="FILE", help="let decoding prefer these texts: name,count"
    )
    sub.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="ground truth that was not trained on, to calibrate the confidence",
    )


def _export(arguments: argparse.Namespace) -> int:
    from penname.training.export import export_model

    folder = export_model(
        arguments.checkpoint,
        arguments.out,
        arguments.name,
        language=arguments.language,
        calibration=arguments.calibrate,
    )
    print(folder.path)
    return 0


def _synth_flags(sub: argparse.ArgumentParser) -> None:
    from penname.line_image import ImageSpec
    from penname.synthesis.generate import SynthOptions

    _out_flag(sub, "where the pack goes")
    sub.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="names, fonts, glyphs and strokes"
    )
    sub.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet (PNG) too")
    sub.add_argument("--real", type=Path, metavar="FILE", help="real crops beside it (Parquet)")
    add_flags(sub, SynthOptions, title="synthesis")
    add_flags(sub, ImageSpec, title="line images")


def _synth(arguments: argparse.Namespace) -> int:
    from penname.line_image import ImageSpec
    from penname.synthesis.generate import Kit, SynthOptions, synthesise
    from penname.synthesis.sheet import contact_sheet

    options, spec = from_flags(SynthOptions, arguments), from_flags(ImageSpec, arguments)
    lines = synthesise(arguments.out, options, arguments.data, spec, progress=_progress)
    if arguments.sheet:
        kit = Kit(arguments.data, options.flatten)
        contact_sheet(arguments.sheet, SHEET, arguments.real, kit=kit, options=options)
    _say(f"{lines:,} pictures in {arguments.out}")
    return 0


def _model_flag(sub: argparse.ArgumentParser) -> None:
    text = f"an included model or a model folder (default: {MODEL})"
    sub.add_argument("--model", default=MODEL, metavar="NAME|DIR", help=text)


def _out_flag(sub: argparse.ArgumentParser, text: str) -> None:
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help=text)


def _progress(done: int, total: int) -> None:
    """Count on one line of a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,}", end=end, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _failed(text: str) -> int:
    _say("penname: error: " + " ".join(text.split()))
    return 1


COMMANDS = {
    "read": Command("Read images and print what is written in them.", _read_flags, _read),
    "evaluate": Command("Score a model on ground truth.", _evaluate_flags, _evaluate),
    "pack": Command("Make a pack for training from ground truth.", _pack_flags, _pack),
    "train": Command("Train a model on packs.", _train_flags, _train),
    "export": Command("Make a model folder from a training run.", _export_flags, _export),
    "synth": Command("Make a pack of synthetic names.", _synth_flags, _synth),
}
