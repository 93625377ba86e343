"""Keras networks with random weights, as people really build them and at random."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
from keras import layers

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = 6


def lively(model: Any, seed: int) -> Any:
    """Give a model weights with which frames differ, and return it."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 100
        gain = 1 if "recurrent" in weight.path else 3  # over 1 a cell doubles every rounding error
        values = rng.normal(0, gain / np.sqrt(fan_in), weight.shape)
        positive = weight.path.endswith(("gamma", "variance"))
        weight.assign(np.abs(values) + 0.5 if positive else values)
    return model


def talkative(model: Any, values: np.ndarray) -> Any:
    """Make every label as likely as any other over these pictures, so that texts differ."""
    last = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    kernel, bias = last.weights
    kernel.assign(2 * kernel.numpy())
    made = model.predict(values, verbose=0)
    logits = made if made.min() < 0 else np.log(np.maximum(made, 1e-30))
    bias.assign(bias.numpy() - logits.mean((0, 1)))
    return model


def scores(x: Any, *, softmax: str = "layer") -> Any:
    if softmax == "dense":
        return layers.Dense(CLASSES, activation="softmax")(x)
    x = layers.Dense(CLASSES)(x)
    return layers.Activation("softmax")(x) if softmax == "layer" else x


def both_ways(x: Any, units: int, kind: Any = layers.LSTM, **options: Any) -> Any:
    merge = options.pop("merge_mode", "concat")
    cell = kind(units, return_sequences=True, **options)
    return layers.Bidirectional(cell, merge_mode=merge)(x)


def origin(widths: tuple[int, int, int] = (4, 6, 8), cells: int = 8) -> Any:
    """The Kaggle notebook: (256, 64, 1), three convolutions, Reshape, Dense, two BiLSTM."""
    image = x = keras.Input((256, 64, 1), name="input")
    for index, (width, pool) in enumerate(zip(widths, ((2, 2), (2, 2), (1, 2)), strict=True), 1):
        x = layers.Conv2D(width, (3, 3), padding="same", name=f"conv{index}")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D(pool, name=f"max{index}")(x)
        x = layers.Dropout(0.3)(x) if index > 1 else x
    x = layers.Reshape((64, 8 * widths[2]), name="reshape")(x)
    x = layers.Dense(16, activation="relu", name="dense1")(x)
    x = both_ways(both_ways(x, cells), cells)
    return keras.Model(image, scores(x))


def captcha() -> Any:
    """The captcha example of Keras: transposed, no batch norm, Reshape to (W/4, H/4 * C)."""
    image = keras.Input((100, 48, 1), name="image")
    x = layers.Conv2D(6, 3, activation="relu", padding="same", name="Conv1")(image)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="Conv2")(x)
    x = layers.MaxPooling2D((2, 2), name="pool2")(x)
    x = layers.Reshape((25, 12 * 8), name="reshape")(x)
    x = layers.Dropout(0.2)(layers.Dense(64, activation="relu", name="dense1")(x))
    x = both_ways(both_ways(x, 12, dropout=0.25), 6, dropout=0.25)
    return keras.Model(image, scores(x, softmax="dense"))


def tall() -> Any:
    """Height first and in colour: strides, even kernels, a Permute, GRU and sum, no softmax."""
    image = keras.Input((32, 90, 3))
    x = layers.Conv2D(6, (5, 4), strides=(1, 2), padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(scale=False, epsilon=0.01)(x)
    x = layers.MaxPooling2D((3, 2), strides=(2, 1), padding="same")(layers.LeakyReLU(0.15)(x))
    x = layers.ZeroPadding2D((0, 1))(x)
    x = layers.Conv2D(8, (2, 3), dilation_rate=(2, 1), activation="mish")(x)
    x = layers.MaxPooling2D((2, 1))(x)
    x = layers.TimeDistributed(layers.Flatten())(layers.Permute((2, 1, 3))(x))
    x = layers.LayerNormalization()(x)
    x = both_ways(x, 8, layers.GRU, merge_mode="sum")
    return keras.Model(image, scores(x, softmax="none"))


def sequential() -> Any:
    """A Sequential model whose graph is the order of its layers."""
    bidirectional = layers.Bidirectional(layers.LSTM(6, return_sequences=True), merge_mode="mul")
    return keras.Sequential(
        [
            keras.Input((64, 16, 1)),
            layers.Conv2D(4, 3, activation="tanh"),
            layers.LayerNormalization(scale=False),
            layers.MaxPooling2D((2, 2)),
            layers.Reshape((31, -1)),
            bidirectional,
            layers.Dense(CLASSES),
            layers.Softmax(),
        ]
    )


def merged() -> Any:
    """The image_ocr example of Keras: two GRU, one backwards, added; then joined; frames cut."""
    image = keras.Input((48, 16, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.Reshape((48, 64))(x)
    ahead = layers.GRU(5, return_sequences=True)(x)
    back = layers.GRU(5, return_sequences=True, go_backwards=True)(x)
    x = layers.add([ahead, back])
    back = layers.LSTM(4, return_sequences=True, go_backwards=True, use_bias=False)(x)
    x = layers.concatenate([layers.LSTM(4, return_sequences=True)(x), back])
    return keras.Model(image, scores(x)[:, 2:-1, :])


def any_network(seed: int) -> Any:
    """A network drawn at random: what is in it, its sizes, and how it ends."""
    rng = np.random.default_rng(seed)

    def one_of(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    image = x = keras.Input((int(rng.integers(26, 40)), int(rng.integers(14, 25)), 1))
    for _ in range(rng.integers(1, 4)):
        kernel = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        stride = one_of((1, 1), (1, 2), (2, 1))
        x = layers.Conv2D(int(rng.integers(2, 8)), kernel, stride, padding=one_of("same", "valid"))(
            x
        )
        if rng.random() < 0.7:
            x = layers.BatchNormalization(axis=one_of(-1, 3), center=bool(rng.integers(2)))(x)
        x = layers.Activation(one_of("relu", "mish", "elu", "silu", "gelu", "leaky_relu"))(x)
        if rng.random() < 0.6:
            x = layers.MaxPooling2D(one_of((1, 2), (2, 2)), padding=one_of("same", "valid"))(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    if rng.random() < 0.5:
        x = layers.Dense(9, activation=one_of("relu", "tanh", "sigmoid"), use_bias=False)(x)
        x = layers.BatchNormalization()(x)
    for _ in range(rng.integers(1, 3)):
        gate = one_of("sigmoid", "hard_sigmoid")
        if rng.random() < 0.5:
            cell = {"kind": layers.GRU, "reset_after": bool(rng.integers(2))}
        else:
            cell = {"kind": layers.LSTM, "activation": one_of("tanh", "relu6")}
        units, merge = int(rng.integers(3, 9)), one_of("concat", "sum", "ave")
        x = both_ways(x, units, recurrent_activation=gate, merge_mode=merge, **cell)
    return keras.Model(image, scores(x, softmax=one_of("layer", "dense", "none")))


def keras2_file(model: Any, path: Path, *, loss: str = "", chunks: bool = False) -> None:
    """Write a model as Keras 2 did, which cannot be installed beside Keras 3.

    `make.py` in tests/data/keras has the layout from Keras 2 itself. `loss` adds the inputs and
    the layer of the trained model; `chunks` writes lists as Keras 2 does over 64 kB.
    """
    entries = [_keras2_layer(layer, "ctc" in loss) for layer in model.layers]
    outputs = [[model.layers[-1].name, 0, 0]]
    if loss:
        extra = ["the_labels", "input_length", "label_length"]
        shapes = [[None, 16], [None, 1], [None, 1]]
        entries += [_keras2_input(*each) for each in zip(extra, shapes, strict=True)]
        calls = [[name, 0, 0, {}] for name in (model.layers[-1].name, *extra)]
        function = ["4wEAAAAAAAAA\n", None, None]  # marshalled code: must never be loaded
        config = {"name": loss, "function": function, "function_type": "lambda"}
        entries.append(
            {"class_name": "Lambda", "config": config, "name": loss, "inbound_nodes": [calls]}
        )
        outputs = [[loss, 0, 0]]
    whole = {"name": "model_1", "layers": entries, "output_layers": outputs}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.1.6"
        file.attrs["backend"] = b"tensorflow"
        text = json.dumps({"class_name": "Model", "config": whole})
        file.attrs["model_config"] = text.encode()
        weights_of(model, file.create_group("model_weights"), chunks=chunks)


def weights_of(model: Any, group: Any, *, chunks: bool = False) -> None:
    """Write weights as Keras 2 does: names in attributes, arrays in groups named after them."""

    def write(to: Any, name: str, values: list[bytes]) -> None:
        if not chunks:
            to.attrs[name] = values
        for index, value in enumerate(values if chunks else []):
            to.attrs[f"{name}{index}"] = [value]

    write(group, "layer_names", [layer.name.encode() for layer in model.layers])
    for layer in model.layers:
        inner = group.create_group(layer.name)
        names = [f"{layer.name}/{weight.path.partition('/')[2]}:0" for weight in layer.weights]
        write(inner, "weight_names", [name.encode() for name in names])
        for name, weight in zip(names, layer.weights, strict=True):
            inner[name] = weight.numpy()


def _keras2_input(name: str, shape: list[int | None]) -> dict[str, Any]:
    config = {"batch_input_shape": shape, "dtype": "float32", "sparse": False, "name": name}
    return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}


def _keras2_layer(layer: Any, old: bool) -> dict[str, Any]:
    """Return a layer's entry in `model_config`."""
    kind, config = type(layer).__name__, layer.get_config()
    if kind == "InputLayer":
        return _keras2_input(layer.name, list(layer.batch_shape))
    config["dtype"] = "float32" if old else {"class_name": "Policy", "config": {"name": "float32"}}
    for key in ("layer", "backward_layer"):
        if key in config:
            config[key] = {"class_name": config[key]["class_name"], "config": config[key]["config"]}
            config[key]["config"] |= {"time_major": False, "implementation": 2}
    if old:
        config.pop("backward_layer", None)  # Keras 2 derives it from the first
    if kind == "LeakyReLU":
        config["alpha"] = config.pop("negative_slope")
    if kind == "BatchNormalization":
        config["axis"] = [layer.axis if layer.axis >= 0 else len(layer.input.shape) - 1]
    parents = layer.input if isinstance(layer.input, list) else [layer.input]
    calls = [[parent._keras_history.operation.name, 0, 0, {}] for parent in parents]
    return {"class_name": kind, "config": config, "name": layer.name, "inbound_nodes": [calls]}
