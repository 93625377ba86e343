"""Contact sheet: synthetic crops beside real ones, to see whether they can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from penname.errors import GroundTruthError
from penname.line_image import decode
from penname.synthesis.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from penname.synthesis.kit import Kit, SynthOptions

CELL = (392, 76)  # pixels around a crop at its own size
TABLE = 190  # grey of the table that the crops lie on


def contact_sheet(
    out_png: Path,
    n: int,
    real: Path | None,
    *,
    kit: Kit,
    options: SynthOptions,
    columns: int = 4,
    zoom: int = 1,
) -> None:
    """Write a PNG of `n` synthetic crops, with `n` real ones in every other column if given.

    `real` is a Parquet table with a column image {bytes}; its rows are drawn by the seed.

    Raises:
        GroundTruthError: when `real` cannot be read.
    """
    rngs = (np.random.default_rng([options.seed, i]) for i in range(n))
    crops = [render(None, rng, kit, options)[0] for rng in rngs]
    if real is not None:
        others = _real(real, n, np.random.default_rng(options.seed))
        crops = [crop for pair in zip(crops, others, strict=False) for crop in pair]
    wide, high = CELL[0] * zoom, CELL[1] * zoom
    page = Image.new("L", (columns * wide, -(-len(crops) // columns) * high), TABLE)
    for i, crop in enumerate(crops):
        picture = Image.fromarray(crop)
        picture = picture.resize((picture.width * zoom, picture.height * zoom))
        page.paste(picture, (i % columns * wide, i // columns * high))
    page.save(out_png)


def _real(path: Path, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    try:
        column = pq.read_table(path, columns=["image"])["image"]
    except (OSError, pa.ArrowException) as error:
        raise GroundTruthError(f"{path}: cannot read real crops ({error})") from None
    rows = rng.choice(len(column), min(n, len(column)), replace=False)
    return [decode(column[int(row)].as_py()["bytes"]) for row in rows]
