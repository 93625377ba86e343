"""Contact sheet: synthetic crops beside real ones, to see whether they can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from penname.errors import ImageError
from penname.inputs import expand
from penname.line_image import decode
from penname.synthesis.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from penname.inputs import Input
    from penname.synthesis.kit import Kit, SynthOptions

TABLE = 190  # grey of the table that the crops lie on
NAMES, LINES = (4, 392, 76), (2, 720, 52)  # columns, and the cell of a crop in pixels
GREYS = 48  # kept in the file, which is for the eye
LINE_HEIGHT = 48  # of lines, whose own heights would tell them apart


def contact_sheet(
    out_png: Path, n: int, real: Path | None, *, kit: Kit, options: SynthOptions
) -> None:
    """Write a PNG of `n` synthetic crops, with `n` real ones in every other column if given.

    Names are shown at their own size, lines at one height and cut where they are longer than a
    column. `real` is a Parquet file or a folder of pictures; they are drawn by the seed.

    Raises:
        ImageError: when `real`, or one of the pictures drawn, cannot be read.
    """
    rngs = (np.random.default_rng([options.seed, i]) for i in range(n))
    crops = [render(None, rng, kit, options)[0] for rng in rngs]
    if real is not None:
        others = _real(real, n, np.random.default_rng(options.seed))
        crops = [crop for pair in zip(crops, others, strict=False) for crop in pair]
    columns, wide, high = LINES if options.look == "lines" else NAMES
    page = Image.new("L", (columns * wide, -(-len(crops) // columns) * high), TABLE)
    for i, crop in enumerate(crops):
        picture = Image.fromarray(crop)
        if options.look == "lines":
            width = round(picture.width * LINE_HEIGHT / picture.height)
            picture = picture.resize((width, LINE_HEIGHT))
            picture = picture.crop((0, 0, min(width, wide - 4), LINE_HEIGHT))
        page.paste(picture, (i % columns * wide, i // columns * high))
    page.quantize(GREYS).save(out_png, optimize=True)


def _real(path: Path, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    pictures = list(expand([path]))
    rows = rng.choice(len(pictures), min(n, len(pictures)), replace=False)
    return [_crop(pictures[row]) for row in rows]


def _crop(picture: Input) -> np.ndarray:
    if picture.error:
        raise ImageError(f"{picture.file}: {picture.error}")
    try:
        return decode(picture.source)
    except ImageError as error:
        raise ImageError(f"{picture.file}: {error}") from None
