"""Quantise: the convolutions of a model folder in 8-bit integers, which CPUs compute faster.

Weights have a scale for each output channel and activations one for each layer, fixed by the
smallest and largest values that some pictures give (Jacob et al. 2018, "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference"). The recurrent layers stay in
float: ONNX Runtime quantises those by the values of a whole batch, and then a line would read
otherwise alone.

The float network stays beside the other as float.onnx, for `penname train --from`.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from penname.errors import TrainingError
from penname.files import work_folder
from penname.line_image import line_image_or_reason
from penname.network import load_network
from penname.recognizer import Recognizer
from penname.training.graph import halve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np

    from penname.inputs import Input
    from penname.line_image import Grey
    from penname.model_folder import ModelFolder

PICTURES = 512  # looked at, drawn evenly from those given
OPERATIONS = ["Conv", "Relu", "Add", "MaxPool"]  # what stands between convolutions goes with them


def quantise(folder: ModelFolder, pictures: Iterable[Input]) -> float:
    """Quantise the network of a model folder in place, by pictures like those it will read.

    Returns:
        The share of these pictures that read as they did in float, greedily.

    Raises:
        TrainingError: when not one of the pictures can be read.
    """
    lines = draw_lines(folder, pictures)
    if not folder.float_onnx.exists():
        shutil.copyfile(folder.onnx, folder.float_onnx)
    with work_folder(folder.path, "quantise") as temporary:
        made = temporary / "model.onnx"
        _quantised(folder.float_onnx, made, [folder.canvas(line) for line in lines])
        made.replace(folder.onnx)
    folder.save()
    return _agreement(folder, lines)


def draw_lines(folder: ModelFolder, pictures: Iterable[Input]) -> list[Grey]:
    """Return the line images of some of the pictures, as a model folder takes them.

    Raises:
        TrainingError: not one of them can be read.
    """
    outcomes = [line_image_or_reason(picture.source, folder.image) for picture in draw(pictures)]
    lines = [line for line in outcomes if not isinstance(line, str)]
    if not lines:
        raise TrainingError("none of the pictures can be read; give some like those to be read")
    return lines


def draw(pictures: Iterable[Input]) -> list[Input]:
    """Return `PICTURES` of the pictures, each as likely as another (reservoir sampling)."""
    drawn: list[Input] = []
    rng = random.Random(0)
    for count, picture in enumerate(pictures, start=1):
        if len(drawn) < PICTURES:
            drawn.append(picture)
        elif (place := rng.randrange(count)) < PICTURES:
            drawn[place] = picture
    return drawn


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Batches of images, one after another, as ONNX Runtime asks for them."""

    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self._rest = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._rest, None)
        return None if batch is None else {"images": batch}


def _quantised(source: Path, out: Path, batches: Sequence[np.ndarray]) -> None:
    """Write the quantised network of a float one.

    Weights keep to 7 bits: on x86 without VNNI, ONNX Runtime adds pairs of products of 8-bit
    numbers in 16 bits, which would overflow.
    """
    folded = out.with_name("folded.onnx")
    _fold(source, folded)
    quantize_static(
        str(folded),
        str(out),
        _Batches(batches),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=OPERATIONS,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
    )
    model = onnx.load(out)
    halve(model.graph)
    onnx.save(model, out)


def _fold(source: Path, out: Path) -> None:
    """Write the network with constants folded and batch norm in the convolutions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(out)
    add_pre_process_metadata(model)  # else the quantiser warns that this was not done
    onnx.save(model, out)


def _agreement(folder: ModelFolder, lines: Sequence[Grey]) -> float:
    """Return the share of lines whose greedy text is that of the float network."""
    greedy = replace(folder, decoding=None)
    networks = (load_network(file) for file in (folder.float_onnx, folder.onnx))
    floats, quantised = (Recognizer(greedy, network).read_lines(lines) for network in networks)
    same = [a.text == b.text for a, b in zip(floats, quantised, strict=True)]
    return sum(same) / len(same)
