"""Drawn names and a small network, for lessons that train: a minute on one core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from penname.alphabet import Alphabet
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec, line_image
from penname.training import model
from penname.training.options import TrainOptions

if TYPE_CHECKING:
    from pathlib import Path

SMALL = model.Shape((8,), (16, 16, 32, 32), (1, 1, 1, 1), 32)  # instead of the preset `names`
LETTERS = "AEILMNRT"


def draw_pack(folder: Path, lines: int, longest: int = 5) -> Pack:
    """Write a pack of drawn random capitals, one in ten for validation."""
    spec = ImageSpec(height=16, max_width=96, width_step=32, writing=0.0)
    draw = np.random.default_rng(1)
    with PackWriter(folder, Alphabet(LETTERS), spec, {}) as pack:
        for i in range(lines):
            text = "".join(draw.choice(list(LETTERS), draw.integers(2, longest + 1)))
            picture = Image.new("L", (90, 16), 255)
            ImageDraw.Draw(picture).text((2, i % 3 - 1), text, 0, ImageFont.load_default(12))
            split = "train" if i % 10 else "validation"
            image = line_image(np.asarray(picture), spec)
            pack.add(image, text, file=f"{i}", source="drawn", split=split)
    return Pack.open(folder)


def plain(preset: str, batch_size: int, learning_rate: float, seed: int = 1) -> TrainOptions:
    """Return the options of the 2021 project: Adam, one rate, nothing around it."""
    return TrainOptions(
        preset=preset,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="constant",
        weight_decay=0,
        augment=0,
        ema=0,  # what is scored are the weights themselves
        clip=1e9,
        seed=seed,
    )
