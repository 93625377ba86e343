"""Export: the best averaged weights of a run to a model folder that reads without torch.

The graph owns what is needed around the network: uint8 to ink, and log-softmax. Before the folder
is called done, ONNX Runtime and torch must agree at widths and batch sizes other than the export's.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from penname.alphabet import Alphabet
from penname.errors import TrainingError
from penname.line_image import ImageSpec
from penname.model_folder import ModelFolder
from penname.options import from_json
from penname.training.checkpoint import load_tensors, save_tensors
from penname.training.loop import as_ink
from penname.training.model import STRIDE, build
from penname.training.options import TrainOptions
from penname.training.start import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

PARITY = 1e-4  # largest difference of a log probability between torch and ONNX Runtime
OPSET = 17


class Exported(nn.Module):
    """The network as it is exported: images (N, 1, H, W) uint8 to log_probs (N, T, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log_probs."""
        logits, _ = self.network(as_ink(images))
        return torch.log_softmax(logits, -1)


def export_model(run: Path, out: Path, name: str) -> ModelFolder:
    """Write the best weights of a training run to the model folder `out`.

    Args:
        run: the `--out` of a training run, with its `best/`.
        out: the model folder; files of an earlier export are replaced, `card.md` is left alone.
        name: what the model calls itself.

    Raises:
        TrainingError: no run there, or torch and ONNX Runtime disagree by more than `PARITY`.
    """
    training, exported = load_best(run)
    spec = from_json(ImageSpec, training["image"])
    out.mkdir(parents=True, exist_ok=True)
    unchecked = out / ".model.onnx.partial"
    write_onnx(exported, spec, unchecked)
    check_parity(exported, spec, unchecked)
    halves = {name: weight.half() for name, weight in exported.network.named_parameters()}
    save_tensors(exported.network.state_dict() | halves, out / WEIGHTS)
    unchecked.replace(out / "model.onnx")
    kept = ("options", "parameters", "lines", "scores")
    folder = ModelFolder(
        path=out,
        name=name,
        alphabet=Alphabet(training["alphabet"]),
        image=spec,
        stride=STRIDE,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training={key: training[key] for key in kept},
    )
    folder.save()
    return folder


def load_best(run: Path) -> tuple[dict[str, Any], Exported]:
    """Return the description and the network, in evaluation mode, of a run's best weights."""
    file = run / "best" / "training.json"
    try:
        training: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{file}: {error}; give the --out of a training run that was validated"
        ) from None
    options = from_json(TrainOptions, training["options"])
    spec = from_json(ImageSpec, training["image"])
    network = build(options, spec.height, Alphabet(training["alphabet"]).classes)
    network.load_state_dict(load_tensors(run / "best" / "weights.safetensors"))
    return training, Exported(network).eval()


def write_onnx(exported: Exported, spec: ImageSpec, path: Path) -> None:
    """Write the network as ONNX with free batch size and width."""
    example = torch.zeros(2, 1, spec.height, 2 * spec.width_step, dtype=torch.uint8)
    with warnings.catch_warnings():  # the tracing exporter is deprecated, and the one that
        warnings.simplefilter("ignore")  # keeps an LSTM's length free (pytorch#191855)
        torch.onnx.export(
            exported,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["log_probs"],
            dynamic_axes={"images": {0: "N", 3: "W"}, "log_probs": {0: "N", 1: "T"}},
            opset_version=OPSET,
            dynamo=False,
        )


def check_parity(exported: Exported, spec: ImageSpec, path: Path) -> float:
    """Return the largest difference of log_probs between torch and the ONNX file.

    Raises:
        TrainingError: when it is over `PARITY`.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng, worst = np.random.default_rng(0), 0.0
    for n, width in ((1, 1), (3, 4 * spec.width_step), (5, spec.max_width)):
        shape = n, 1, spec.height, spec.canvas_width(width)
        images = np.where(rng.random(shape) < 0.1, rng.integers(0, 256, shape), 255)
        images = images.astype(np.uint8)
        with torch.no_grad():
            ours = exported(torch.from_numpy(images)).numpy()
        differences = np.abs(session.run(None, {"images": images})[0] - ours)
        worst = float(np.maximum(worst, differences.max()))  # nan stays nan
    if not worst <= PARITY:
        raise TrainingError(f"{path}: torch and ONNX Runtime differ by {worst:.1e}, over {PARITY}")
    return worst
