"""Prune: fewer cells in the LSTM layers of a model, which what they say hardly needs.

The cells that stay are those that say most to what follows, and what follows is made anew for them:
the closest to what it gave that is linear in them, by the second moments of what the cells give for
some pictures (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", which
does so for convolutions). A network may be trained on then, `penname train --from` it; one that is
left the cells it needs reads as before without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from penname.errors import OptionError
from penname.training.graph import replace_network
from penname.training.model import as_ink, shape_of
from penname.training.quantise import draw_lines
from penname.training.start import network_with, weights_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penname.inputs import Input
    from penname.model_folder import ModelFolder
    from penname.training.model import Reader

GATES = 4  # input, forget, cell, output: a cell has a row of each in its weights
DIRECTIONS = "", "_reverse"
RIDGE = 1e-4  # of the mean second moment is added to all, as some cells say the same


def prune(folder: ModelFolder, pictures: Iterable[Input], cells: int) -> ModelFolder:
    """Leave the network of a model folder so many cells in each direction of its LSTM layers.

    A network in integers is one in float again, to be quantised anew.

    Args:
        folder: the model, which is changed in place.
        pictures: like those it will read; `quantise.PICTURES` of them are drawn.
        cells: fewer than it has.

    Raises:
        OptionError: it has no more cells.
        TrainingError: the network is no `Reader`, or not one of the pictures can be read.
    """
    weights = weights_of(folder)
    before = shape_of(weights).cells
    if not 0 < cells < before:
        raise OptionError(f"{folder.name} has {before} cells; {cells} is not fewer, and at least 1")
    lines = draw_lines(folder, pictures)
    ink = (as_ink(torch.from_numpy(folder.canvas(line))) for line in lines)
    moments = _second_moments(network_with(weights).eval(), ink)
    smaller = network_with(_pruned(weights, moments, cells))
    return replace_network(folder, smaller, {"cells": cells})


@torch.no_grad()
def _second_moments(network: Reader, ink: Iterable[Tensor]) -> list[Tensor]:
    """Return the sum of h h^T (2 * cells, 2 * cells) of what each LSTM layer gives, both ways."""
    moments = [torch.zeros(()) for _ in network.recurrent]

    def look(place: int, given: Tensor) -> None:
        each = given.flatten(0, 1)  # (N, T, 2 * cells) -> (N * T, 2 * cells)
        moments[place] = moments[place] + each.T @ each

    hooks = [
        layer.register_forward_hook(lambda _, __, given, place=place: look(place, given[0]))
        for place, layer in enumerate(network.recurrent)
    ]
    for line in ink:
        network(line)
    for hook in hooks:
        hook.remove()
    return moments


@torch.no_grad()
def _pruned(
    weights: Mapping[str, Tensor], moments: Sequence[Tensor], cells: int
) -> dict[str, Tensor]:
    """Return the weights of the network with fewer cells, by name."""
    weights = dict(weights)
    after = "apart.weight" if "apart.weight" in weights else "head.weight"
    for place, moment in enumerate(moments):
        before = len(moment) // 2
        layer = f"recurrent.{place}."
        following = [f"recurrent.{place + 1}.weight_ih_l0{way}" for way in DIRECTIONS]
        readers = following if place + 1 < len(moments) else [after]
        says = moment.diagonal() * sum(weights[name].square().sum(0) for name in readers)
        halves = says[:before], says[before:]
        kept = [half.topk(cells).indices.sort().values for half in halves]
        both = torch.cat([kept[0], kept[1] + before])
        for name in readers:
            weights[name] = weights[name] @ _fit(moment, both)
        for number, (way, chosen) in enumerate(zip(DIRECTIONS, kept, strict=True)):
            rows = torch.cat([chosen + gate * before for gate in range(GATES)])
            own = slice(number * before, (number + 1) * before)
            again = f"{layer}weight_hh_l0{way}"
            weights[again] = weights[again] @ _fit(moment[own, own], chosen)
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                weights[f"{layer}{name}{way}"] = weights[f"{layer}{name}{way}"][rows]
    return weights


def _fit(moment: Tensor, kept: Tensor) -> Tensor:
    """Return what makes all values (n,) of those that are kept: (n, kept), by least squares."""
    among = moment[kept][:, kept].double()
    ridge = RIDGE * among.diagonal().mean() * torch.eye(len(kept))
    fit: Tensor = torch.linalg.solve(among + ridge, moment[kept].double()).T.float()
    fit[kept] = torch.eye(len(kept))
    return fit
