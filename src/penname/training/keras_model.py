"""A Keras model as a PyTorch network, and as a model folder (docs/keras.md).

    images uint8 (N, 1, H, W) -> values, turned -> the layers -> log_probs (N, T, C)

The blank moves from the last label to the first. Frames that are cut off come back as frames that
are certainly blank: they write nothing and change no likelihood, and T = W / stride holds, so the
characters' spans are right.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from penname.alphabet import BLANK, Alphabet
from penname.errors import ModelError, OptionError
from penname.files import work_folder
from penname.line_image import PAPER, ImageSpec
from penname.model_folder import ModelFolder
from penname.options import to_json
from penname.training.export import move_into
from penname.training.graph import check_parity, trace
from penname.training.keras_file import DAMAGE, KerasFile, read_keras
from penname.training.keras_graph import SLICES, Node, read_graph
from penname.training.keras_layers import twin
from penname.training.keras_origin import WEIGHTS_ALONE, with_origin
from penname.training.model import parameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penname.training.keras_modules import Shape
    from penname.training.keras_options import KerasOptions

IMPOSSIBLE = -100.0  # log probability of the characters in a frame that was cut off
MAX_SIDE = 4096  # pixels of the input; a line is some 256 x 64
QUIET = ("Dropout", *SLICES)  # what may follow the last softmax


class KerasNetwork(nn.Module):
    """The layers of a Keras model: a picture in Keras's values (N, C, H, W) to scores (N, T, C).

    The softmax at its end is left out, so the scores are logits.

    Raises:
        ModelError: a layer is not known, or what they make is not scores of frames.
    """

    def __init__(self, file: KerasFile, nodes: Sequence[Node], picture: Shape) -> None:
        super().__init__()
        nodes = _without_softmax(nodes)
        values = {nodes[0].name: torch.zeros(1, *picture)}
        self.inputs = [node.inputs for node in nodes if node.inputs]
        self.channels = picture[0]
        self.names = [node.name for node in nodes]
        self.twins = nn.ModuleList()
        for node in nodes[1:]:
            before = [values[name] for name in node.inputs]
            shapes = [tuple(each.shape) for each in before]
            module = twin(node, file.weights.get(node.name, []), shapes, file.version)
            try:
                values[node.name] = module(*before)
            except (RuntimeError, IndexError) as error:
                raise ModelError(f"layer {node.name} ({node.kind}) fails: {error}") from error
            self.twins.append(module)
        scores = values[nodes[-1].name]
        if scores.ndim != 3 or not scores.shape[1]:
            raise ModelError(f"the model makes {tuple(scores.shape)}, not scores (N, T, C)")
        self.frames, self.classes = scores.shape[1:]
        self.cut = self._cut(values, nodes)

    @staticmethod
    def _cut(values: dict[str, Tensor], nodes: Sequence[Node]) -> tuple[int, int]:
        """Return how many frames the model's own slices drop at either end."""
        first = last = 0
        for node in nodes:
            if node.cut is not None:
                frames = values[node.inputs[0]].shape[1]
                start, stop, _ = slice(*node.cut).indices(frames)
                first, last = first + start, last + frames - stop
        return first, last

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, T, C)."""
        values = {self.names[0]: x}
        for name, inputs, module in zip(self.names[1:], self.inputs, self.twins, strict=True):
            values[name] = module(*(values[each] for each in inputs))
        return values[self.names[-1]]


class Imported(nn.Module):
    """A Keras network as penname reads with it: images uint8 (N, 1, H, W) to log_probs (N, T, C).

    Raises:
        OptionError: more frames are cut off than there are.
    """

    empty: Tensor

    def __init__(self, network: KerasNetwork, options: KerasOptions, width: int) -> None:
        super().__init__()
        self.network, self.options = network, options
        first, last = options.cut
        if min(first, last) < 0 or first + last >= network.frames:
            raise OptionError(f"cut-frames is {first},{last}; the network has {network.frames}")
        self.kept = slice(first, network.frames - last)
        frames = network.frames + sum(network.cut)
        self.stride = width // frames
        missing = width // max(self.stride, 1) - frames  # where convolutions ate the borders
        self.before = network.cut[0] + first + missing // 2
        self.after = network.cut[1] + last + missing - missing // 2
        empty = torch.full((1, 1, network.classes), IMPOSSIBLE)
        empty[..., BLANK] = 0
        self.register_buffer("empty", empty)

    def forward(self, images: Tensor) -> Tensor:
        """Return log_probs."""
        ink, paper = self.options.ink_paper
        x = ink + (paper - ink) * (images.float() / PAPER)
        if self.options.turn == "clockwise":
            x = x.flip(2)
        if self.options.turn != "upright":
            x = x.transpose(2, 3)  # (N, 1, H, W) -> (N, 1, W, H)
        scores = self.network(x.expand(-1, self.network.channels, -1, -1))
        log_probs = torch.log_softmax(scores[:, self.kept], -1)
        if self.options.blank == "last":
            log_probs = torch.cat([log_probs[..., -1:], log_probs[..., :-1]], -1)
        before, after = (
            [self.empty.expand(images.shape[0], count, -1)] if count else []
            for count in (self.before, self.after)
        )
        return torch.cat([*before, log_probs, *after], 1)


@torch.no_grad()
def load_keras(path: Path, options: KerasOptions) -> tuple[Imported, ImageSpec, str]:
    """Return the network in a Keras file, its image spec, and the Keras that wrote it.

    Raises:
        ModelError: the file cannot be read, or its network cannot be built.
        OptionError: the options do not fit the network.
    """
    file = read_keras(path)
    alone = file.config is None
    try:
        file = with_origin(file) if alone else file
        nodes = read_graph(file.config or {})
        picture = _picture(_shape(nodes[0]), options.width)
        if options.turn == "auto":
            wide_first = _shape(nodes[0])[1] is None or picture[1] > picture[2]
            options = replace(options, turn="clockwise" if wide_first else "upright")
        network = KerasNetwork(file, nodes, picture).eval()
    except (ModelError, *DAMAGE) as error:
        reason = str(error) if isinstance(error, ModelError) else f"damaged ({error!r})"
        raise ModelError(f"{path}: {reason}" + (f"; {WEIGHTS_ALONE}" if alone else "")) from error
    _, height, width = picture
    if options.turn != "upright":
        height, width = width, height
    imported = Imported(network, options, width).eval()
    if not imported.stride:
        raise ModelError(f"{path}: {network.frames} frames for {width} pixels; --turn may be wrong")
    spec = ImageSpec(
        height=height,
        max_width=width,
        fit=options.image,
        trim="none",
        rulings="keep",
        max_scale=float(height),  # Keras enlarges without a limit
        width_step=width,
        writing=0.0,
    )
    return imported, spec, file.version


def import_keras(path: Path, alphabet: Alphabet, out: Path, options: KerasOptions) -> ModelFolder:
    """Write the network of a Keras file to the model folder `out`, named after the folder.

    Args:
        path: a `.keras` or `.h5` file.
        alphabet: the characters of the network's labels, in order, the blank left out.
        out: the model folder; files of an earlier export are replaced.
        options: what the file does not say.

    Raises:
        ModelError: the file cannot be read, or its network is not of this alphabet.
        OptionError: the options do not fit the network.
        TrainingError: torch and ONNX Runtime disagree.
    """
    imported, spec, version = load_keras(path, options)
    if imported.network.classes != alphabet.classes:
        raise ModelError(
            f"{path}: the network has {imported.network.classes} outputs, so with the blank its "
            f"alphabet has {imported.network.classes - 1} characters, not {len(alphabet)}"
        )
    out.mkdir(parents=True, exist_ok=True)
    with work_folder(out, "import") as partial:
        folder = ModelFolder(
            path=partial,
            name=out.resolve().name,
            alphabet=alphabet,
            image=spec,
            stride=imported.stride,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            training={
                "keras": {"file": path.name, "version": version} | to_json(imported.options),
                "parameters": parameters(imported),
            },
        )
        images = torch.zeros(2, 1, spec.height, spec.max_width, dtype=torch.uint8)
        rows = {"images": {0: "N"}, "log_probs": {0: "N"}}
        trace(imported, {"images": images}, ["log_probs"], rows, folder.onnx)
        check_parity(imported, folder)
        folder.save()
        return move_into(folder, out)


def _shape(node: Node) -> list[int | None]:
    """Return the input's shape as Keras has it: (N, rows, columns, C), free sides None."""
    shape = node.config.get("batch_shape") or node.config.get("batch_input_shape")
    if not isinstance(shape, list) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ModelError(f"the input is {shape}; it must be pictures, grey or in colour")
    return shape


def _picture(shape: list[int | None], width: int) -> Shape:
    """Return the input's shape (C, rows, columns), a free side filled in."""
    sides = [side or width for side in shape[1:3]]
    if None in shape[1:3] and (not width or shape[1] == shape[2]):
        raise ModelError(f"the input is {shape}, of any width; give --width PIXELS")
    if width and None not in shape[1:3]:
        raise ModelError(f"the input is {shape}; --width is for one of any width")
    if not all(8 <= side <= MAX_SIDE for side in sides):
        raise ModelError(f"the input is {shape}; sides are 8 to {MAX_SIDE} pixels")
    return shape[3] or 1, *sides


def _without_softmax(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes with the last softmax taken out of its layer: scores are left.

    A last layer without activation is taken to give scores already, as losses that take logits do.
    """
    last = len(nodes) - 1
    while nodes[last].kind in QUIET:
        last -= 1
    node = nodes[last]
    if node.kind == "Softmax":
        node = replace(node, kind="Activation", config={"activation": "softmax"})
    ends = node.config.get("activation")
    if node.kind not in ("Activation", "Dense") or ends not in ("softmax", "linear", None):
        raise ModelError(f"the model ends in {node.name} ({node.kind}), not in a softmax")
    node = replace(node, config={**node.config, "activation": "linear"})
    return [*nodes[:last], node, *nodes[last + 1 :]]
