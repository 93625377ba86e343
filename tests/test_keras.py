"""Import from Keras: the same numbers and the same texts as Keras 3 and Keras 2 themselves."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import keras_networks as networks
import numpy as np
import pytest
import torch

from penname.alphabet import Alphabet
from penname.line_image import decode, line_image
from penname.recognizer import Recognizer
from penname.training.keras_model import import_keras, load_keras
from penname.training.keras_options import KerasOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from penname.model_folder import ModelFolder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # inside Keras

DATA = Path(__file__).parent / "data"
ALPHABET = Alphabet("ABCDE")
TOLERANCE = 1e-5  # of an output in 0..1; float32 sums in another order

NETWORKS: dict[str, tuple[Callable[[], Any], KerasOptions]] = {
    "origin": (networks.origin, KerasOptions()),
    "captcha": (networks.captcha, KerasOptions(turn="transposed", image="stretch")),
    "tall": (networks.tall, KerasOptions(values="-1,1", blank="first", image="fit")),
    "sequential": (networks.sequential, KerasOptions(values="1,0")),
    "merged": (networks.merged, KerasOptions(cut_frames="1,2")),
    **{
        f"random {seed}": (partial(networks.any_network, seed), KerasOptions()) for seed in range(6)
    },
}


def squares(model: Any, seed: int = 0) -> np.ndarray:
    """Return pictures in the shape of a model's input, before they are scaled: uint8."""
    _, rows, columns, channels = model.input_shape
    rng = np.random.default_rng(seed)
    shape = 3, -(-rows // 4), -(-columns // 4), 1
    small = rng.integers(0, 256, shape, dtype=np.uint8).repeat(channels, 3)
    return small.repeat(4, 1).repeat(4, 2)[:, :rows, :columns]


def upright(pictures: np.ndarray, turn: str) -> np.ndarray:
    """Return pictures (N, rows, columns, C) as penname holds them: (N, 1, H, W)."""
    grey = pictures[..., 0]
    turned = {"clockwise": np.rot90(grey, 1, (1, 2)), "transposed": grey.swapaxes(1, 2)}
    return np.ascontiguousarray(turned.get(turn, grey))[:, None]


def scaled(pictures: np.ndarray, options: KerasOptions) -> np.ndarray:
    """Return grey pictures in the values of the network's input."""
    ink, paper = options.ink_paper
    return np.float32(ink) + np.float32(paper - ink) * (pictures / np.float32(255))


def outputs(model: Any, pictures: np.ndarray, options: KerasOptions) -> np.ndarray:
    """Return what Keras gives for grey pictures: probabilities, the blank where it has it."""
    made: np.ndarray = model.predict(scaled(pictures, options), verbose=0)
    if not np.allclose(made.sum(-1), 1, atol=1e-5):
        made = np.exp(torch.log_softmax(torch.from_numpy(made), -1).numpy())
    first, last = options.cut
    return made[:, first : made.shape[1] - last]


def imported(name: str, folder: Path, suffix: str = "keras") -> tuple[Any, ModelFolder, str]:
    """Return a network of Keras, its model folder, and how its pictures are turned."""
    make, options = NETWORKS[name]
    model = networks.lively(make(), len(name) + 5)
    networks.talkative(model, squares(model, 1) / np.float32(255))
    model.save(folder / f"model.{suffix}")
    made = import_keras(folder / f"model.{suffix}", ALPHABET, folder / "out", options)
    return model, made, made.training["keras"]["turn"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_folder_gives_what_keras_gives(tmp_path: Path, name: str) -> None:
    model, folder, turn = imported(name, tmp_path, "h5" if len(name) % 2 else "keras")
    _, options = NETWORKS[name]
    pictures = squares(model)
    theirs = outputs(model, pictures, options)
    log_probs = Recognizer.load(folder.path, threads=1).network(upright(pictures, turn))
    ours = np.exp(log_probs)
    if options.blank == "last":
        ours = np.concatenate([ours[..., 1:], ours[..., :1]], -1)
    blank = 0 if options.blank == "first" else -1
    kept = [i for i in range(ours.shape[1]) if not np.all(ours[:, i, blank] == 1)]
    assert len(kept) == theirs.shape[1]
    assert np.abs(ours[:, kept] - theirs).max() <= TOLERANCE
    assert theirs.std(axis=1).max() > 0.03  # or agreement would mean nothing


@pytest.mark.parametrize("name", ["origin", "captcha", "tall"])
def test_a_recognizer_writes_the_text_that_keras_writes(tmp_path: Path, name: str) -> None:
    model, folder, turn = imported(name, tmp_path)
    _, options = NETWORKS[name]
    files = sorted((DATA / "names").glob("*.jpg"))[:12]
    lines = [line_image(decode(file), folder.image) for file in files]
    canvas = np.full((len(lines), folder.image.height, folder.image.max_width), 255, np.uint8)
    for row, line in zip(canvas, lines, strict=True):
        row[:, : line.shape[1]] = line
    turned = {"clockwise": np.rot90(canvas, -1, (1, 2)), "transposed": canvas.swapaxes(1, 2)}
    pictures = turned.get(turn, canvas)[..., None].repeat(model.input_shape[3], 3)
    networks.talkative(model, scaled(pictures, options)).save(tmp_path / "talkative.keras")
    import_keras(tmp_path / "talkative.keras", ALPHABET, folder.path, options)
    theirs = [text(scores, options.blank) for scores in outputs(model, pictures, options)]
    recognizer = Recognizer.load(folder.path, threads=1)
    for batch_size in (1, 5):
        read = recognizer.read(files, batch_size=batch_size)
        assert [prediction.text for prediction in read] == theirs
    assert len(set(theirs)) > 6  # or any network would do


def text(scores: np.ndarray, blank: str) -> str:
    """Return the best path of (T, C): repeats merged, blanks dropped."""
    labels = [label for label, _ in groupby(scores.argmax(-1).tolist())]
    characters = f"-{ALPHABET.characters}" if blank == "first" else f"{ALPHABET.characters}-"
    return "".join(characters[label] for label in labels).replace("-", "")


FILES = {"lambda.h5": 4, "layer.h5": 2, "slice.keras": 2, "origin_weights.h5": 4}


@pytest.mark.parametrize("name", FILES)
def test_files_that_keras_2_wrote_give_what_it_computed(tmp_path: Path, name: str) -> None:
    with np.load(DATA / "keras" / "expected.npz") as arrays:
        pictures, theirs = arrays[f"{name}/images"], arrays[f"{name}/outputs"]
    folder = import_keras(DATA / "keras" / name, ALPHABET, tmp_path, KerasOptions())
    turn = folder.training["keras"]["turn"]
    ours = np.exp(Recognizer.load(tmp_path, threads=1).network(upright(pictures, turn)))
    before = 2 if name == "slice.keras" else 0
    ours = np.concatenate([ours[..., 1:], ours[..., :1]], -1)
    assert np.abs(ours[:, before : before + theirs.shape[1]] - theirs).max() <= TOLERANCE
    assert theirs.std(axis=1).max() > 0.05
    assert folder.stride == FILES[name]
    assert (ours[:, :before, -1] == 1).all()


@pytest.mark.parametrize("loss", ["", "ctc", "lambda_1"])
@pytest.mark.parametrize("name", ["origin", "captcha", "tall"])
def test_the_layout_of_keras_2_gives_the_same_network(tmp_path: Path, name: str, loss: str) -> None:
    make, options = NETWORKS[name]
    model = networks.lively(make(), 1)
    networks.keras2_file(model, tmp_path / "old.h5", loss=loss, chunks=loss == "ctc")
    model.save(tmp_path / "new.keras")
    old, spec, version = load_keras(tmp_path / "old.h5", options)
    new, same, _ = load_keras(tmp_path / "new.keras", options)
    assert (version, spec) == ("2.1.6", same)
    images = torch.from_numpy(squares(model)[..., 0])[:, None]
    images = images if new.options.turn == "upright" else images.mT.contiguous()
    with torch.no_grad():
        assert torch.equal(old(images), new(images))


def test_weights_alone_are_read_as_the_origin(tmp_path: Path) -> None:
    model = networks.lively(networks.origin(), 1)
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "three.weights.h5")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        networks.weights_of(model, file)
    whole, _, _ = load_keras(tmp_path / "whole.keras", KerasOptions())
    images = torch.from_numpy(upright(squares(model), "clockwise"))
    for name in ("three.weights.h5", "two.h5"):
        alone, _, _ = load_keras(tmp_path / name, KerasOptions())
        with torch.no_grad():
            assert torch.equal(alone(images), whole(images))


def test_pictures_are_not_trimmed_and_are_enlarged_as_far_as_the_canvas() -> None:
    options = KerasOptions(image="fit")
    _, spec, _ = load_keras(DATA / "keras" / "origin_weights.h5", options)
    picture = np.full((8, 20), 255, np.uint8)
    picture[2:6, 8:12] = 0
    assert line_image(picture, spec).shape == (64, 160)  # 8 times as large, blank sides kept
    assert {spec.canvas_width(width) for width in (1, 160, 256)} == {256}


def test_frames_that_are_cut_off_are_blank_and_move_no_other(tmp_path: Path) -> None:
    networks.lively(networks.origin(), 1).save(tmp_path / "model.keras")
    whole, _, _ = load_keras(tmp_path / "model.keras", KerasOptions())
    cut, _, _ = load_keras(tmp_path / "model.keras", KerasOptions(cut_frames="2,3"))
    images = torch.zeros(2, 1, 64, 256, dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = cut(images), whole(images)
    assert torch.equal(ours[:, 2:61], theirs[:, 2:61])
    assert (ours[:, [0, 1, 61, 62, 63], 0] == 0).all()
    assert (ours[:, [0, 1, 61, 62, 63], 1:] < -50).all()
    assert (cut.stride, ours.shape[1]) == (4, 64)
