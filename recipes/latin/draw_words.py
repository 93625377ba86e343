"""Draw the UNIPEN words as pictures: pen strokes in, Parquet with images and texts out.

Each word is drawn once, in a pen whose width, darkness, slant and paper vary, from its own
`default_rng([seed, row])`. Usage: draw_words.py STROKES.parquet OUT.parquet [--seed N]
"""

from __future__ import annotations

import argparse
import io
import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFilter

from penname.alphabet import nfc
from penname.cores import cores

OVER = 2  # drawn at twice the size, then reduced: smooth strokes
ROWS = 2048


def draw(strokes: list[list[int]], rng: np.random.Generator) -> bytes:
    """Return a PNG of one word's strokes (flat x, y lists, y down, about 200 units high)."""
    height = rng.integers(34, 56) * OVER
    lines = [np.array(s, dtype=np.float64).reshape(-1, 2) for s in strokes if len(s) >= 2]
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(height / max(high[1] - low[1], 60.0), 1400 * OVER / max(high[0] - low[0], 1.0))
    slant, stretch = rng.normal(0, 0.12), rng.uniform(0.85, 1.15)
    pen = float(np.exp(rng.normal(0.6, 0.3))) * OVER
    margin = round(6 * OVER + pen)
    placed = []
    for line in lines:
        y = (line[:, 1] - low[1]) * scale
        x = (line[:, 0] - low[0]) * scale * stretch + slant * (height - y)
        placed.append(np.stack([x, y], axis=1))
    left = min(p[:, 0].min() for p in placed)
    width = max(p[:, 0].max() for p in placed) - left
    size = math.ceil(width) + 2 * margin, math.ceil((high[1] - low[1]) * scale) + 2 * margin
    paper, ink = int(rng.integers(190, 256)), int(rng.integers(0, 110))
    picture = Image.new("L", size, paper)
    pencil = ImageDraw.Draw(picture)
    for p in placed:
        path = [(float(x) - left + margin, float(y) + margin) for x, y in p]
        dot = pen / 2
        pencil.line(path, fill=ink, width=max(1, round(pen)), joint="curve")
        for x, y in (path[0], path[-1]):
            pencil.ellipse((x - dot, y - dot, x + dot, y + dot), fill=ink)
    picture = picture.resize((size[0] // OVER, size[1] // OVER), Image.Resampling.BOX)
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.8))))
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def drawn(seed: int, first: int, rows: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of the table, whose first is its row number `first`, drawn."""
    return [
        {
            "image": {
                "bytes": draw(row["strokes"], np.random.default_rng([seed, number])),
                "path": f"unipen/{number:06d}.png",
            },
            "text": nfc(row["text"]),
            "source": "unipen-words",
            "writer": row["writer"],
        }
        for number, row in enumerate(rows.to_pylist(), start=first)
    ]


def main() -> None:
    """Draw every word of the table, on all cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strokes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            *((name, pa.string()) for name in ("text", "source", "writer")),
        ]
    )
    parts = list(pq.ParquetFile(arguments.strokes).iter_batches(ROWS))
    starts = accumulate((len(part) for part in parts), initial=0)
    with (
        ProcessPoolExecutor(cores()) as pool,
        pq.ParquetWriter(arguments.out, schema) as writer,
    ):
        for rows in pool.map(partial(drawn, arguments.seed), starts, parts):
            writer.write_table(pa.Table.from_pylist(rows, schema))


if __name__ == "__main__":
    main()
