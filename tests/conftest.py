"""A model whose answers are known: it reads bar codes.

Character k of its alphabet is two frames with 4k dark rows of 48, then one blank frame, so the
right answer is known without training, and each log probability can be worked out by hand.
"""

from __future__ import annotations

import io
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from penname.alphabet import Alphabet
from penname.line_image import ImageSpec
from penname.model_folder import Calibration, ModelFolder
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from pathlib import Path

# Two threads on busy cores wait for each other, up to thirty times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported
os.environ["KERAS_HOME"] = tempfile.gettempdir()  # and writes its settings there

BARS = Alphabet("ABCDEFGHIJ")
SPEC = ImageSpec(height=48, max_width=640, trim="none")
STRIDE = 8
SHARPNESS = 0.01  # log_probs are log_softmax(-SHARPNESS * (mean grey - grey of the label) ** 2)


def png(text: str) -> bytes:
    """Return the bar code of a text as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(bars(text)).save(stream, "PNG")
    return stream.getvalue()


def bars(text: str) -> np.ndarray:
    """Return the bar code of a text, mostly paper: (48, w) uint8."""
    picture = np.full((SPEC.height, STRIDE * (6 * len(text) + 2)), 255, dtype=np.uint8)
    for index, label in enumerate(BARS.encode(text)):
        start = STRIDE * (1 + 3 * index)
        picture[: 4 * label, start : start + 2 * STRIDE] = 0
    return picture


def greys() -> np.ndarray:
    """Return the mean grey of a frame of each label: (C,)."""
    return np.array([255 * (1 - 4 * label / SPEC.height) for label in range(BARS.classes)], "f4")


def bar_model(folder: Path, calibration: Calibration | None = None) -> ModelFolder:
    """Write the bar code model to a folder."""
    folder.mkdir(parents=True)
    onnx.save(_network(), folder / "model.onnx")
    model = ModelFolder(
        folder,
        name="bars",
        alphabet=BARS,
        image=SPEC,
        stride=STRIDE,
        created="2026-10-01T12:00:00+00:00",
        training={"options": {"epochs": 0}},
        confidence=calibration,
    )
    model.save()
    return model


def _network() -> onnx.ModelProto:
    constants = {
        "pixels": np.array([1, 2], dtype=np.int64),
        "classes": np.array([2], dtype=np.int64),
        "greys": greys(),
        "sharpness": np.array([-SHARPNESS], "f4"),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node(
            "AveragePool",
            ["floats"],
            ["frames"],  # (N, 1, H, W) -> (N, 1, 1, T)
            kernel_shape=[SPEC.height, STRIDE],
            strides=[SPEC.height, STRIDE],
        ),
        helper.make_node("Squeeze", ["frames", "pixels"], ["row"]),  # (N, T)
        helper.make_node("Unsqueeze", ["row", "classes"], ["column"]),  # (N, T, 1)
        helper.make_node("Sub", ["column", "greys"], ["distance"]),  # (N, T, C)
        helper.make_node("Mul", ["distance", "distance"], ["squared"]),
        helper.make_node("Mul", ["squared", "sharpness"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "bars",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 1, SPEC.height, "W"])],
        [helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["N", "T", BARS.classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return bar_model(tmp_path_factory.mktemp("models") / "bars")


@pytest.fixture(scope="session")
def recognizer(model: ModelFolder) -> Recognizer:
    return Recognizer.load(model.path)
