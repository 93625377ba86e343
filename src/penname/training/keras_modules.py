"""PyTorch modules that Keras has as layers and torch has not.

Between layers a picture is (N, C, H, W), where Keras has (N, H, W, C); everything else has the same
order in both. What looks at the order of axes (Reshape, Permute, Dense) is wrapped in `KerasOrder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from penname.training.keras_graph import Cut

Shape = tuple[int, ...]

PICTURE = 4  # axes of a picture; frames have 3


class KerasOrder(nn.Module):
    """Runs a module on pictures in Keras's order of axes, channels last."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (N, C, H, W) for a picture, and anything else as it is."""
        x = self.module(*(x.permute(0, 2, 3, 1) if x.ndim == PICTURE else x for x in inputs))
        return x.permute(0, 3, 1, 2) if x.ndim == PICTURE else x  # type: ignore[no-any-return]


class Reshape(nn.Module):
    """Gives all axes but the first another shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, *shape)."""
        return x.reshape(x.shape[0], *self.shape)


class Permute(nn.Module):
    """Puts the axes after the first into another order, counted from 1."""

    def __init__(self, order: Shape) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, ...) in the new order."""
        return x.permute(0, *self.order)


class Slice(nn.Module):
    """Cuts frames off: y[:, start:stop, :]."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = slice(*cut)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, fewer T, C)."""
        return x[:, self.cut]


class BatchNorm(nn.Module):
    """Batch norm over one axis, which torch wants second."""

    def __init__(self, norm: nn.Module, axis: int) -> None:
        super().__init__()
        self.norm, self.axis = norm, axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        if self.axis == 1:
            return self.norm(x)  # type: ignore[no-any-return]
        return self.norm(x.transpose(self.axis, 1)).transpose(self.axis, 1)  # type: ignore[no-any-return]


class Merge(nn.Module):
    """Adds or joins what several layers return."""

    def __init__(self, axis: int | None) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the sum, or the tensors joined along an axis."""
        return torch.stack(inputs).sum(0) if self.axis is None else torch.cat(inputs, self.axis)


class HardSigmoid(nn.Module):
    """A sigmoid of three straight lines; its slope is 1/5 in Keras 2 and 1/6 in Keras 3."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return values in 0..1."""
        return torch.clamp(self.slope * x + 0.5, 0, 1)
