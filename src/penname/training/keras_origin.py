"""The architecture of the 2021 project's Keras notebook, for files that hold its weights alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penname.errors import ModelError

if TYPE_CHECKING:
    from penname.training.keras_file import KerasFile

WEIGHTS_ALONE = (
    "the file holds weights alone, so it is read as the 2021 project's network: three Conv2D with "
    "batch norm, Dense, two Bidirectional LSTM, Dense; for another, save the model whole"
)
CELLS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "return_sequences": True,
    "use_bias": True,
}
# class, its group in a file of Keras 3 or "" without weights, options; sizes are the weights' own
LAYERS: list[tuple[str, str, dict[str, Any]]] = [
    ("InputLayer", "", {"batch_shape": [None, 256, 64, 1]}),
    ("Conv2D", "conv2d", {"padding": "same"}),
    ("BatchNormalization", "batch_normalization", {"epsilon": 0.001, "momentum": 0.99}),
    ("Activation", "", {"activation": "relu"}),
    ("MaxPooling2D", "", {"pool_size": [2, 2]}),
    ("Conv2D", "conv2d_1", {"padding": "same"}),
    ("BatchNormalization", "batch_normalization_1", {"epsilon": 0.001, "momentum": 0.99}),
    ("Activation", "", {"activation": "relu"}),
    ("MaxPooling2D", "", {"pool_size": [2, 2]}),
    ("Conv2D", "conv2d_2", {"padding": "same"}),
    ("BatchNormalization", "batch_normalization_2", {"epsilon": 0.001, "momentum": 0.99}),
    ("Activation", "", {"activation": "relu"}),
    ("MaxPooling2D", "", {"pool_size": [1, 2]}),
    ("Reshape", "", {"target_shape": [64, -1]}),
    ("Dense", "dense", {"activation": "relu"}),
    ("Bidirectional", "bidirectional", {"merge_mode": "concat", "layer": "LSTM"}),
    ("Bidirectional", "bidirectional_1", {"merge_mode": "concat", "layer": "LSTM"}),
    ("Dense", "dense_1", {"activation": "softmax"}),
]


def with_origin(file: KerasFile) -> KerasFile:
    """Return a file of weights alone with the architecture of the origin.

    Keras 2 lists the layers in order under names of the user's choice, Keras 3 under class names.

    Raises:
        ModelError: the number of layers with weights is another.
    """
    names = [name for _, name, _ in LAYERS if name]
    weights = file.weights
    if len(weights) != len(names):
        raise ModelError(f"{len(weights)} layers with weights, not {len(names)}")
    if set(weights) != set(names):
        weights = dict(zip(names, weights.values(), strict=True))
    return replace(file, config={"class_name": "Sequential", "config": _layers()}, weights=weights)


def _layers() -> list[dict[str, Any]]:
    """Return the layers as a Sequential model of Keras has them."""
    layers = []
    for index, (kind, name, options) in enumerate(LAYERS):
        config = {"name": name or f"{kind}_{index}", **options}
        if kind == "Bidirectional":
            config["layer"] = {"class_name": "LSTM", "config": CELLS}
        layers.append({"class_name": kind, "config": config})
    return layers
