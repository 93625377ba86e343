"""Scan real names anew: on rulings, in boxes and cells, turned, at less resolution, badly.

What rulings leave behind when they are taken out is made by taking them out: each picture is drawn
as another form would hold it and goes the way that reading goes. Most are changed once, some twice.

Usage: scans.py PICTURES.parquet|PACK SPEC_PACK OUT LINES SEED [SHARE]

It makes a pack of LINES lines with the image spec of SPEC_PACK; SHARE of them are changed, or all.
"""

from __future__ import annotations

import io
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFilter

from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import INK, PAPER, Grey, decode, line_image
from penname.writing import writing_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rng = np.random.Generator
Task = tuple[bytes | Grey, int, float]  # a picture, a seed, and how likely it is changed
TWICE = 0.3  # of the pictures are changed twice
CAPITALS = 2.0  # how high they are, in sizes of writing


def paper_of(picture: Image.Image) -> int:
    """Return the grey of a picture's paper."""
    return int(np.percentile(np.asarray(picture), 90))


def feet(picture: Image.Image) -> tuple[int, float]:
    """Return the row on which most strokes end in the lower half, and how high capitals are."""
    ink = np.asarray(picture) < INK
    ends = (ink[:-1] & ~ink[1:]).sum(axis=1)  # (h - 1,)
    middle = len(ends) // 2
    return middle + int(ends[middle:].argmax()), CAPITALS * writing_size(ink) or picture.height / 2


def with_room(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture with more paper on each side, at times much."""
    much = 2.0 if rng.random() < 0.2 else 0.5
    left, top, right, foot = (round(picture.height * x) for x in rng.uniform(0, much, 4))
    size = picture.width + left + right, picture.height + top + foot
    out = Image.new("L", size, paper_of(picture))
    out.paste(picture, (left, top))
    return out


def ruling(picture: Image.Image, y: float, size: float, rng: Rng) -> None:
    """Draw a ruling at row `y`, whole or dotted, rarely quite level."""
    draw, width = ImageDraw.Draw(picture), max(1, round(size * rng.uniform(0.03, 0.14)))
    fill, fall = int(rng.integers(0, 140)), picture.width * rng.normal(0, 0.004)
    if rng.random() < 0.25:
        pitch = size * rng.uniform(0.1, 0.3)
        share = rng.uniform(0.3, 0.7)
    else:
        pitch, share = picture.width + 1.0, 1.0
    for x in np.arange(0, picture.width, max(pitch, 2.0)):
        ends = [(at, y + fall * (at / picture.width - 0.5)) for at in (x, x + pitch * share)]
        draw.line([*ends[0], *ends[1]], fill=fill, width=width)


def on_ruling(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture with a ruling through the feet of the letters or near them."""
    out = with_room(picture, rng) if rng.random() < 0.5 else picture.copy()
    y, size = feet(out)
    ruling(out, y + size * rng.normal(0, 0.1), size, rng)
    if rng.random() < 0.3:
        ruling(out, y - size * rng.uniform(0.9, 1.8), size, rng)
    return out


def boxed(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture in a box, close around the writing or into it, longer at the right."""
    longer = round(picture.width * max(0.0, rng.uniform(-0.5, 1)))
    out = Image.new("L", (picture.width + longer, picture.height), paper_of(picture))
    out.paste(picture, (0, 0))
    out = with_room(out, rng)
    y, size = feet(out)
    columns = np.flatnonzero((np.asarray(out) < INK).any(axis=0))
    left = float(columns[0]) if len(columns) else 0.0
    sides = left - size * rng.uniform(0, 1), y - size * rng.uniform(0.95, 1.8)
    far = out.width - size * rng.uniform(0, 1), y + size * rng.uniform(0, 0.6)
    width = max(1, round(size * rng.uniform(0.03, 0.12)))
    box = [*np.maximum(sides, 0), *np.minimum(far, (out.width - 1, out.height - 1))]
    if box[0] < box[2] and box[1] < box[3]:
        ImageDraw.Draw(out).rectangle(box, outline=int(rng.integers(0, 140)), width=width)
    return out


def in_cells(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture in a box with sides between the letters, or on a comb."""
    out = with_room(picture, rng)
    y, size = feet(out)
    foot = min(y + size * rng.uniform(0.03, 0.4), out.height - 1.0)
    high = rng.uniform(0.2, 0.6) if rng.random() < 0.3 else rng.uniform(1, 1.6)
    top = max(foot - size * high, 0.0)
    blank = (np.asarray(out) >= INK).all(axis=0)
    gaps = np.flatnonzero(np.diff(blank, prepend=True, append=True))[1:-1].reshape(-1, 2)
    draw, width = ImageDraw.Draw(out), max(1, round(size * rng.uniform(0.03, 0.1)))
    fill = int(rng.integers(0, 140))
    draw.line([0, foot, out.width, foot], fill=fill, width=width)
    if rng.random() < 0.7:
        draw.line([0, top, out.width, top], fill=fill, width=width)
    for start, end in gaps:
        if width <= end - start <= 1.5 * size:
            x = rng.uniform(start, end)
            draw.line([x, top, x, foot], fill=fill, width=width)
    return out


def turned(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture turned by up to some ten degrees, on more paper."""
    degrees, fill = rng.normal(0, 4), paper_of(picture)
    return picture.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def coarse(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture at less resolution."""
    times = float(np.exp(rng.uniform(np.log(0.33), np.log(0.85))))
    size = max(8, round(picture.width * times)), max(8, round(picture.height * times))
    return picture.resize(size, Image.Resampling(int(rng.choice([1, 2, 3, 4]))))


def badly(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture blurred, compressed, pale, noisy or by a threshold."""
    kind = rng.integers(5)
    if kind == 0:
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.7, 1.8)))
    if kind == 1:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(8, 35)))
        return Image.open(stream).convert("L")
    grey = np.asarray(picture, dtype=np.float64)
    if kind == 2:
        grey = PAPER - (PAPER - grey) * rng.uniform(0.2, 0.6)
    elif kind == 3:
        light = np.interp(np.arange(grey.shape[1]), [0, grey.shape[1]], rng.uniform(0.5, 1, 2))
        grey = grey * light + rng.normal(0, rng.uniform(2, 14), grey.shape)
    else:
        grey = np.where(grey < rng.uniform(90, 200), 0, PAPER)
    return Image.fromarray(np.clip(grey, 0, PAPER).astype(np.uint8))


CHANGES: tuple[tuple[float, Callable[[Image.Image, Rng], Image.Image]], ...] = (
    (0.30, on_ruling),
    (0.12, boxed),
    (0.10, in_cells),
    (0.14, turned),
    (0.22, coarse),
    (0.12, badly),
)


def scanned(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return the picture, changed once or twice, in the order of `CHANGES`."""
    shares = [share for share, _ in CHANGES]
    number = 1 + int(rng.random() < TWICE)
    for each in sorted(rng.choice(len(CHANGES), number, replace=False, p=shares)):
        picture = CHANGES[each][1](picture, rng)
    return picture


def sources(source: Path) -> tuple[list[bytes | Grey], list[str]]:
    """Return the pictures of a table, or the line images of a pack, and their texts."""
    if source.is_dir():
        pack = Pack.open(source)
        return [pack.image(i) for i in range(len(pack))], pack.texts
    table = pq.read_table(source)
    return [each["bytes"] for each in table["image"].to_pylist()], table["text"].to_pylist()


def made(tasks: list[Task]) -> list[Grey]:
    """Return the line images of some pictures, scanned anew."""
    out = []
    for picture, seed, share in tasks:
        rng = np.random.default_rng(seed)
        grey = decode(picture)
        if rng.random() < share:
            grey = np.asarray(scanned(Image.fromarray(grey), rng))
        out.append(line_image(grey, SPEC))
    return out


def begin(pack: str) -> None:
    """Give a process the image spec."""
    global SPEC
    SPEC = Pack.open(pack).spec


def main() -> None:
    """Write the pack."""
    source, like, out = map(Path, sys.argv[1:4])
    lines, seed = int(sys.argv[4]), int(sys.argv[5])
    share = float(sys.argv[6]) if len(sys.argv) > 6 else 1.0
    rng, pack = np.random.default_rng(seed), Pack.open(like)
    pictures, texts = sources(source)
    known = [i for i, text in enumerate(texts) if text]
    order = np.concatenate([rng.permutation(known) for _ in range(-(-lines // len(known)))])[:lines]

    def tasks() -> Iterator[list[Task]]:
        for start in range(0, lines, 64):
            part = range(start, min(start + 64, lines))
            yield [(pictures[order[i]], seed * 10_000_000 + i, share) for i in part]

    kind = {"scanned anew": lines, "share": share, "seed": seed}
    with (
        PackWriter(out, pack.alphabet, pack.spec, kind) as writer,
        ProcessPoolExecutor(initializer=begin, initargs=(str(like),)) as pool,
    ):
        number = 0
        for part in pool.map(made, tasks()):
            for line in part:
                text = texts[order[number]]
                writer.add(line, text, file=f"scans/{number:06d}", source="scans", split="train")
                number += 1


if __name__ == "__main__":
    main()
