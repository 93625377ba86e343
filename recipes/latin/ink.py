"""Write what `penname synth --look lines` needs: texts and pen strokes of training lines alone.

Usage: ink.py DATA TABLES OUT, TABLES as prepare.py writes them. The writers whose words are kept
for validation write no synthetic line, and no text of a validation line is in corpus.txt.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from prepare import DRAW

from penname.ground_truth.pack import draw_split


def main() -> None:
    """Write corpus.txt, two tables of strokes, and copies of the fonts and glyphs."""
    data, tables, out = map(Path, sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    texts = [
        " ".join(text.split())
        for name in ("lines", "places")
        for text in pq.read_table(tables / f"{name}-train.parquet")["text"].to_pylist()
        if text
    ]
    (out / "corpus.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    for name in ("unipen_words_strokes.parquet", "unipen_chars_strokes.parquet"):
        table = pq.read_table(data / name)
        kept = pa.array([draw_split(w, DRAW) == "train" for w in table["writer"].to_pylist()])
        pq.write_table(table.filter(kept), out / name, compression="zstd", compression_level=15)
    for name in ("handwriting_fonts.zip", "emnist_characters.npz"):
        shutil.copy(data / name, out / f"{name}.part")
        (out / f"{name}.part").replace(out / name)  # all is there when the last is


if __name__ == "__main__":
    main()
