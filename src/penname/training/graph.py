"""The network as an ONNX file: written with every weight under its own name, and read back.

The graph owns what is needed around the network, uint8 to ink and log-softmax. Large weights are
stored in half precision, to which the network is rounded first, so the file and torch compute the
same; ONNX Runtime widens them and folds batch norm in when it loads the file. Because nothing is
folded in the file, fine-tuning starts from it too.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from penname.errors import TrainingError
from penname.training.model import as_ink, parameters

if TYPE_CHECKING:
    from pathlib import Path

    from penname.model_folder import ModelFolder

PARITY = 5e-4  # largest difference of a log probability between torch and ONNX Runtime
ROUNDING = 5e-5  # of its size comes on top: an LSTM adds roundings up, most in what is improbable
NEGLIGIBLE = -20.0  # log probabilities below it are alike; of them torch's own error is 0.003
OPSET = 17
LARGE = 1024  # elements from which a weight is halved; smaller ones are not worth a rounding
HALF = ".half"
ONE_LSTM = re.compile(r"^recurrent\.(\w+)_l([01])(?=$|_reverse$)")  # one of two layers, before
NETWORK = "network."  # what the names of its weights start with in the file
SHARED = "shared_weights"  # metadata: a JSON object, left out -> equal


class Exported(nn.Module):
    """The network as it is exported: images (N, 1, H, W) uint8 to log_probs (N, T, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log_probs."""
        logits, _ = self.network(as_ink(images))
        return torch.log_softmax(logits, -1)


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Round the weights that the file halves, in place."""
    for weight in network.parameters():
        if weight.numel() >= LARGE:
            weight.copy_(weight.half().float())


def write_onnx(exported: Exported, folder: ModelFolder) -> None:
    """Write the network of a model folder with free batch size, width and, if need be, height."""
    spec = folder.image
    example = torch.zeros(2, 1, spec.height, 2 * spec.width_step, dtype=torch.uint8)
    free = {"images": {0: "N", 3: "W"}, "log_probs": {0: "N", 1: "T"}}
    if folder.height_step:
        free["images"][2] = "H"
    trace(exported, {"images": example}, ["log_probs"], free, folder.onnx)
    model = onnx.load(folder.onnx)
    _note_shared(model, exported)
    halve(model.graph)
    onnx.save(model, folder.onnx)


def trace(
    exported: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    free: dict[str, dict[int, str]],
    path: Path,
) -> None:
    """Write a network as it runs on these inputs, with these axes free and no weight changed."""
    with warnings.catch_warnings():  # the tracing exporter is deprecated, and the one that
        warnings.simplefilter("ignore")  # keeps an LSTM's length free (pytorch#191855)
        torch.onnx.export(
            exported,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=free,
            opset_version=OPSET,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch norm apart
            dynamo=False,
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the network's weights by name; the shortcut head is not among them.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); export the model again") from None
    weights = {
        tensor.name.removesuffix(HALF): torch.from_numpy(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in model.graph.initializer
        if tensor.name.startswith(NETWORK)
    }
    shared = next((prop.value for prop in model.metadata_props if prop.key == SHARED), "{}")
    weights |= {name: weights[same] for name, same in json.loads(shared).items()}
    named = {name.removeprefix(NETWORK): weight for name, weight in weights.items()}
    if any(name.startswith("stages.") for name in named):  # the 2021 project's is one LSTM still
        named = {ONE_LSTM.sub(r"recurrent.\2.\1_l0", name): w for name, w in named.items()}
    return named


def replace_network(folder: ModelFolder, network: nn.Module, note: dict[str, Any]) -> ModelFolder:
    """Put a network in float in the place of a model folder's, with a note of how it was made.

    Raises:
        TrainingError: torch and ONNX Runtime differ.
    """
    exported = Exported(network).eval()
    round_weights(network)
    write_onnx(exported, folder)
    check_parity(exported, folder)
    folder.float_onnx.unlink(missing_ok=True)
    note = {"parameters": parameters(network)} | note
    folder = replace(folder, training=folder.training | note)
    folder.save()
    return folder


def check_parity(exported: nn.Module, folder: ModelFolder) -> float:
    """Return the largest difference of log_probs between torch and a model folder's ONNX file.

    Raises:
        TrainingError: when one is over `PARITY`, and `ROUNDING` of the log_prob's own size.
    """
    session = onnxruntime.InferenceSession(str(folder.onnx), providers=["CPUExecutionProvider"])
    spec = folder.image
    least = spec.height // 2 if folder.height_step else spec.height
    middle = min(4 * spec.width_step, spec.max_width)
    rng, worst, beyond = np.random.default_rng(0), 0.0, 0.0
    for n, height, width in ((1, least, 1), (3, spec.height, middle), (5, least, spec.max_width)):
        shape = n, 1, height, spec.canvas_width(width)
        images = np.where(rng.random(shape) < 0.1, rng.integers(0, 256, shape), 255)
        images = images.astype(np.uint8)
        with torch.no_grad():
            ours = exported(torch.from_numpy(images)).numpy()
        found = session.run(None, {"images": images})[0]
        ours, found = (np.maximum(each, NEGLIGIBLE) for each in (ours, found))
        differences = np.abs(found - ours)
        worst = float(np.maximum(worst, differences.max()))  # nan stays nan
        beyond = float(np.maximum(beyond, (differences - ROUNDING * np.abs(ours)).max()))
    if not beyond <= PARITY:
        raise TrainingError(
            f"{folder.onnx}: torch and ONNX Runtime differ by {worst:.1e}, over {PARITY}"
        )
    return worst


def _note_shared(model: onnx.ModelProto, exported: Exported) -> None:
    """Note which weights the exporter left out because another one is equal to them."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shared = {}
    for name, weight in exported.state_dict().items():
        if name not in stored and weight.is_floating_point() and ".shortcut." not in name:
            values = weight.numpy()
            shared[name] = next(n for n, other in stored.items() if np.array_equal(values, other))
    helper.set_model_props(model, {SHARED: json.dumps(shared)})


def halve(graph: onnx.GraphProto) -> None:
    """Store large float32 weights as float16, each widened by a Cast of its own."""
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= LARGE:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + HALF))
            casts.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        graph.node.insert(place, cast)
