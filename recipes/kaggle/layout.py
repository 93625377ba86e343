"""Write synthetic crops in the layout of the Kaggle names set, to rehearse recipes/kaggle.sh.

Usage: layout.py DATA OUT LINES, where DATA is the folder of the shared data. Of ten lines eight are
train, one validation and one test, as in the set, in its folders, with its file names and tables.
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from penname.synthesis.generate import Kit, SynthOptions, render

SEED = 5
QUALITY = 75  # of the JPEGs
SPLITS = {"train": 8, "validation": 1, "test": 1}  # of ten lines
DIGITS = {"train": 5, "validation": 4, "test": 4}  # of the numbers in file names, at least
_kit: list[Kit] = []  # of this process


def places(lines: int) -> list[tuple[str, int]]:
    """Return the split of each line and its number there, from 1."""
    return [
        (split, number)
        for split, share in SPLITS.items()
        for number in range(1, lines * share // 10 + 1)
    ]


def file_of(split: str, number: int) -> str:
    """Return the file name, as TRAIN_00001.jpg."""
    return f"{split.upper()}_{number:0{DIGITS[split]}}.jpg"


def start(data: Path) -> None:
    """Load what a process draws with."""
    _kit.append(Kit(data))


def draw(task: tuple[int, Path]) -> str:
    """Draw one crop to a file and return its text."""
    index, file = task
    grey, text, _ = render(None, np.random.default_rng([SEED, index]), _kit[0], SynthOptions())
    Image.fromarray(grey).save(file, quality=QUALITY)
    return text


def main() -> None:
    """Write the folders and tables."""
    data, out = map(Path, sys.argv[1:3])
    rows = places(int(sys.argv[3]))
    for split in SPLITS:
        (out / f"{split}_v2" / split).mkdir(parents=True, exist_ok=True)
    files = [out / f"{split}_v2" / split / file_of(split, number) for split, number in rows]
    with multiprocessing.get_context("spawn").Pool(initializer=start, initargs=(data,)) as pool:
        texts = pool.map(draw, enumerate(files), chunksize=256)
    for split in SPLITS:
        table = out / f"written_name_{split}_v2.csv"
        with table.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["FILENAME", "IDENTITY"])
            for (where, number), text in zip(rows, texts, strict=True):
                if where == split:
                    writer.writerow([file_of(split, number), text])


if __name__ == "__main__":
    main()
