"""How far imported Keras models are from Keras itself, on random pictures.

    KERAS_BACKEND=torch python recipes/keras_parity.py MODEL.keras MODEL.h5 ...

One row a file: the largest difference of an output, and how many of the greedy texts are the same.
A file that Keras 3 refuses needs Keras 2: `pip install tensorflow-cpu tf_keras` beside penname in
another environment, and TF_USE_LEGACY_KERAS=1.
"""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import numpy as np

from penname.alphabet import Alphabet
from penname.recognizer import Recognizer
from penname.training.keras_model import import_keras, load_keras
from penname.training.keras_options import KerasOptions

if os.environ.get("TF_USE_LEGACY_KERAS"):
    import tf_keras as keras
else:
    import keras

LINES = 8


def pictures(rows: int, columns: int) -> np.ndarray:
    """Return squares of random grey in the turn of the network's input: (N, rows, columns)."""
    shape = LINES, -(-rows // 4), -(-columns // 4)
    small = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return small.repeat(4, 1).repeat(4, 2)[:, :rows, :columns]


def texts(outputs: np.ndarray) -> list[list[int]]:
    """Return the best path of each line (T, C), the blank last."""
    blank = outputs.shape[2] - 1
    paths = outputs.argmax(2).tolist()
    return [[label for label, _ in groupby(path) if label != blank] for path in paths]


def main() -> None:
    """Print a row for each file."""
    print("file | Keras | parameters | frames, classes | largest difference | same texts")
    for file in map(Path, sys.argv[1:]):
        imported, _, version = load_keras(file, KerasOptions())
        network, turned = imported.network, imported.options.turn == "clockwise"
        alphabet = Alphabet("".join(chr(0x4E00 + label) for label in range(network.classes - 1)))
        model = keras.models.load_model(file, compile=False)
        _, rows, columns, channels = model.input_shape
        grey = pictures(rows, columns)
        values = (grey / np.float32(255))[..., None].repeat(channels, 3)
        theirs = model.predict(values, verbose=0)
        with tempfile.TemporaryDirectory() as out:
            folder = import_keras(file, alphabet, Path(out), KerasOptions())
            upright = np.rot90(grey, 1, (1, 2)) if turned else grey
            log_probs = Recognizer.load(folder.path).network(upright[:, None].copy())
        made = np.roll(np.exp(log_probs), -1, 2)
        made = made[:, imported.before : made.shape[1] - imported.after]
        same = sum(a == b for a, b in zip(texts(made), texts(theirs), strict=True))
        row = file.name, version, folder.training["parameters"], made.shape[1:]
        print(*row, f"{np.abs(made - theirs).max():.1e}", f"{same} of {LINES}", sep=" | ")


if __name__ == "__main__":
    main()
