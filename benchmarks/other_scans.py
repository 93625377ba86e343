"""How the same crops are read when they are scanned or cut otherwise.

    python benchmarks/other_scans.py --model names --data verified.parquet [--every 3]

Each picture is drawn at another resolution, cut to its ink, given blank rows and sides, turned,
shaded, made pale, blurred, compressed, put above and on a ruling, into a box and into cells. It is
read by the model as it is and by the same model without the rules that bring writing to one size
and take rulings out (`writing` of its image spec 0, `rulings` keep). Exact match and character
error rate in per cent, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import io
import json
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from penname.evaluate import evaluate
from penname.ground_truth.sources import GroundTruth, SourceOptions, read_sources
from penname.line_image import INK, PAPER, decode
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Image.Image], Image.Image]


def paper(picture: Image.Image) -> int:
    """Return the grey of a picture's paper."""
    return int(np.percentile(np.asarray(picture), 90))


def scaled(picture: Image.Image, times: float) -> Image.Image:
    """Return the picture at another resolution."""
    size = max(4, round(picture.width * times)), max(4, round(picture.height * times))
    return picture.resize(size, Image.Resampling.LANCZOS)


def tight(picture: Image.Image) -> Image.Image:
    """Return the picture without the blank rows above and below its ink."""
    rows = np.flatnonzero((np.asarray(picture) < INK).any(axis=1))
    if len(rows) < 5:
        return picture
    return picture.crop((0, int(rows[0]), picture.width, int(rows[-1]) + 1))


def padded(picture: Image.Image, share: float) -> Image.Image:
    """Return the picture with that share of its height in paper on each side."""
    more = round(share * picture.height)
    out = Image.new("L", (picture.width + 2 * more, picture.height + 2 * more), paper(picture))
    out.paste(picture, (more, more))
    return out


def turned(picture: Image.Image, degrees: float) -> Image.Image:
    """Return the picture turned, on more paper."""
    fill = paper(picture)
    return picture.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def shaded(picture: Image.Image) -> Image.Image:
    """Return the picture in light that falls off along it, with noise."""
    grey = np.asarray(picture, dtype=np.float64)
    light = np.linspace(0.5, 0.9, grey.shape[1])
    noise = np.random.default_rng(grey.shape[1]).normal(0, 6, grey.shape)
    return Image.fromarray(np.clip(grey * light + noise, 0, PAPER).astype(np.uint8))


def pale(picture: Image.Image) -> Image.Image:
    """Return the picture with a quarter of its contrast."""
    return picture.point(lambda grey: round(PAPER - (PAPER - grey) / 4))


def compressed(picture: Image.Image) -> Image.Image:
    """Return the picture as a JPEG of quality 20 keeps it."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=20)
    return Image.open(stream).convert("L")


def ruled(picture: Image.Image, *, box: bool = False, longer: float = 0) -> Image.Image:
    """Return the picture on some more paper, above a ruling or in a box, longer at the right."""
    out = padded(picture, 0.25)
    out = ImageOps.expand(out, (0, 0, round(longer * picture.width), 0), paper(picture))
    draw, edge = ImageDraw.Draw(out), picture.height // 8
    if box:
        draw.rectangle((edge, edge, out.width - edge, out.height - edge), outline=40, width=2)
    else:
        y = out.height - edge
        draw.line((0, y, out.width, y), fill=40, width=2)
    return out


def in_cells(picture: Image.Image) -> Image.Image:
    """Return the picture in a box, with a side in the middle of each gap between letters."""
    blank = (np.asarray(padded(picture, 0.25)) >= INK).all(axis=0)
    gaps = np.flatnonzero(np.diff(blank, prepend=True, append=True))[1:-1].reshape(-1, 2)
    out, edge = ruled(picture, box=True), picture.height // 8
    for left, right in gaps:
        if 3 <= right - left <= picture.height:
            x = (left + right) // 2
            ImageDraw.Draw(out).line((x, edge, x, out.height - edge), fill=40, width=2)
    return out


def on_a_ruling(picture: Image.Image) -> Image.Image:
    """Return the picture with a ruling where most strokes of its writing end."""
    out = picture.copy()
    ink = np.asarray(picture) < INK
    ends = (ink[:-1] & ~ink[1:]).sum(axis=1)
    middle = len(ends) // 2
    y = middle + int(ends[middle:].argmax())
    ImageDraw.Draw(out).line((0, y, out.width, y), fill=40, width=2)
    return out


def after(first: Change, then: Change) -> Change:
    """Return both changes, one after the other."""
    return lambda picture: then(first(picture))


CHANGES: dict[str, Change] = {
    "as it comes": lambda picture: picture,
    **{f"{x} times the resolution": partial(scaled, times=x) for x in (0.5, 0.7, 1.5, 2, 3, 4)},
    "cut to its ink": tight,
    "cut to its ink, 4 times the resolution": after(tight, partial(scaled, times=4)),
    **{f"paper around, {x} of its height": partial(padded, share=x) for x in (0.3, 1, 2)},
    "paper around, 2 of its height, 3 times": after(
        partial(padded, share=2), partial(scaled, times=3)
    ),
    **{f"turned by {x} degrees": partial(turned, degrees=x) for x in (-5, -2, 2, 5)},
    "shaded, noise": shaded,
    "pale": pale,
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.2)),
    "JPEG of quality 20": compressed,
    "a ruling below": ruled,
    "on a ruling": on_a_ruling,
    "in a box": partial(ruled, box=True),
    "in a box twice as long": partial(ruled, box=True, longer=1),
    "in a cell for each letter": in_cells,
    "in cells, turned by 1.5 degrees": after(in_cells, partial(turned, degrees=1.5)),
    "in a box, turned by 1 degree": after(partial(ruled, box=True), partial(turned, degrees=1)),
    "in a box, turned by -2 degrees": after(partial(ruled, box=True), partial(turned, degrees=-2)),
}


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="names")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th picture")
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=[*CHANGES])
    options = parser.parse_args(arguments)
    recognizer = Recognizer.load(options.model)
    without = copy(recognizer)
    spec = replace(recognizer.model.image, writing=0.0, rulings="keep")
    without.model = replace(recognizer.model, image=spec)
    lines = list(read_sources(options.data, SourceOptions()))[:: options.every]
    pictures = [Image.fromarray(decode(line.image)) for line in lines]
    print(f"{'':40} {'n':>5}  as the model is{'':25}  without its size of writing and rulings")
    report = {}
    for name in options.only:
        changed = [
            replace(line, image=_png(CHANGES[name](picture)))
            for line, picture in zip(lines, pictures, strict=True)
        ]
        report[name] = {"with": _scores(recognizer, changed), "without": _scores(without, changed)}
        shown = "   ".join(_shown(each) for each in report[name].values())
        print(f"{name:40} {report[name]['with']['n']:5}  {shown}", flush=True)
    print(json.dumps({"model": options.model, "changes": report}))


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _scores(recognizer: Recognizer, lines: list[GroundTruth]) -> dict[str, object]:
    found = evaluate(recognizer, lines).to_json()
    return {key: found[key] for key in ("n", "exact", "exact_ci", "cer", "cer_ci")}


def _shown(scores: dict[str, object]) -> str:
    return "  ".join(
        "{:5.1f} ({:4.1f} to {:5.1f})".format(
            *(100 * x for x in (scores[key], *scores[f"{key}_ci"]))
        )
        for key in ("exact", "cer")
    )


if __name__ == "__main__":
    main()
