"""The graph of a Keras model: from its architecture as JSON to the nodes that read a picture.

Keras 2 and Keras 3 write connections differently, and the model that is saved is often the one
that was trained: beside the network it has inputs for labels and their lengths and a layer that
computes the CTC loss from them. Those are cut off, and what is left is one chain or graph from one
picture to the scores of each frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from penname.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INPUT = "InputLayer"
SLICES = ("GetItem", "SlicingOpLambda")  # y[:, 2:, :] in Keras 3 and in Keras 2
FLATTEN = "TimeDistributed(Flatten)"
MERGES = ("Add", "Concatenate")  # what may take several inputs
MAX_LAYERS = 400  # a CRNN has some 30

Cut: TypeAlias = "tuple[int | None, int | None]"  # start and stop, as in y[:, start:stop, :]


@dataclass(frozen=True)
class Node:
    """One layer where it is called: its class, its options, and the layers it is called on."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    cut: Cut | None = None  # for a slice of the frames


def read_graph(config: Mapping[str, Any]) -> list[Node]:
    """Return the nodes from the picture to the last layer, each after those it is called on.

    Raises:
        ModelError: the model is not a graph of layers, or more than one thing comes out of it.
    """
    kind, inner = config["class_name"], config["config"]
    if kind == "Sequential":
        layers = inner if isinstance(inner, list) else inner["layers"]  # a list before Keras 2.2
        nodes = list(_sequence(layers))
        outputs = [nodes[-1].name]
    elif "output_layers" in inner:  # a functional model, or a class with a training step made of it
        nodes = [_node(layer) for layer in inner["layers"]]
        outputs = _names(inner["output_layers"])
    else:
        raise ModelError(
            f"the model is a {kind}, whose graph is code and not in the file; "
            "rebuild it with the functional API in Keras and save that"
        )
    return _ancestors({node.name: node for node in nodes}, outputs)


def _sequence(layers: list[dict[str, Any]]) -> Iterator[Node]:
    """Yield the nodes of a Sequential model, each called on the one before it."""
    first = layers[0]
    before = first["config"].get("name", "input")
    if first["class_name"] != INPUT:  # Keras 2 may keep the input's shape in the first layer
        before = "penname_input"
        yield Node(before, INPUT, first["config"], ())
    for layer in layers:
        inputs = () if layer["class_name"] == INPUT else (before,)
        before = layer["config"]["name"]
        yield _unwrapped(Node(before, layer["class_name"], layer["config"], inputs))


def _node(layer: dict[str, Any]) -> Node:
    """Return the node of a layer of a functional model."""
    name, calls = layer["name"], layer.get("inbound_nodes") or []
    if len(calls) > 1:
        raise ModelError(f"layer {name} is called {len(calls)} times; it may be called once")
    called = list(_tensors(calls))
    if any(rest != [0, 0] for _, *rest in called):
        raise ModelError(f"layer {name} takes a second output, or that of a layer called twice")
    inputs = tuple(tensor[0] for tensor in called)
    cut = _cut(name, calls[0]) if layer["class_name"] in SLICES else None
    return _unwrapped(Node(name, layer["class_name"], layer["config"], inputs, cut))


def _unwrapped(node: Node) -> Node:
    """Return TimeDistributed(layer) as the layer, which here always works on the last axis."""
    if node.kind != "TimeDistributed":
        return node
    inner = node.config["layer"]
    kinds = ("Activation", "BatchNormalization", "Dense", "Dropout", "Flatten", "ReLU", "Softmax")
    if inner["class_name"] not in kinds:
        raise ModelError(f"layer {node.name}: TimeDistributed({inner['class_name']}) is not known")
    kind = inner["class_name"] if inner["class_name"] != "Flatten" else FLATTEN
    return replace(node, kind=kind, config=_of_all_frames(inner["config"]))


def _of_all_frames(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a layer of one frame (N, F) for all of them (N, T, F).

    Keras 2 writes the axis of a batch norm as it counts them, [1].
    """
    axis = config.get("axis")
    if isinstance(axis, list):
        (axis,) = axis
    return config | {"axis": axis + 1} if isinstance(axis, int) and axis > 0 else config


def _tensors(value: Any) -> Iterator[list[Any]]:
    """Yield [layer, call, output] of every tensor in `inbound_nodes`, in order.

    Keras 3 writes dictionaries with a `keras_history`; Keras 2 writes [layer, 0, 0, arguments],
    where an argument may be [layer, 0, 0] again.
    """
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield list(value["config"]["keras_history"])
        else:
            for inner in value.values():
                yield from _tensors(inner)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            if value[0] != "_CONSTANT_VALUE":
                yield value[:3]
            value = value[3:]
        for inner in value:
            yield from _tensors(inner)


def _cut(name: str, call: Any) -> Cut:
    """Return start and stop of a slice that cuts frames and nothing else."""
    if isinstance(call, dict):  # Keras 3
        slices = call["args"][1]
    else:  # Keras 2, where a single input stands without its list
        slices = (call if isinstance(call[0], str) else call[0])[3]["slice_spec"]
    found = [each.get("config", each) if isinstance(each, dict) else each for each in slices]
    whole = {"start": None, "stop": None, "step": None}
    frames = found[1] if len(found) in (2, 3) else None
    others = [each for axis, each in enumerate(found) if axis != 1]
    odd = [each for each in others if each != whole]
    if odd or not isinstance(frames, dict) or frames["step"] not in (None, 1):
        raise ModelError(f"layer {name}: only slices of the frames are known, as y[:, 2:, :]")
    return frames["start"], frames["stop"]


def _names(outputs: Any) -> list[str]:
    """Return the names in `output_layers`: one [name, 0, 0], or a list of them."""
    if outputs and isinstance(outputs[0], str):
        return [outputs[0]]
    return [output[0] for output in outputs]


def _ancestors(nodes: dict[str, Node], outputs: list[str]) -> list[Node]:
    """Return what the one output that is no training loss is made from, in order."""
    if len(nodes) > MAX_LAYERS:
        raise ModelError(f"the model has {len(nodes)} layers, over {MAX_LAYERS}")
    last = {_without_loss(nodes, name) for name in outputs}
    if len(last) != 1:
        raise ModelError(f"the model has {len(last)} outputs ({', '.join(sorted(last))}), not 1")
    order: dict[str, Node] = {}
    _visit(nodes, last.pop(), order, set())
    inputs = [node.name for node in order.values() if node.kind == INPUT]
    if len(inputs) != 1:
        raise ModelError(f"the model reads {len(inputs)} inputs ({', '.join(inputs)}), not 1")
    return list(order.values())


def _without_loss(nodes: dict[str, Node], name: str) -> str:
    """Return the layer that a CTC layer at the end takes its scores from, or the layer itself.

    The usual CTC layers, a Lambda or a class of one's own, either take labels, so all inputs but
    one are the model's own, or have ctc in their name.
    """
    node = nodes[name]
    computed = [other for other in node.inputs if nodes[other].kind != INPUT]
    takes_labels = len(computed) < len(node.inputs)
    named = "ctc" in (f"{node.kind} {name}" if node.kind == "Lambda" else node.kind).lower()
    return computed[0] if (takes_labels or named) and len(computed) == 1 else name


def _visit(nodes: dict[str, Node], name: str, order: dict[str, Node], open_: set[str]) -> None:
    if name in order:
        return
    if name in open_ or name not in nodes:
        raise ModelError(f"layer {name} is missing, or called on itself")
    node = nodes[name]
    if len(node.inputs) > 1 and node.kind not in MERGES:
        raise ModelError(f"layer {name} ({node.kind}) takes {len(node.inputs)} inputs, not 1")
    for other in node.inputs:
        _visit(nodes, other, order, open_ | {name})
    order[name] = node
