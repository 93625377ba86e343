"""The networks: line images (N, 1, H, W) uint8 to logits (N, T, C).

`Reader` is the default: residual convolutions, the maximum over each column, two bidirectional
LSTM layers, and while training a second CTC head straight on the columns (Retsinas et al. 2022,
"Best Practices for a Handwritten Text Recognition System"). `Origin` is the 2021 project's CRNN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from penname.errors import OptionError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penname.training.options import TrainOptions

STRIDE = 4  # pixels a frame, for both networks
FACTORISED = re.compile(r"(stages\.\d+\.\d+\.(?:first|second))\.0\.0\.weight")  # its first factor


@dataclass(frozen=True)
class Shape:
    """Widths of a `Reader`: stem, four stages of residual blocks, LSTM cells.

    Each convolution of the stem halves the picture, one or two; `together` columns make one step
    of the LSTM.
    """

    stem: tuple[int, ...]
    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    cells: int
    together: int = 1


SHAPES = {
    "names": Shape((16, 48), (48, 96, 128, 192), (1, 2, 2, 1), 128, together=2),
    "latin": Shape((24, 64), (64, 128, 192, 256), (1, 2, 3, 2), 224, together=2),
    "teacher": Shape((32,), (64, 128, 256, 256), (2, 2, 2, 2), 224),
}


def shape_of(weights: Mapping[str, Tensor]) -> Shape:
    """Return the shape of the `Reader` that has these weights, by name.

    Raises:
        TrainingError: they are another network's.
    """

    def widths(name: str) -> tuple[int, ...]:
        found = {}
        for each, weight in weights.items():
            if match := re.fullmatch(name, each):
                found[int(match[1])] = len(weight)
        return tuple(found[place] for place in sorted(found))

    blocks = [widths(rf"stages\.{stage}\.(\d+)\.second\.1\.weight") for stage in range(4)]
    cells = weights.get("recurrent.0.weight_hh_l0")
    if cells is None or not all(blocks):
        raise TrainingError("the model's network is none of penname's Reader presets")
    one, two, three, four = blocks
    return Shape(
        stem=widths(r"stem\.(\d+)\.0\.weight"),
        widths=(one[0], two[0], three[0], four[0]),
        blocks=(len(one), len(two), len(three), len(four)),
        cells=cells.shape[1],
        together=weights["recurrent.0.weight_ih_l0"].shape[1] // four[0],
    )


def build(
    options: TrainOptions,
    height: int,
    classes: int,
    weights: Mapping[str, Tensor] | None = None,
) -> Reader | Origin:
    """Return the network of a preset, with random weights, for line images of `height` pixels.

    A `Reader` has the shape of the `weights` it is to hold, if given: the preset's may have changed
    since, and convolutions may be factorised.
    """
    shape = SHAPES.get(options.preset)
    if shape and weights:
        shape = shape_of(weights)
    least = 2 ** (len(shape.stem) + len(shape.widths) - 1) if shape else 16
    if height < least:
        raise OptionError(f"{options.preset} needs a height of at least {least}, not {height}")
    if not shape:
        return Origin(height, classes, mish=options.preset == "origin-mish")
    if weights:
        return build_like(weights, classes, options.dropout)
    return Reader(shape, classes, options.dropout)


def build_like(
    weights: Mapping[str, Tensor], classes: int | None = None, dropout: float = 0.0
) -> Reader:
    """Return a `Reader` of the shape of these weights, with random ones.

    Args:
        weights: a network's weights by name; its convolutions may be factorised.
        classes: outputs; None is as many as these weights have.
        dropout: before, between and after the recurrent layers.

    Raises:
        TrainingError: they are another network's.
    """
    network = Reader(shape_of(weights), classes or len(weights["head.bias"]), dropout)
    for name, weight in weights.items():
        if match := FACTORISED.fullmatch(name):
            module = network.get_submodule(match[1])
            assert isinstance(module, nn.Sequential), match[1]
            module[0] = nn.Sequential(*factors(module[0], len(weight)))
    return network


def factors(convolution: nn.Module, rank: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return two convolutions for a 3x3 one, with random weights: 3x1 to `rank` channels, 1x3."""
    assert isinstance(convolution, nn.Conv2d), convolution
    inputs, outputs = convolution.in_channels, convolution.out_channels
    vertical = nn.Conv2d(inputs, rank, (3, 1), padding=(1, 0), bias=False)
    return vertical, nn.Conv2d(rank, outputs, (1, 3), padding=(0, 1), bias=False)


def keep_statistics(network: nn.Module) -> None:
    """Let batch norm in a network in training mode use and keep the statistics that it has."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def freeze(network: nn.Module, parts: str) -> None:
    """Let parts of a network in training mode stay as they are, batch norm in them too.

    Args:
        network: a `Reader` or an `Origin`.
        parts: names of its modules, with commas between them.

    Raises:
        OptionError: it has no such part, or none is left to train.
    """
    known = dict(network.named_children())
    for name in filter(None, parts.split(",")):
        if name not in known:
            raise OptionError(f"freeze: no part {name!r}; its parts are {', '.join(known)}")
        keep_statistics(known[name].requires_grad_(requires_grad=False))
    if not any(weight.requires_grad for weight in network.parameters()):
        raise OptionError(f"freeze is {parts!r}, which leaves nothing to train")


def pixels_a_step(preset: str) -> int:
    """Return the number by which a preset's network divides widths: canvases are its multiples."""
    return STRIDE * SHAPES[preset].together if preset in SHAPES else STRIDE


def as_ink(images: Tensor) -> Tensor:
    """Return uint8 line images, 255 paper, as float32 ink, 1 black and 0 paper."""
    return (255 - images.float()) / 255


def parameters(network: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weight.numel() for weight in network.parameters())


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input is added; a 1x1 one fits a new width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs)
        self.second = _convolution(outputs, outputs)
        self.fit = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H, W) for (N, inputs, H, W)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.fit(x))


class Reader(nn.Module):
    """Residual convolutions, column maximum, BiLSTM; 4 pixels a frame.

    Where an LSTM step takes several columns, what it says of each is added to that column.
    """

    def __init__(self, shape: Shape, classes: int, dropout: float) -> None:
        super().__init__()
        stem, inputs = [], 1
        for outputs in shape.stem:
            stem += [_convolution(inputs, outputs, stride=2), nn.ReLU()]
            inputs = outputs
        self.stem = nn.Sequential(*stem)
        across = STRIDE // 2 ** len(shape.stem)  # what is left to halve
        pools = [nn.Identity(), *(nn.MaxPool2d((2, by)) for by in (across, 1, 1))]
        stages = []
        for pool, outputs, count in zip(pools, shape.widths, shape.blocks, strict=True):
            blocks = [Residual(inputs if i == 0 else outputs, outputs) for i in range(count)]
            stages.append(nn.Sequential(pool, *blocks))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.together, outputs = shape.together, 2 * shape.cells
        # Two of one layer, for cuDNN keeps the state of its own dropout out of recorded passes.
        self.recurrent = nn.ModuleList(
            nn.LSTM(features, shape.cells, bidirectional=True, batch_first=True)
            for features in (inputs * shape.together, outputs)
        )
        self.apart = nn.Linear(outputs, inputs * shape.together) if shape.together > 1 else None
        self.head = nn.Linear(inputs if shape.together > 1 else outputs, classes)
        self.shortcut = nn.Conv1d(inputs, classes, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the shortcut head's logits, each (N, T, C), of ink (N, 1, H, W)."""
        x = self.stages(self.stem(images))  # (N, 1, H, W) -> (N, F, H/16, T)
        columns = x.amax(dim=2)  # -> (N, F, T)
        frames = self._context(columns.transpose(1, 2))
        logits = self.head(self.dropout(frames))  # -> (N, T, C)
        return logits, self.shortcut(columns).transpose(1, 2)

    def _context(self, columns: Tensor) -> Tensor:
        """Return (N, T, features of the head) for columns (N, T, F)."""
        if self.apart is None:
            return self._recur(columns)  # -> (N, T, 2 * cells)
        lines, _, features = columns.shape
        steps = columns.reshape(lines, -1, self.together * features)
        found = self.apart(self._recur(steps))  # -> (N, T / together, ...)
        return torch.relu(columns + found.reshape(lines, -1, features))

    def _recur(self, steps: Tensor) -> Tensor:
        for layer in self.recurrent:
            steps, _ = layer(self.dropout(steps))
        return steps


class Origin(nn.Module):
    """The 2021 project's CRNN: three convolutions, Linear 64, two BiLSTM of 512 cells, Linear.

    Its input is 64 x 256 cropped or padded; widths are kept, so it reads other widths too.
    """

    def __init__(self, height: int, classes: int, *, mish: bool) -> None:
        super().__init__()
        if height % 8:
            raise OptionError(f"the origin's network needs a height divisible by 8, not {height}")
        activation = nn.Mish if mish else nn.ReLU
        layers: list[nn.Module] = []
        for inputs, outputs, pool in ((1, 32, (2, 2)), (32, 64, (2, 2)), (64, 128, (2, 1))):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
            layers += [activation(), nn.MaxPool2d(pool)]
            layers += [nn.Dropout(0.3)] if inputs > 1 else []
        self.convolutions = nn.Sequential(*layers)
        self.squeeze = nn.Sequential(nn.Linear(128 * (height // 8), 64), activation())
        self.recurrent = nn.LSTM(64, 512, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(1024, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return logits (N, T, C) and no shortcut, of ink (N, 1, H, W)."""
        x = self.convolutions(images)  # (N, 1, H, W) -> (N, 128, H/8, W/4)
        x = x.permute(0, 3, 1, 2).flatten(2)  # -> (N, T, 128 * H/8)
        frames, _ = self.recurrent(self.squeeze(x))  # -> (N, T, 1024)
        return self.head(frames), None


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
