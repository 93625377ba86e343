"""Real crops as the included model reads them, for the lessons on scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from labels import SAMPLES

from penname.alphabet import BLANK, nfc
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.line_image import decode, line_image, on_canvas
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from pathlib import Path


def paths(data: Path | None) -> tuple[Recognizer, list[str], list[np.ndarray]]:
    """Return the model, the reference of each crop, and its best label in each frame (T,)."""
    reader, references, best = Recognizer.load("names"), [], []
    spec = reader.model.image
    for line in read_sources([data or SAMPLES / "names.csv"], SourceOptions()):
        if not line.text:
            continue
        image = line_image(decode(line.image), spec)
        canvas = on_canvas([image], spec.canvas_width(image.shape[1]))  # (1, 1, H, W)
        references.append(nfc(line.text))
        best.append(reader.network(canvas)[0].argmax(-1))  # (1, T, C) -> (T,)
    return reader, references, best


def collapsed(reader: Recognizer, path: np.ndarray) -> str:
    """Return the text of a path (T,): repeats merged, blanks dropped."""
    kept = path[(np.diff(path, prepend=-1) != 0) & (path != BLANK)]
    return reader.model.alphabet.decode(kept)


def pairs(data: Path | None) -> list[tuple[str, str]]:
    """Return (reference, hypothesis) of each crop, read greedily."""
    reader, references, best = paths(data)
    return [(r, collapsed(reader, path)) for r, path in zip(references, best, strict=True)]
