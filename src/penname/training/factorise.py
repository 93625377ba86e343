"""Factorise: each 3x3 convolution of a model as a 3x1 and a 1x3 one, of which a network is faster.

Both together are the closest to the whole convolution that so few multiplications allow, on what
comes to it from some pictures: a singular value decomposition, weighted by the second moments of
its input (Jaderberg et al. 2014, "Speeding up Convolutional Neural Networks with Low Rank
Expansions"; the weighting: Zhang et al. 2015, "Accelerating Very Deep Convolutional Networks").
What is lost comes back by training on, `penname train --from` it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from penname.errors import OptionError, TrainingError
from penname.training.graph import replace_network
from penname.training.model import as_ink, factors
from penname.training.quantise import draw_lines
from penname.training.start import network_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penname.inputs import Input
    from penname.model_folder import ModelFolder
    from penname.training.model import Reader

MULTIPLE = 16  # of a rank: so many channels ONNX Runtime computes at a time
RIDGE = 1e-4  # of the mean second moment is added to all, as some channels are always 0


def factorise(folder: ModelFolder, pictures: Iterable[Input], share: float) -> ModelFolder:
    """Factorise the network of a model folder in place, by pictures like those it will read.

    A network in integers is one in float again, to be quantised anew.

    Args:
        folder: the model.
        pictures: `quantise.PICTURES` of them are drawn.
        share: of the multiplications of a whole convolution that its two factors may take.

    Raises:
        OptionError: the share is not above 0 and below 1.
        TrainingError: the network is factorised already or is no `Reader`, or not one of the
            pictures can be read.
    """
    if not 0 < share < 1:
        raise OptionError(f"the share is {share}, not above 0 and below 1")
    network = network_of(folder).eval()
    if not (whole := _whole(network)):
        raise TrainingError(f"{folder.name} is factorised: no convolution is left")
    lines = draw_lines(folder, pictures)
    ink = (as_ink(torch.from_numpy(folder.canvas(line))) for line in lines)
    moments = _second_moments(network, whole, ink)
    for name, module in whole.items():
        module[0] = nn.Sequential(*_factored(module[0], module[1], moments[name], share))
    return replace_network(folder, network, {"factorised": share})


def _whole(network: Reader) -> dict[str, nn.Sequential]:
    """Return the 3x3 convolutions of the stages, each with its batch norm, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if name.startswith("stages.")
        and isinstance(module, nn.Sequential)
        and isinstance(module[0], nn.Conv2d)
        and module[0].kernel_size == (3, 3)
    }


@torch.no_grad()
def _second_moments(
    network: Reader, whole: dict[str, nn.Sequential], ink: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Return E[x x^T] of the 3 pixels x C channels above each other that come to each of them."""
    moments: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def look(name: str, x: Tensor) -> None:
        above = functional.pad(x, (0, 0, 1, 1)).unfold(2, 3, 1)  # -> (N, C, H, W, 3)
        columns = above.permute(1, 4, 0, 2, 3).flatten(2).flatten(0, 1)  # -> (C * 3, N * H * W)
        moments[name] = moments.get(name, torch.zeros(())) + columns @ columns.T
        seen[name] = seen.get(name, 0) + columns.shape[1]

    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs[0]))
        for name, module in whole.items()
    ]
    for line in ink:
        network(line)
    for hook in hooks:
        hook.remove()
    return {name: moment / seen[name] for name, moment in moments.items()}


@torch.no_grad()
def _factored(
    convolution: nn.Module, norm: nn.Module, moment: Tensor, share: float
) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return the two convolutions in place of a whole one, whose batch norm stays.

    With L L^T the second moments of the input and M the kernel as (C * 3 above each other) x
    (outputs * 3 beside each other), the squared error is made of the singular values of L^T M that
    are left out. The kernel is scaled as the batch norm scales what it gives.
    """
    assert isinstance(convolution, nn.Conv2d), convolution
    assert isinstance(norm, nn.BatchNorm2d), norm
    assert norm.running_var is not None
    outputs, inputs = convolution.weight.shape[:2]
    rank = share * 3 * inputs * outputs / (inputs + outputs)
    rank = MULTIPLE * max(1, math.floor(rank / MULTIPLE + 0.5))
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)
    kernel = (convolution.weight * scale).permute(1, 2, 0, 3).reshape(inputs * 3, outputs * 3)
    ridge = RIDGE * moment.diagonal().mean() * torch.eye(len(moment))
    root = torch.linalg.cholesky((moment + ridge).double())
    left, values, right = torch.linalg.svd(root.T @ kernel.double(), full_matrices=False)
    sizes = values[:rank].sqrt()
    down = torch.linalg.solve(root.T, left[:, :rank] * sizes)  # -> (C * 3, rank)
    across = (sizes[:, None] * right[:rank]).reshape(rank, outputs, 3)
    vertical, horizontal = factors(convolution, rank)
    vertical.weight.copy_(down.T.reshape(rank, inputs, 3, 1))
    horizontal.weight.copy_(across.permute(1, 0, 2).reshape(outputs, rank, 1, 3) / scale)
    return vertical, horizontal
