"""Keras files that cannot be used are refused, by name and with a remedy; nothing in them runs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import keras
import keras_networks as networks
import numpy as np
import pytest
import torch
from keras import layers

from penname.alphabet import Alphabet
from penname.cli import main
from penname.errors import ModelError, OptionError, TrainingError
from penname.line_image import ImageSpec
from penname.model_folder import ModelFolder
from penname.training import keras_file
from penname.training.keras_file import _by_path, read_keras
from penname.training.keras_graph import Node, _unwrapped
from penname.training.keras_model import load_keras
from penname.training.keras_options import KerasOptions
from penname.training.options import TrainOptions
from penname.training.start import begin

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # inside Keras

LAYERS = ["input", "conv", "pool", "reshape", "lstm", "dense"]  # of `small`


def small() -> Any:
    image = keras.Input((32, 16, 1), name="input")
    x = layers.Conv2D(2, 3, padding="same", name="conv")(image)
    x = layers.MaxPooling2D((2, 2), name="pool")(x)
    x = layers.Reshape((16, 16), name="reshape")(x)
    x = layers.LSTM(3, return_sequences=True, name="lstm")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="dense")(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    small().save(folder / "model.keras")
    small().save(folder / "model.h5")
    return folder


def changed(saved: Path, edit: Callable[[dict[str, Any]], object], to: Path) -> Path:
    """Return a copy of the small model whose architecture was edited."""
    with zipfile.ZipFile(saved / "model.keras") as old, zipfile.ZipFile(to, "w") as new:
        for entry in old.namelist():
            values = old.read(entry)
            if entry == "config.json":
                config = json.loads(values)
                edit(config)
                values = json.dumps(config).encode()
            new.writestr(entry, values)
    return to


def layer(config: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][LAYERS.index(name)]
    return found


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("conv", {"data_format": "channels_first"}, r"conv \(Conv2D\): data_format is 'channels_f"),
        ("conv", {"padding": "causal"}, r"conv \(Conv2D\): padding is 'causal'"),
        ("conv", {"activation": "sine"}, r"conv \(Conv2D\): activation sine is not known; known"),
        ("conv", {"use_bias": False}, r"conv \(Conv2D\): the file has 2 weights for it, not 1"),
        ("lstm", {"return_sequences": False}, r"lstm \(LSTM\): return_sequences is False; only"),
        ("lstm", {"stateful": True}, r"lstm \(LSTM\): stateful is True; only False is known"),
        ("lstm", {"time_major": True}, r"lstm \(LSTM\): time_major is True"),
        ("reshape", {"target_shape": [7, 7]}, r"reshape \(Reshape\) fails: .*shape '\[1, 7, 7\]'"),
        ("dense", {"activation": "tanh"}, r"the model ends in dense \(Dense\), not in a softmax"),
        ("input", {"batch_shape": [None, 32, 16, 2]}, r"the input is \[None, 32, 16, 2\]; it must"),
        ("input", {"batch_shape": [None, 32, 9999, 1]}, "sides are 8 to 4096 pixels"),
        ("input", {"batch_shape": [None, None, None, 1]}, "of any width; give --width PIXELS"),
    ],
)
def test_options_that_are_not_known_are_named(
    saved: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    file = changed(saved, lambda c: layer(c, name)["config"].update(options), tmp_path / "m.keras")
    with pytest.raises(ModelError, match=rf"m\.keras: .*{message}"):
        load_keras(file, KerasOptions())


def kind(name: str, class_name: str) -> Callable[[dict[str, Any]], object]:
    return lambda config: layer(config, name).update(class_name=class_name)


def subclass(config: dict[str, Any]) -> None:
    config["class_name"] = "Mine"
    del config["config"]["output_layers"]


def call_twice(config: dict[str, Any]) -> None:
    calls = layer(config, "pool")["inbound_nodes"]
    calls.append(calls[0])


def outputs(*names: str) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"].update(output_layers=[[name, 0, 0] for name in names])


def second_input(config: dict[str, Any]) -> None:
    other = json.loads(json.dumps(layer(config, "input")).replace('"input"', '"other"'))
    tensor = layer(config, "conv")["inbound_nodes"][0]["args"][0]
    tensor = json.loads(json.dumps(tensor).replace('"input"', '"other"'))
    layer(config, "pool")["class_name"] = "Add"
    layer(config, "pool")["inbound_nodes"][0]["args"].append(tensor)
    config["config"]["layers"].append(other)


def circle(config: dict[str, Any]) -> None:
    tensor = layer(config, "conv")["inbound_nodes"][0]["args"][0]
    tensor["config"]["keras_history"][0] = "lstm"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            kind("pool", "Lambda"),
            r"layer pool \(Lambda\) holds code, which is not run; save",
        ),
        (kind("pool", "Attention"), r"layer pool \(Attention\); it is not known \(docs/keras.md\)"),
        (subclass, "the model is a Mine, whose graph is code and not in the file; rebuild it"),
        (call_twice, "layer pool is called 2 times; it may be called once"),
        (outputs("dense", "lstm"), r"the model has 2 outputs \(dense, lstm\), not 1"),
        (outputs("conv"), r"the model ends in conv \(Conv2D\), not in a softmax"),
        (outputs("nothing"), r"damaged \(KeyError\('nothing'\)\)"),
        (second_input, r"the model reads 2 inputs \(input, other\), not 1"),
        (circle, "is missing, or called on itself"),
        (
            lambda config: config["config"].pop("layers"),
            r"not a Keras model \('layers'",
        ),
        (lambda config: config["config"].update(layers=7), "damaged, or not a Keras model"),
    ],
)
def test_graphs_that_are_not_one_network_are_refused(
    saved: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"m\.keras: .*{message}"):
        load_keras(changed(saved, edit, tmp_path / "m.keras"), KerasOptions())


def test_a_class_made_of_a_graph_is_read_by_its_graph(saved: Path, tmp_path: Path) -> None:
    named = changed(saved, lambda config: config.update(class_name="Mine"), tmp_path / "m.keras")
    network, _, _ = load_keras(named, KerasOptions())
    same, _, _ = load_keras(saved / "model.keras", KerasOptions())
    images = torch.randint(0, 256, (1, 1, 16, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(network(images), same(images))


@pytest.mark.parametrize("slices", ["[:, ::2]", "[:, 1:, 1:]", "[1:, 2:]"])
def test_a_slice_of_anything_but_frames_is_refused(tmp_path: Path, slices: str) -> None:
    model = small()
    cut = eval(f"x{slices}", {"x": model.output})
    keras.Model(model.input, cut).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"layer get_item\w*: only slices of the frames are known"):
        load_keras(tmp_path / "m.keras", KerasOptions())


def test_a_lambda_that_is_not_the_ctc_one_is_refused_even_at_the_end(tmp_path: Path) -> None:
    model = small()
    networks.keras2_file(model, tmp_path / "m.h5", loss="argmax")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        last = config["config"]["layers"][-1]
        assert last["class_name"] == "Lambda"
        last["inbound_nodes"] = [[["dense", 0, 0, {}]]]  # no labels, so no loss
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match=r"the model ends in argmax \(Lambda\)"):
        load_keras(tmp_path / "m.h5", KerasOptions())


def test_weights_of_another_shape_name_the_layer(saved: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as new, h5py.File(saved / "model.h5") as old:
        new.attrs.update(old.attrs)
        old.copy("model_weights", new)
        del new["model_weights/lstm/lstm/lstm_cell/bias"]
        new["model_weights/lstm/lstm/lstm_cell/bias"] = np.zeros(11, "f4")
    with pytest.raises(ModelError, match=r"layer lstm \(LSTM\): its weights are .*\(2, 11\)"):
        load_keras(tmp_path / "m.h5", KerasOptions())


@pytest.mark.parametrize("way", ["external", "soft", "storage", "object", "missing", "huge"])
def test_nothing_outside_the_file_is_read(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "m.h5", "w") as new, h5py.File(saved / "model.h5") as old:
        new.attrs.update(old.attrs)
        old.copy("model_weights", new)
        group = new["model_weights/conv/conv"]
        del group["bias"]
        if way == "external":
            group["bias"] = h5py.ExternalLink(str(saved / "model.h5"), "/model_weights/conv/conv")
        elif way == "soft":
            group["bias"] = h5py.SoftLink("/model_weights/dense/dense/bias")
        elif way == "storage":
            where = [(str(tmp_path / "secret"), 0, 8)]
            group.create_dataset("bias", (2,), "f4", external=where)
        elif way == "object":
            group["bias"] = ["a", "b"]
        elif way == "huge":
            group.create_dataset("bias", (1 << 40,), "f4", chunks=True)
    with pytest.raises(ModelError, match=r"m\.h5: damaged, or not a Keras model \(.*bias"):
        read_keras(tmp_path / "m.h5")


def test_files_that_are_not_keras_models_are_named(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    (tmp_path / "cut.h5").write_bytes((saved / "model.h5").read_bytes()[:9000])
    (tmp_path / "cut.keras").write_bytes((saved / "model.keras").read_bytes()[:-300])
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name in ("text.h5", "cut.h5", "cut.keras", "empty.h5", "none.h5", "."):
        with pytest.raises(ModelError, match=(tmp_path / name).name):
            load_keras(tmp_path / name, KerasOptions())


@pytest.mark.parametrize("trick", ["twice", "missing", "large", "deep"])
def test_zip_entries_are_checked(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    entry, deep = "config.json", b"[" * 100_000
    with zipfile.ZipFile(saved / "model.keras") as old, zipfile.ZipFile(tmp_path / "m", "w") as new:
        for name in old.namelist():
            if name != entry or trick != "missing":
                new.writestr(name, deep if (name, trick) == (entry, "deep") else old.read(name))
        if trick == "twice":
            with pytest.warns(UserWarning, match="Duplicate name"):
                new.writestr(entry, old.read(entry))
    if trick == "large":
        monkeypatch.setattr(keras_file, "MAX_BYTES", 1000)
    message = {"twice": "2 entries", "missing": "0 entries", "large": "over 1,000", "deep": "deep"}
    with pytest.raises(ModelError, match=message[trick]):
        read_keras(tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut_frames": "2"}, "cut-frames is '2'; give two numbers"),
        ({"cut_frames": "9,7"}, "cut-frames is 9,7; the network has 16"),
        ({"cut_frames": "-1,0"}, "cut-frames is -1,0"),
        ({"values": "black,white"}, "values is 'black,white'; give two numbers"),
    ],
)
def test_options_that_do_not_fit_are_named(
    saved: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        load_keras(saved / "model.keras", KerasOptions(**options))


def test_a_free_width_must_be_given_and_a_fixed_one_not(saved: Path, tmp_path: Path) -> None:
    image = keras.Input((16, None, 1))
    x = layers.Conv2D(2, 3, strides=(1, 2), padding="same")(image)
    x = layers.TimeDistributed(layers.Flatten())(layers.Permute((2, 1, 3))(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    model.save(tmp_path / "free.keras")
    with pytest.raises(ModelError, match="of any width; give --width PIXELS"):
        load_keras(tmp_path / "free.keras", KerasOptions())
    network, spec, _ = load_keras(tmp_path / "free.keras", KerasOptions(width=60))
    assert (spec.height, spec.max_width, network.stride) == (16, 60, 2)
    with pytest.raises(ModelError, match="--width is for one of any width"):
        load_keras(saved / "model.keras", KerasOptions(width=60))


def test_frames_that_valid_convolutions_ate_are_filled_up_on_both_sides(tmp_path: Path) -> None:
    image = keras.Input((32, 16, 1))
    x = layers.Reshape((27, -1))(layers.Conv2D(2, (6, 3))(image))
    keras.Model(image, layers.Dense(4, activation="softmax")(x)).save(tmp_path / "m.keras")
    network, _, _ = load_keras(tmp_path / "m.keras", KerasOptions())
    assert (network.stride, network.before, network.after) == (1, 2, 3)


def test_the_axis_of_a_layer_of_one_frame_is_counted_in_all_frames() -> None:
    def axis_of(axis: Any) -> Any:
        inner = {"class_name": "BatchNormalization", "config": {"axis": axis}}
        node = Node("frames", "TimeDistributed", {"layer": inner}, ("x",), None)
        return _unwrapped(node).config["axis"]

    assert [axis_of([1]), axis_of(1)] == [2, 2]  # as Keras 2 and a person may write it
    assert [axis_of(-1), axis_of([-1])] == [-1, [-1]]


def test_a_file_of_the_first_keras_2_with_this_format_is_refused_with_a_remedy() -> None:
    with h5py.File("m", "w", driver="core", backing_store=False) as weights:
        weights.create_group(r"_layer_checkpoint_dependencies\conv2d/vars")
        with pytest.raises(ValueError, match=r"save it as \.h5"):
            _by_path(weights, [])


def test_the_command_makes_a_folder_that_reads(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-keras", str(saved / "model.keras"), "--out", str(tmp_path / "mine")]
    assert main([*words, "--alphabet", "ABCD"]) == 1
    assert "the network has 4 outputs, so with the blank its alphabet has 3 characters, not 4" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "mine").exists()
    assert main([*words, "--alphabet", "ABC", "--image", "stretch", "--values=-1,1"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'mine'}\n"
    assert "stretch, clockwise, 32 x 16; ink and paper are -1,1" in printed.err
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {"model.onnx", "model.json"}
    pictures = str(Path(__file__).parent / "data" / "names")
    assert main(["read", pictures, "--model", str(tmp_path / "mine"), "--json"]) == 0
    with pytest.raises(TrainingError, match="it can read, not train"):
        begin(Alphabet("A"), ImageSpec(), TrainOptions(), ModelFolder.load(tmp_path / "mine"))


def test_the_keras_extra_is_named_when_it_is_missing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    for name in [n for n in __import__("sys").modules if n.startswith("penname.training.keras_")]:
        monkeypatch.delitem(__import__("sys").modules, name)
    words = ["import-keras", str(saved / "model.keras"), "--out", str(tmp_path / "mine")]
    assert main([*words, "--alphabet", "ABC"]) == 1
    assert "pip install '.[keras]'" in capsys.readouterr().err
