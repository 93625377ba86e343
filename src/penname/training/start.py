"""How a run's network begins: from random weights, or from a trained model (fine-tuning)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from penname.errors import TrainingError
from penname.training.graph import read_weights
from penname.training.model import build, build_like

if TYPE_CHECKING:
    from torch import Tensor, nn

    from penname.alphabet import Alphabet
    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder
    from penname.training.model import Reader
    from penname.training.options import TrainOptions

log = logging.getLogger(__name__)


def begin(
    alphabet: Alphabet, spec: ImageSpec, options: TrainOptions, start: ModelFolder | None
) -> tuple[Alphabet, nn.Module]:
    """Return the alphabet and the network of a run: random weights, or those of a model.

    A model's alphabet comes first and the packs' new characters after it, so every output that
    was trained keeps its place; outputs of new characters begin at random, and so does the
    shortcut head, which a model folder lacks.

    Raises:
        TrainingError: the model has another network.
    """
    height = spec.height // 2 if options.height_step else spec.height
    if start is None:
        return alphabet, build(options, height, alphabet.classes)
    check_network(start, options)
    if start.image != spec:  # what it learned of letters holds at other sizes too
        log.info("%s read %s; the new model will read %s", start.path, start.image, spec)
    merged = start.alphabet.merge(alphabet)
    weights = weights_of(start)
    network = build(options, height, merged.classes, weights)
    fill(network, weights)
    new = len(merged) - len(start.alphabet)
    log.info("started from %s with %d new characters", start.path, new)
    return merged, network


def check_network(folder: ModelFolder, options: TrainOptions) -> None:
    """Check that a run with these options trains the network that a model folder holds.

    Raises:
        TrainingError: it is another.
    """
    preset = preset_of(folder)
    if preset != options.preset:
        raise TrainingError(f"{folder.path} has the network {preset!r}; give --preset {preset}")


def preset_of(folder: ModelFolder) -> str:
    """Return the preset of the network that a model folder holds.

    Raises:
        TrainingError: it has none, as an imported network.
    """
    preset = folder.training.get("options", {}).get("preset")
    if preset is None:
        raise TrainingError(f"{folder.path} is not a network of penname's; it can read, not train")
    return str(preset)


def network_of(folder: ModelFolder) -> Reader:
    """Return the network that a model folder holds, before it was quantised.

    Raises:
        TrainingError: it is no `Reader`, or the file is missing or damaged.
    """
    return network_with(weights_of(folder))


def network_with(weights: dict[str, Tensor]) -> Reader:
    """Return the network that has these weights, by name.

    Raises:
        TrainingError: they are another network's.
    """
    network = build_like(weights)
    fill(network, weights)
    return network


def weights_of(folder: ModelFolder) -> dict[str, Tensor]:
    """Return the weights of a model folder's network before it was quantised, by name.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    return read_weights(folder.float_onnx if folder.float_onnx.exists() else folder.onnx)


@torch.no_grad()
def fill(network: nn.Module, trained: dict[str, Tensor]) -> None:
    """Put trained weights over fresh ones; an output layer may have more rows than was trained.

    Raises:
        TrainingError: they are another network's, or some are missing.
    """
    state = network.state_dict()
    for name, value in trained.items():
        rows = len(value)
        part = state[name][:rows] if name.startswith("head.") else state.get(name)
        if part is None or part.shape != value.shape:
            raise TrainingError(
                f"the model's {name} is not the network's; it was made by another version: "
                "train from nothing, or from a model of this one"
            )
        part.copy_(value)
    fresh = {name for name, _ in network.named_parameters()} - trained.keys()
    if missing := sorted(name for name in fresh if not name.startswith("shortcut.")):
        raise TrainingError(
            f"the model lacks {missing[0]} and {len(missing) - 1} other weights; copy or export it "
            "again"
        )
