"""The PyTorch twin of each Keras layer, with its weights (docs/keras.md has the table).

A builder takes a layer of the file, refuses options it does not know, and puts Keras's weights
into PyTorch's order. `TWINS` has them by Keras's class name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from penname.errors import ModelError
from penname.training.keras_graph import FLATTEN, SLICES, Cut, Node
from penname.training.keras_modules import (
    PICTURE,
    BatchNorm,
    HardSigmoid,
    KerasOrder,
    Merge,
    Permute,
    Reshape,
    Shape,
    Slice,
)
from penname.training.keras_recurrent import GATES, Backwards, Bidirectional, Cell, one_way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penname.training.keras_file import Weights

Pair = tuple[int, int]

AXES = {1: 2, 2: 3, 3: 1, -3: 2, -2: 3, -1: 1}  # of a picture: Keras's number to torch's

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "mish": nn.Mish,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "softplus": nn.Softplus,
    "softmax": lambda: nn.Softmax(-1),
}


@dataclass(frozen=True)
class Layer:
    """What a twin is made from: a node, its weights, and the shapes of its inputs, N = 1."""

    kind: str
    config: Mapping[str, Any]
    weights: Weights
    shapes: list[Shape]
    version: str  # of Keras
    cut: Cut | None = None

    @property
    def picture(self) -> bool:
        """Whether it works on pictures (N, C, H, W), not on frames (N, T, F)."""
        return len(self.shapes[0]) == PICTURE

    def wrapped(self, key: str) -> Layer:
        """Return a layer that this one wraps, without its weights."""
        inner = self.config[key]
        return replace(self, kind=inner["class_name"], config=inner["config"], weights=[])


def twin(node: Node, weights: Weights, shapes: list[Shape], version: str) -> nn.Module:
    """Return the PyTorch module of a node, in evaluation mode.

    Raises:
        ModelError: the layer is not known here, or uses what PyTorch or penname lacks.
    """
    if node.kind not in TWINS:
        advice = "save the model without it" if node.kind == "Lambda" else "it is not known"
        what = " holds code, which is not run" if node.kind == "Lambda" else ""
        raise ModelError(f"layer {node.name} ({node.kind}){what}; {advice} (docs/keras.md)")
    layer = Layer(node.kind, node.config, weights, shapes, version, node.cut)
    try:
        module = TWINS[node.kind](layer)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"layer {node.name} ({node.kind}) does not fit: {error}") from error
    except ModelError as error:
        raise ModelError(f"layer {node.name} ({node.kind}): {error}") from None
    return module.eval()


def activation(value: Any, layer: Layer) -> nn.Module:
    """Return an activation from how a config writes it: a name, a dictionary, or nothing."""
    if isinstance(value, dict):
        if value["class_name"] in ("LeakyReLU", "ReLU", "Softmax"):
            return TWINS[value["class_name"]](replace(layer, config=value["config"]))
        config = value.get("config")
        value = config if isinstance(config, str) else value.get("registered_name")
    name = str(value or "linear").rpartition(">")[2].lower()
    if name == "hard_sigmoid":
        return HardSigmoid(1 / 5 if layer.version.startswith(("1", "2")) else 1 / 6)
    if name == "softmax" and layer.picture:
        return KerasOrder(nn.Softmax(-1))
    if name not in ACTIVATIONS:
        raise ModelError(f"activation {name} is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def _fill(module: nn.Module, **weights: Any) -> None:
    """Put arrays over the weights of a module; their shapes must be equal."""
    state = module.state_dict()
    for name, values in weights.items():
        tensor = torch.as_tensor(values)
        if state[name].shape != tensor.shape:
            raise ModelError(f"{name} is {tuple(tensor.shape)}, not {tuple(state[name].shape)}")
        state[name].copy_(tensor)


def _weights(layer: Layer, *wanted: bool) -> list[Any]:
    """Return the weights in Keras's order, None for each that the config does without."""
    if len(layer.weights) != sum(wanted):
        raise ModelError(f"the file has {len(layer.weights)} weights for it, not {sum(wanted)}")
    rest = iter(torch.from_numpy(array) for array in layer.weights)
    return [next(rest) if want else None for want in wanted]


def _only(layer: Layer, **wanted: Any) -> None:
    """Refuse options with other values than these; those a config lacks have them."""
    for name, value in wanted.items():
        if layer.config.get(name, value) != value:
            raise ModelError(f"{name} is {layer.config[name]!r}; only {value!r} is known")


def _pair(value: Any) -> Pair:
    high, wide = (value, value) if isinstance(value, int) else value
    return int(high), int(wide)


def _same(size: int, kernel: int, stride: int) -> Pair:
    """Return what 'same' pads before and after an axis: an odd one comes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padding(layer: Layer, kernel: Pair, stride: Pair) -> tuple[int, int, int, int]:
    """Return the padding (left, right, top, bottom)."""
    if layer.config.get("padding", "valid") == "valid":
        return 0, 0, 0, 0
    _only(layer, padding="same")
    _, _, height, width = layer.shapes[0]
    return *_same(width, kernel[1], stride[1]), *_same(height, kernel[0], stride[0])


def _convolution(layer: Layer) -> nn.Module:
    _only(layer, data_format="channels_last")
    kernel, bias = _weights(layer, True, layer.config.get("use_bias", True))
    high, wide, inputs, outputs = kernel.shape
    stride = _pair(layer.config.get("strides", 1))
    dilation = _pair(layer.config.get("dilation_rate", 1))
    reach = (high - 1) * dilation[0] + 1, (wide - 1) * dilation[1] + 1
    left, right, top, bottom = _padding(layer, reach, stride)
    even = left == right and top == bottom
    convolution = nn.Conv2d(
        inputs * layer.config.get("groups", 1),
        outputs,
        (high, wide),
        stride,
        padding=(top, left) if even else 0,
        dilation=dilation,
        groups=layer.config.get("groups", 1),
        bias=bias is not None,
    )
    _fill(convolution, weight=kernel.permute(3, 2, 0, 1))  # (H, W, in, out) -> (out, in, H, W)
    if bias is not None:
        _fill(convolution, bias=bias)
    pad = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
    return nn.Sequential(*pad, convolution, activation(layer.config.get("activation"), layer))


def _dense(layer: Layer) -> nn.Module:
    kernel, bias = _weights(layer, True, layer.config.get("use_bias", True))
    linear = nn.Linear(kernel.shape[0], kernel.shape[1], bias=bias is not None)
    _fill(linear, weight=kernel.T)  # (in, out) -> (out, in)
    if bias is not None:
        _fill(linear, bias=bias)
    return nn.Sequential(KerasOrder(linear), activation(layer.config.get("activation"), layer))


def _batch_norm(layer: Layer) -> nn.Module:
    config = layer.config
    gamma, beta, mean, variance = _weights(
        layer, config.get("scale", True), config.get("center", True), True, True
    )
    axis = config.get("axis", -1)
    (axis,) = axis if isinstance(axis, list) else [axis]
    kind = nn.BatchNorm2d if layer.picture else nn.BatchNorm1d
    norm = kind(len(mean), eps=config["epsilon"], momentum=1 - config["momentum"])
    _fill(norm, running_mean=mean, running_var=variance)
    if gamma is not None:
        _fill(norm, weight=gamma)
    if beta is not None:
        _fill(norm, bias=beta)
    return BatchNorm(norm, AXES[axis] if layer.picture else axis % 3)


def _layer_norm(layer: Layer) -> nn.Module:
    _only(layer, rms_scaling=False)
    if layer.config["axis"] not in (-1, [-1], [len(layer.shapes[0]) - 1]):
        raise ModelError(f"axis is {layer.config['axis']}; only the last one is known")
    center, scale = layer.config.get("center", True), layer.config.get("scale", True)
    gamma, beta = _weights(layer, scale, center)
    norm = nn.LayerNorm(_features(layer), eps=layer.config["epsilon"])
    if gamma is not None:
        _fill(norm, weight=gamma)
    if beta is not None:
        _fill(norm, bias=beta)
    return KerasOrder(norm)


def _features(layer: Layer) -> int:
    """Return the size of Keras's last axis."""
    return layer.shapes[0][1 if layer.picture else -1]


def _max_pooling(layer: Layer) -> nn.Module:
    _only(layer, data_format="channels_last")
    size = _pair(layer.config.get("pool_size", 2))
    stride = _pair(layer.config.get("strides") or size)
    padding = _padding(layer, size, stride)
    pad = [nn.ConstantPad2d(padding, -torch.inf)] if any(padding) else []
    return nn.Sequential(*pad, nn.MaxPool2d(size, stride))


def _zero_padding(layer: Layer) -> nn.Module:
    _only(layer, data_format="channels_last")
    (top, bottom), (left, right) = layer.config["padding"]
    return nn.ZeroPad2d((left, right, top, bottom))


def _concatenate(layer: Layer) -> nn.Module:
    axis = layer.config.get("axis", -1)
    return Merge(AXES[axis] if layer.picture else axis)


def _relu(layer: Layer) -> nn.Module:
    _only(layer, threshold=0.0)
    most, slope = layer.config.get("max_value"), layer.config.get("negative_slope", 0.0)
    cut = [] if most is None else [nn.Hardtanh(-torch.inf, most)]
    return nn.Sequential(nn.LeakyReLU(slope or 0.0), *cut)


def _leaky_relu(layer: Layer) -> nn.Module:
    slope = layer.config.get("negative_slope", layer.config.get("alpha", 0.3))
    return nn.LeakyReLU(float(slope))


def _softmax(layer: Layer) -> nn.Module:
    _only(layer, axis=-1)
    return activation("softmax", layer)


def _reshape(layer: Layer) -> nn.Module:
    return KerasOrder(Reshape(tuple(layer.config["target_shape"])))


def _flatten(layer: Layer) -> nn.Module:
    _, channels, rows, columns = layer.shapes[0]
    return KerasOrder(Reshape((rows, columns * channels)))


def _direction(layer: Layer) -> nn.Module:
    """Return an LSTM or a GRU, backwards if it says so."""
    _only(layer, return_sequences=True, return_state=False, stateful=False, time_major=False)
    config = layer.config
    kernel, recurrent, bias = _weights(layer, True, True, config.get("use_bias", True))
    if bias is None:
        bias = kernel.new_zeros(kernel.shape[1])
    if bias.ndim == 1:
        bias = torch.stack([bias, torch.zeros_like(bias)])
    cell = Cell(
        layer.kind,
        kernel,
        recurrent,
        bias,
        reset_after=config.get("reset_after", False),
        activation=activation(config["activation"], layer),
        gate=activation(config["recurrent_activation"], layer),
    )
    return Backwards(one_way(cell)) if config.get("go_backwards") else one_way(cell)


def _bidirectional(layer: Layer) -> nn.Module:
    """Return both directions; the second is the first turned round unless the config has it."""
    ahead = layer.wrapped("layer")
    back = layer.wrapped("backward_layer") if layer.config.get("backward_layer") else ahead
    back = replace(back, config={**back.config, "go_backwards": True})
    if not {ahead.kind, back.kind} <= set(GATES):
        raise ModelError(f"Bidirectional({ahead.kind}) is not known; known: {', '.join(GATES)}")
    half = len(layer.weights) // 2
    return Bidirectional(
        _direction(replace(ahead, weights=layer.weights[:half])),
        _direction(replace(back, weights=layer.weights[half:])),
        layer.config["merge_mode"],
    )


TWINS: dict[str, Callable[[Layer], nn.Module]] = {
    "Activation": lambda layer: activation(layer.config["activation"], layer),
    "Add": lambda _: Merge(None),
    "BatchNormalization": _batch_norm,
    "Bidirectional": _bidirectional,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Dense": _dense,
    "Dropout": lambda _: nn.Identity(),
    "GaussianNoise": lambda _: nn.Identity(),
    "GRU": _direction,
    "LSTM": _direction,
    "LayerNormalization": _layer_norm,
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _max_pooling,
    "Permute": lambda layer: KerasOrder(Permute(tuple(layer.config["dims"]))),
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "SpatialDropout2D": lambda _: nn.Identity(),
    "ZeroPadding2D": _zero_padding,
    FLATTEN: _flatten,
    **dict.fromkeys(SLICES, lambda layer: Slice(layer.cut or (None, None))),
}
