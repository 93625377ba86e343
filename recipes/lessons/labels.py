"""Names to try the lessons on, and the labels that the 2021 project gave them.

Its alphabet was "ABCDEFGHIJKLMNOPQRSTUVWXYZ-' " from label 0 on, so A had the number that
`torch.nn.CTCLoss` takes for the blank, and 30 outputs of which the last was never used.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-' "
CLASSES = len(LETTERS) + 1
FRAMES = 64
SAMPLES = Path(__file__).parents[2] / "tests" / "data" / "names"


def names(data: Path | None) -> list[str]:
    """Return every label of the data folder's names_frequency.csv, or of the 30 sample crops."""
    file = data / "names_frequency.csv" if data else SAMPLES / "names.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [(row.get("name") or row["text"], int(row.get("count") or 1))
                for row in csv.DictReader(stream)]  # fmt: skip
    return [name.upper() for name, count in rows for _ in range(count)]


def batch(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Return labels (N, 64) and their lengths (N,) as the 2021 project made them."""
    labels = np.zeros((len(texts), FRAMES), dtype=np.int64)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [LETTERS.find(character) for character in text]  # -1 where it is missing
    return torch.from_numpy(labels), torch.tensor([len(text) for text in texts])
