"""Make the files of this folder with Keras 2 itself, and what it computes with them.

    pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0    # in an environment of its own
    python tests/data/keras/make.py

No test runs this: TensorFlow is some 1.5 GB. The networks are tiny and their weights random.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras as keras
from tf_keras import layers

HERE = Path(__file__).parent


class CTCLayer(layers.Layer):  # type: ignore[misc]  # as in the captcha and handwriting examples of Keras
    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.add_loss(keras.backend.sum(y_true) + keras.backend.sum(y_pred))
        return y_pred


def ctc_lambda(arguments: Any) -> Any:  # as in the image_ocr example of Keras
    scores, labels, length, label_length = arguments
    return keras.backend.ctc_batch_cost(labels, scores[:, 2:, :], length, label_length)


def lively(model: Any, rng: np.random.Generator) -> None:
    """Give a model weights with which frames differ."""
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 100
        values = rng.normal(0, 3 / np.sqrt(fan_in), weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)


def expected(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    _, rows, columns, _ = model.input_shape
    squares = rng.integers(0, 256, (3, rows // 4, columns // 4, 1), dtype=np.uint8)
    images = squares.repeat(4, 1).repeat(4, 2)
    return {"images": images, "outputs": model.predict(images / np.float32(255), verbose=0)}


def lambda_model() -> tuple[Any, Any]:
    """Width first; gates with the hard sigmoid; an even kernel with a stride; the CTC Lambda."""
    image = keras.Input((48, 16, 1), name="input")
    x = layers.Conv2D(4, (4, 3), strides=(2, 1), padding="same", name="conv1")(image)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D((2, 2), name="max1")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Reshape((12, 8 * 4), name="reshape")(x)
    x = layers.Dense(6, activation="tanh", name="dense1")(x)
    lstm = layers.LSTM(5, return_sequences=True, recurrent_activation="hard_sigmoid", dropout=0.2)
    x = layers.Bidirectional(lstm, name="lstm1")(x)
    scores = layers.Activation("softmax", name="softmax")(layers.Dense(6, name="dense2")(x))
    labels = keras.Input((9,), name="labels")
    lengths = [keras.Input((1,), name=name) for name in ("input_length", "label_length")]
    loss = layers.Lambda(ctc_lambda, output_shape=(1,), name="ctc")([scores, labels, *lengths])
    return keras.Model([image, labels, *lengths], loss), keras.Model(image, scores)


def layer_model() -> tuple[Any, Any]:
    """Height first, turned by a Permute; the CTC layer takes the labels first."""
    image = keras.Input((16, 40, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu", padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.TimeDistributed(layers.Flatten())(x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum")(x)
    scores = layers.Dense(6, activation="softmax", name="dense2")(x)
    labels = keras.Input((None,), name="label")
    return keras.Model([image, labels], CTCLayer(name="ctc_loss")(labels, scores)), keras.Model(
        image, scores
    )


def slice_model() -> tuple[Any, Any]:
    """A GRU that resets before the product; the slice is part of the graph."""
    image = keras.Input((40, 16, 1))
    x = layers.Conv2D(3, 3, activation="elu")(image)
    x = layers.MaxPooling2D((2, 2), padding="same")(x)
    x = layers.Reshape((19, -1))(x)
    gru = layers.GRU(4, return_sequences=True, reset_after=False)
    x = layers.Bidirectional(gru, merge_mode="ave")(x)
    x = layers.TimeDistributed(layers.Dense(6, activation="softmax"))(x)
    model = keras.Model(image, x[:, 2:, :])
    return model, model


def origin_model() -> tuple[Any, Any]:
    """The origin's notebook with few channels and cells."""
    image = x = keras.Input((256, 64, 1), name="input")
    for channels, pool in ((2, (2, 2)), (3, (2, 2)), (2, (1, 2))):
        x = layers.Conv2D(channels, 3, padding="same", name=f"conv_of_{channels}_{pool[0]}")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Dense(5, activation="relu", name="dense1")(layers.Reshape((64, 16))(x))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="lstm1")(x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="lstm2")(x)
    model = keras.Model(image, layers.Activation("softmax")(layers.Dense(6, name="dense2")(x)))
    return model, model


def main() -> None:
    rng = np.random.default_rng(2)
    arrays = {}
    files = {
        "lambda.h5": lambda_model(),
        "layer.h5": layer_model(),
        "slice.keras": slice_model(),
        "origin_weights.h5": origin_model(),
    }
    for name, (whole, reading) in files.items():
        lively(reading, rng)
        save = whole.save_weights if "weights" in name else whole.save
        save(HERE / name)
        for key, values in expected(reading, rng).items():
            arrays[f"{name}/{key}"] = values
    np.savez_compressed(HERE / "expected.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
