"""What is read where there is nothing to read: erased, struck out and half seen names.

    python benchmarks/nothing_to_read.py --data verified.parquet [--names FILE] [--sheet FILE]

From real crops: the name erased piece by piece (print, page numbers and cut pieces of other lines
stay; crops of which nothing stays are left out), struck out by a line, two lines or a zigzag, or
cut through the middle of its height. `--names` reads with an open lexicon, which knows that fields
may be empty. `--sheet` draws the surest readings of the erased crops, for what the eraser missed.
"""

from __future__ import annotations

import argparse
import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from penname.ground_truth.sources import SourceOptions, read_sources
from penname.line_image import INK, PAPER, Grey, decode
from penname.recognizer import Prediction, Recognizer
from penname.slices import pieces

PEN = 2  # pixels, width of the lines that strike out
MARGIN = 8  # pixels around a name


def name_box(grey: Grey, prediction: Prediction, scale: float) -> tuple[int, int, int, int]:
    """Return left, right, top and bottom of the name: its spans, and its tall pieces of ink."""
    left = round(prediction.characters[0].start / scale) - MARGIN
    right = round(prediction.characters[-1].end / scale) + MARGIN
    box, _ = _boxes(grey)
    within = (box[:, 1] > left) & (box[:, 0] < right) & (box[:, 3] - box[:, 2] >= 12)
    if not within.any():
        return left, right, 0, grey.shape[0]
    top, bottom = np.median(box[within, 2]), np.median(box[within, 3])
    return left, right, int(top), int(bottom)


def _boxes(grey: Grey) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return left, right, top and bottom of each piece of ink (P, 4), and its runs."""
    runs = pieces(grey < 170)  # with the grey edges of strokes
    piece, rows, starts, ends = runs
    box = np.zeros((int(piece.max(initial=-1)) + 1, 4), int)
    box[:, [0, 2]] = 1 << 30
    np.minimum.at(box[:, 0], piece, starts)
    np.maximum.at(box[:, 1], piece, ends)
    np.minimum.at(box[:, 2], piece, rows)
    np.maximum.at(box[:, 3], piece, rows + 1)
    return box, runs


def erased(grey: Grey, box: tuple[int, int, int, int]) -> Grey | None:
    """Return the crop without the pieces of its name, or None where nothing else is in it."""
    left, right, top, bottom = box
    boxes, (piece, rows, starts, ends) = _boxes(grey)
    middle = boxes[:, 2:].mean(axis=1)
    tall = boxes[:, 3] - boxes[:, 2] > 12
    gone = (boxes[:, :2].mean(axis=1) >= left) & (boxes[:, 0] < right + 30)
    gone &= tall | ((middle >= top - 5) & (middle <= bottom + 5))
    out = grey.copy()
    for run in np.flatnonzero(gone[piece]):
        row, start = rows[run], starts[run]
        out[max(row - 2, 0) : row + 3, max(start - 2, 0) : ends[run] + 2] = PAPER
    return out if (out < INK).sum() >= 20 else None


def struck(grey: Grey, box: tuple[int, int, int, int], lines: int) -> Grey:
    """Return the crop with its name struck out by one or two lines, by a zigzag for three."""
    left, right, top, bottom = box
    middle, picture = (top + bottom) / 2, Image.fromarray(grey)
    draw = ImageDraw.Draw(picture)
    if lines == 3:
        across = np.arange(left, right, 5)
        points = [(x, middle + (8 if i % 2 else -8)) for i, x in enumerate(across)]
        draw.line(points, fill=0, width=PEN)
    for y in ([middle], [middle - 3, middle + 3], [])[lines - 1]:
        draw.line([(left, y + 1), (right, y - 1)], fill=0, width=PEN)
    return np.array(picture)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="names")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    recognizer = Recognizer.load(arguments.model, threads=1)
    lines = list(read_sources(arguments.data, SourceOptions()))
    crops = [decode(line.image) for line in lines]
    whole = copy(recognizer)  # untrimmed, so that spans are places in the crop
    spec = replace(recognizer.model.image, trim="none", writing=0.0, rulings="keep")
    whole.model = replace(recognizer.model, image=spec)
    damaged: dict[str, list[tuple[str | None, Grey]]] = {}
    for line, grey, prediction in zip(lines, crops, whole.read(crops), strict=True):
        if not prediction.characters:
            continue
        scale = min(spec.height / grey.shape[0], spec.max_width / grey.shape[1], spec.max_scale)
        box = name_box(grey, prediction, scale)
        middle = min(max((box[2] + box[3]) // 2, 8), grey.shape[0] - 8)
        kinds = {"erased": erased(grey, box)}
        for count, name in enumerate(("one line", "two lines", "zigzag"), start=1):
            kinds[name] = struck(grey, box, count)
        kinds |= {"upper half": grey[:middle], "lower half": grey[middle:]}
        for name, picture in kinds.items():
            if picture is not None:
                damaged.setdefault(name, []).append((line.text, picture))
    if arguments.names:
        recognizer = recognizer.with_lexicon(arguments.names)
    _print(recognizer, damaged, arguments.sheet)


def _print(
    recognizer: Recognizer, damaged: dict[str, list[tuple[str | None, Grey]]], sheet: Path | None
) -> None:
    report = {}
    print(
        f"{'':12} {'crops':>5} {'empty':>6} {'right':>6} {'wrong, > 0.5':>13} {'> 0.9':>6}  surest"
    )
    for kind, pairs in damaged.items():
        predictions = recognizer.read([picture for _, picture in pairs])
        right = np.array([p.text == t for p, (t, _) in zip(predictions, pairs, strict=True)])
        invented = np.array([bool(p.text) for p in predictions]) & ~right
        sure = np.array([p.confidence for p in predictions]) * invented
        row = [len(pairs), sum(not p.text for p in predictions), int(right.sum())]
        row += [int((sure > limit).sum()) for limit in (0.5, 0.9)]
        report[kind] = dict(zip(("n", "empty", "right", "over_5", "over_9"), row, strict=True))
        report[kind]["surest"] = float(sure.max())
        shown = "{:5} {:6} {:6} {:13} {:6}".format(*row)
        print(f"{kind:12} {shown}  {sure.max():.2f}")
        if kind == "erased" and sheet:
            order = np.argsort(-sure)[:60]
            _sheet([(pairs[i][1], predictions[i]) for i in order]).save(sheet)
    print(json.dumps(report))


def _sheet(rows: list[tuple[Grey, Prediction]]) -> Image.Image:
    sheet = Image.new("L", (1200, 76 * -(-len(rows) // 2)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (picture, prediction) in enumerate(rows):
        x, y = 600 * (i % 2), 76 * (i // 2)
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.text((x + 400, y + 5), f"{prediction.text!r} {prediction.confidence:.3f}", fill=0)
    return sheet


if __name__ == "__main__":
    main()
