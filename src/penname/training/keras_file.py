"""Keras files: the architecture and the weights of a saved model, without Keras.

Three kinds are read. A `.keras` file (Keras 3, or a late 2) is a zip with `config.json` and
`model.weights.h5`. An `.h5` file of `model.save` (Keras 2 and 3) has the architecture in the
attribute `model_config` and the weights by layer in `model_weights`. An `.h5` file of
`save_weights` has weights alone.

A file comes from a stranger: nothing in it is unpickled, imported or executed, no link out of it
is followed, and sizes are checked before anything is read.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from penname.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKPOINTED = "_layer_checkpoint_dependencies"  # where Keras 2.12 and 2.13 keep weights
MAX_BYTES = 1 << 30  # of a file and of one array in it; a CRNN has some 10 MB
MAX_CONFIG = 1 << 24  # bytes of architecture; a CRNN has some 20 kB
ADVICE = "save the model in Keras as .keras or .h5"
PARTS = ("layer", "forward_layer", "backward_layer", "cell")  # groups of a layer, in Keras's order
DAMAGE = (AttributeError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile)

Weights = list[np.ndarray]  # float32, in the order in which Keras keeps them


@dataclass(frozen=True)
class KerasFile:
    """What a file holds: the architecture as JSON, None if it is missing, and weights by layer."""

    config: dict[str, Any] | None
    weights: dict[str, Weights]  # in the order of the file; layers without weights left out
    version: str  # of the Keras that wrote it; "" when the file does not say


def read_keras(path: Path) -> KerasFile:
    """Return what a `.keras` or `.h5` file holds.

    Raises:
        ModelError: no such file, neither of these, damaged, or not to be trusted.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path}: a folder; {ADVICE}")
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _from_zip(path, file)
        if h5py.is_hdf5(str(path)):
            with h5py.File(path, "r") as hdf5:
                return _from_hdf5(hdf5)
    except DAMAGE as error:
        raise ModelError(f"{path}: damaged, or not a Keras model ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    raise ModelError(f"{path}: not a Keras file; {ADVICE}")


def _from_zip(path: Path, file: Any) -> KerasFile:
    """Read the three entries that count, into memory: no entry's name becomes a path."""
    with zipfile.ZipFile(file) as archive:
        config = _json(_entry(archive, "config.json", MAX_CONFIG))
        metadata = _json(_entry(archive, "metadata.json", MAX_CONFIG))
        weights = _entry(archive, "model.weights.h5", MAX_BYTES)
    with h5py.File(io.BytesIO(weights), "r") as hdf5:
        found = _by_path(hdf5, config["config"]["layers"])
    return KerasFile(config, found, str(metadata.get("keras_version", "")))


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise ValueError(f"{len(entries)} entries {name}")
    if entries[0].file_size > most:
        raise ValueError(f"{name} has {entries[0].file_size:,} bytes, over {most:,}")
    return archive.read(entries[0])  # zipfile stops at file_size


def _from_hdf5(hdf5: h5py.File) -> KerasFile:
    version = _text(hdf5.attrs.get("keras_version", ""))
    if "model_config" in hdf5.attrs:
        config = _json(_text(hdf5.attrs["model_config"]))
        return KerasFile(config, _by_name(_group(hdf5, "model_weights")), version)
    if "layer_names" in hdf5.attrs:
        return KerasFile(None, _by_name(hdf5), version)
    return KerasFile(None, _by_path(hdf5, None), "3")


def _by_name(root: h5py.Group) -> dict[str, Weights]:
    """Read the layout of `.h5`: a group for each layer, which lists its weights in order."""
    found = {}
    for layer in _strings(root, "layer_names"):
        group = _group(root, layer)
        if names := _strings(group, "weight_names"):
            found[layer] = [_array(group, name) for name in names]
    return found


def _by_path(root: h5py.Group, layers: list[dict[str, Any]] | None) -> dict[str, Weights]:
    """Read the layout of `.keras`: a group for each layer, called after its class and counted.

    Without the layers the names are those of the groups.
    """
    if "layers" not in root and CHECKPOINTED in ",".join(root):
        raise ValueError("of a Keras 2 that keeps weights elsewhere; save it as .h5 there")
    groups = _group(root, "layers")
    named = {key: key for key in groups}
    if layers is not None:
        named = dict(zip((layer["config"]["name"] for layer in layers), _keys(layers), strict=True))
    found = {name: _nested(_group(groups, key)) for name, key in named.items() if key in groups}
    return {name: weights for name, weights in found.items() if weights}


def _keys(layers: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the group of each layer: conv2d, conv2d_1, and so on."""
    counts: dict[str, int] = {}
    for layer in layers:
        words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"].rpartition(">")[2])
        name = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        counts[name] = counts.get(name, -1) + 1
        yield f"{name}_{counts[name]}" if counts[name] else name


def _nested(group: h5py.Group) -> Weights:
    """Return the weights of a layer and of what it wraps; states of dropout are not weights."""
    values = _group(group, "vars") if "vars" in group else {}
    weights = [_array(values, name) for name in sorted(values, key=int)]
    for part in PARTS:
        if part in group:
            weights += _nested(_group(group, part))
    return weights


def _group(parent: h5py.Group, path: str) -> h5py.Group:
    found = _inside(parent, path)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{found.name} is not a group")
    return found


def _array(parent: h5py.Group, path: str) -> np.ndarray:
    """Return an array as float32, if it lies in this very file and has a sane size."""
    found = _inside(parent, path)
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(f"{found.name} is not an array inside the file")
    if found.dtype.kind != "f" or found.size * 4 > MAX_BYTES:
        raise ValueError(f"{found.name} is {found.dtype} {found.shape}, not weights")
    return np.asarray(found[()], dtype=np.float32)


def _inside(parent: h5py.Group, path: str) -> Any:
    """Return what a path names, going through no link that is not a plain one."""
    found: Any = parent
    for part in path.split("/"):
        if part not in found:
            raise ValueError(f"no {part} in {found.name}")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{found.name}/{part} is a link out of its place")
        found = found[part]
    return found


def _strings(group: h5py.Group, name: str) -> list[str]:
    """Return a list of strings among a group's attributes; long lists come in numbered chunks."""
    if name in group.attrs:
        return [_text(value) for value in group.attrs[name]]
    values: list[str] = []
    chunk = 0
    while f"{name}{chunk}" in group.attrs:
        values += [_text(value) for value in group.attrs[f"{name}{chunk}"]]
        chunk += 1
    return values


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("its architecture is nested too deep") from None
    if not isinstance(values, dict):
        raise ValueError("its architecture is not a JSON object")
    return values
