"""Keras's LSTM and GRU in PyTorch: frames (N, T, F) to frames (N, T, U).

Keras keeps a kernel (F, G * U), a recurrent kernel (U, G * U) and a bias for all G gates side by
side: input, forget, cell, output for an LSTM; update, reset, candidate for a GRU. torch stacks
the same blocks as rows, has two biases, and puts a GRU's reset before its update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from penname.errors import ModelError

GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Cell:
    """The weights and options of one direction."""

    kind: str  # LSTM or GRU
    kernel: Tensor  # (F, G * U)
    recurrent: Tensor  # (U, G * U)
    bias: Tensor  # (2, G * U): added to the input's part, and to the state's part
    reset_after: bool  # a GRU's: the reset gate acts after the product with the state
    activation: nn.Module
    gate: nn.Module  # the activation of the gates

    def __post_init__(self) -> None:
        (_, columns), units = self.kernel.shape, len(self.recurrent)
        wide = GATES[self.kind] * units
        if columns != wide or self.recurrent.shape != (units, wide) or self.bias.shape != (2, wide):
            shapes = [tuple(each.shape) for each in (self.kernel, self.recurrent, self.bias)]
            raise ModelError(f"its weights are {shapes}, not those of {self.kind}")

    @property
    def in_torch(self) -> bool:
        """Whether torch has this very cell."""
        usual = isinstance(self.activation, nn.Tanh) and isinstance(self.gate, nn.Sigmoid)
        return usual and (self.kind == "LSTM" or self.reset_after)


def one_way(cell: Cell) -> nn.Module:
    """Return a cell's frames from the first to the last."""
    return Recurrent(cell) if cell.in_torch else Steps(cell)


class Recurrent(nn.Module):
    """torch's own LSTM or GRU with Keras's weights."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        kind = nn.LSTM if cell.kind == "LSTM" else nn.GRU
        self.layer = kind(len(cell.kernel), len(cell.recurrent), batch_first=True)
        inputs, states = _rows(cell.bias, cell.kind).T
        self.layer.load_state_dict(
            {
                "weight_ih_l0": _rows(cell.kernel, cell.kind),
                "weight_hh_l0": _rows(cell.recurrent, cell.kind),
                "bias_ih_l0": inputs,
                "bias_hh_l0": states,
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, U)."""
        frames: Tensor = self.layer(x)[0]
        return frames


class Steps(nn.Module):
    """A cell that torch lacks, frame by frame: hard sigmoid gates, or a GRU that resets before."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.units = len(cell.recurrent)
        gates = cell.kernel.shape[1] - (self.units if cell.kind == "GRU" else 0)
        parts = [gates, cell.kernel.shape[1] - gates]  # a GRU's candidate is computed apart
        self.register_buffer("kernel", cell.kernel)
        self.register_buffer("bias", cell.bias[0])
        self.recurrent = nn.ParameterList(torch.split(cell.recurrent, parts, 1))
        self.biases = nn.ParameterList(torch.split(cell.bias[1], parts))
        self.activation, self.gate, self.reset_after = cell.activation, cell.gate, cell.reset_after
        self.step = self._lstm if cell.kind == "LSTM" else self._gru

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, U)."""
        inputs = x @ self.kernel + self.bias  # (N, T, F) -> (N, T, G * U)
        state = (inputs[:, 0, : self.units] * 0,) * 2  # (N, U)
        frames = []
        for each in inputs.unbind(1):
            state = self.step(each, *state)
            frames.append(state[0])
        return torch.stack(frames, 1)

    def _lstm(self, inputs: Tensor, output: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        gates = inputs + output @ self.recurrent[0] + self.biases[0]
        let_in, keep, new, let_out = gates.split(self.units, -1)
        memory = self.gate(keep) * memory + self.gate(let_in) * self.activation(new)
        return self.gate(let_out) * self.activation(memory), memory

    def _gru(self, inputs: Tensor, output: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        gates, new = torch.split(inputs, [2 * self.units, self.units], -1)
        gates = self.gate(gates + output @ self.recurrent[0] + self.biases[0])
        update, reset = gates.split(self.units, -1)
        if self.reset_after:
            part = reset * (output @ self.recurrent[1] + self.biases[1])
        else:
            part = (reset * output) @ self.recurrent[1] + self.biases[1]
        output = update * output + (1 - update) * self.activation(new + part)
        return output, output


class Backwards(nn.Module):
    """A direction that begins at the last frame; its output is in the order of its steps."""

    def __init__(self, direction: nn.Module) -> None:
        super().__init__()
        self.direction = direction

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, U), the last frame's first."""
        frames: Tensor = self.direction(x.flip(1))
        return frames


class Bidirectional(nn.Module):
    """Two directions over the same frames, the second turned round again, and merged."""

    def __init__(self, ahead: nn.Module, back: nn.Module, merge: str) -> None:
        super().__init__()
        if merge not in ("concat", "sum", "ave", "mul"):
            raise ModelError(f"merge_mode {merge} is not known; known: concat, sum, ave, mul")
        self.ahead, self.back, self.merge = ahead, back, merge

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, 2 * U) for concat, (N, T, U) for the others."""
        ahead, back = self.ahead(x), self.back(x).flip(1)
        if self.merge == "concat":
            return torch.cat([ahead, back], -1)
        if self.merge == "mul":
            return torch.mul(ahead, back)
        both: Tensor = ahead + back
        return both / 2 if self.merge == "ave" else both


def _rows(weights: Tensor, kind: str) -> Tensor:
    """Return Keras's columns of gates as torch's rows, a GRU's first two exchanged."""
    blocks: list[Tensor] = list(torch.chunk(weights, GATES[kind], -1))
    if kind == "GRU":
        blocks[0], blocks[1] = blocks[1], blocks[0]
    return torch.cat(blocks, -1).T
