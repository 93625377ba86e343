"""Factorise: convolutions in two parts, close to the whole on what comes to them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from test_model import lively
from test_training import SPEC, draw

from penname.alphabet import Alphabet
from penname.cli import main
from penname.errors import TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.inputs import expand
from penname.model_folder import ModelFolder
from penname.network import load_network
from penname.training import factorise as module
from penname.training import model
from penname.training.export import export_model
from penname.training.factorise import factorise
from penname.training.graph import read_weights
from penname.training.loop import train
from penname.training.model import Shape, build_like
from penname.training.options import TrainOptions
from penname.training.run import Run
from penname.training.start import weights_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

LETTERS = Alphabet("ABC")
OPTIONS = TrainOptions(epochs=1, batch_size=4, precision="fp32")
WIDE = Shape((8,), (32, 32, 32, 32), (1, 2, 1, 1), 16)  # widths beyond `factorise.MULTIPLE`


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.SHAPES, "names", WIDE)


def write_pack(folder: Path) -> Path:
    with PackWriter(folder, LETTERS, SPEC, {}) as writer:
        for i, text in enumerate(["AB", "BC", "CA", "BA"]):
            for split in ("train", "validation"):
                writer.add(draw(text, i), text, file=f"{i}", source="", split=split)
    return folder


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The whole 3x3 convolutions of the stages, by name."""
    return {
        name: each
        for name, each in network.named_modules()
        if isinstance(each, torch.nn.Conv2d) and name[:6] == "stages" and each.kernel_size == (3, 3)
    }


def made(tmp_path: Path, *, rank: int = 0) -> ModelFolder:
    """A model of random weights; with a rank, each kernel is made of so many separable ones."""
    run = Run([Pack.open(write_pack(tmp_path / "pack"))], tmp_path / "run", OPTIONS)
    for each in convolutions(run.average).values() if rank else ():
        outputs, inputs = each.weight.shape[:2]
        down, across = torch.randn(rank, inputs, 3), torch.randn(outputs, rank, 3)
        kernel = torch.einsum("rih,orw->oihw", down, across) / (9 * inputs * rank) ** 0.5
        each.weight.copy_(kernel)
    lively(run.average, SPEC.height)
    run.save_best({})
    return export_model(tmp_path / "run", tmp_path / "model", "old")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(draw("ABCAB"[i % 3 :][:2], i)).save(folder / f"{i}.png")
    return folder


def log_probs(folder: ModelFolder) -> np.ndarray:
    lines = np.stack([np.resize(draw("ABC", i), (SPEC.height, 64)) for i in range(4)])[:, None]
    return load_network(folder.onnx)(lines)


def test_kernels_of_few_separable_ones_are_found_exactly(tmp_path: Path, pictures: Path) -> None:
    folder = made(tmp_path, rank=16)
    before = log_probs(folder)
    factorised = factorise(folder, expand([pictures]), share=0.45)
    np.testing.assert_allclose(log_probs(factorised), before, rtol=0, atol=0.05)
    assert before.std() > 0.5
    weights = weights_of(factorised)
    ranks = [len(w) for name, w in weights.items() if model.FACTORISED.fullmatch(name)]
    assert ranks == [16] * 10  # 0.45 * 3 * 32 / 2 is 21.6
    assert not convolutions(build_like(weights))
    assert factorised.training["factorised"] == 0.45
    assert ModelFolder.load(folder.path).checksum() == factorised.checksum()


def together(vertical: nn.Conv2d, horizontal: nn.Conv2d) -> Tensor:
    """Return two factors of rank 16 as the one kernel (96, 96) that they make."""
    down = vertical.weight.detach().reshape(16, 96).T
    return down @ horizontal.weight.detach()[:, :, 0].permute(1, 0, 2).reshape(16, 96)


def test_the_factors_are_the_closest_on_what_comes_to_them() -> None:
    """Closer on the pictures' patches than the factors of the kernel alone, as promised."""
    torch.manual_seed(0)
    whole, norm = model.Residual(32, 32).eval().first
    assert isinstance(whole, torch.nn.Conv2d)
    root = torch.randn(96, 96) * torch.logspace(0, -2, 96)  # some directions hardly come
    patches = torch.randn(20000, 96) @ root.T
    kernel = whole.weight.detach().permute(1, 2, 0, 3).reshape(96, 96)

    def error(moment: Tensor) -> float:
        found = together(*module._factored(whole, norm, moment, 0.45))
        return float(((patches @ (kernel - found)) ** 2).sum())

    weighted, alone = error(patches.T @ patches / len(patches)), error(torch.eye(96))
    assert weighted < 0.5 * alone
    # By Eckart and Young no factors of this rank are closer.
    values = torch.linalg.svdvals(patches @ kernel)
    assert weighted == pytest.approx(float((values[16:] ** 2).sum()), rel=0.02)


def test_the_factors_are_closest_where_batch_norm_makes_most_of_it() -> None:
    torch.manual_seed(0)
    whole, norm = model.Residual(32, 32).eval().first
    assert isinstance(whole, torch.nn.Conv2d)
    assert isinstance(norm, torch.nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.copy_(torch.logspace(0, -3, 32))
    patches = torch.randn(4000, 96)
    kernel = whole.weight.detach().permute(1, 2, 0, 3).reshape(96, 96)
    found = together(*module._factored(whole, norm, patches.T @ patches / 4000, 0.45))
    scale = norm.weight.detach().repeat_interleave(3)
    left = ((patches @ (kernel - found)) * scale).square().sum()
    values = torch.linalg.svdvals(patches @ (kernel * scale))
    assert float(left) == pytest.approx(float(values[16:].square().sum()), rel=0.05)


def test_second_moments_are_those_of_patches_above_each_other() -> None:
    torch.manual_seed(0)
    network = model.Reader(WIDE, 4, 0.0).eval()
    name = "stages.0.1.first"
    whole = module._whole(network)
    ink = torch.rand(1, 1, 16, 32)
    found = module._second_moments(network, whole, [ink, ink])[name]
    with torch.no_grad():
        x = network.stem(ink)[0]  # (32, 8, 16); the first stage halves nothing
    padded = np.pad(x.numpy(), ((0, 0), (1, 1), (0, 0)))
    patches = [padded[:, y : y + 3, c].ravel() for y in range(8) for c in range(16)]
    expected = np.einsum("ni,nj->ij", patches, patches) / len(patches)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_factorised_model_trains_resumes_exports_and_quantises(
    tmp_path: Path, pictures: Path
) -> None:
    folder, pack = made(tmp_path), tmp_path / "pack"
    whole = tmp_path / "whole"
    shutil.copytree(folder.path, whole)
    assert main(["factorise", str(folder.path), "--pictures", str(pictures)]) == 0
    start, teacher = ModelFolder.load(folder.path), ModelFolder.load(whole)
    run = Run([Pack.open(pack)], tmp_path / "again", OPTIONS, start, teacher)
    for name, value in read_weights(start.onnx).items():
        assert torch.equal(run.network.state_dict()[name], value), name
    assert train([pack], tmp_path / "on", OPTIONS, start=start, teacher=teacher).finished
    again = train([pack], tmp_path / "on", OPTIONS, resume=True, start=start, teacher=teacher)
    assert again.finished
    trained = export_model(tmp_path / "on", tmp_path / "tuned", "tuned")
    shapes = {name: weight.shape for name, weight in weights_of(trained).items()}
    assert shapes == {name: weight.shape for name, weight in weights_of(start).items()}
    assert main(["quantise", str(tmp_path / "tuned"), "--pictures", str(pictures)]) == 0
    quantised = ModelFolder.load(tmp_path / "tuned")
    np.testing.assert_allclose(log_probs(quantised), log_probs(trained), rtol=0, atol=0.5)
    # Factorised after it was quantised, a model is one in float again.
    shutil.copytree(whole, tmp_path / "other")
    for command in ("quantise", "factorise"):
        assert main([command, str(tmp_path / "other"), "--pictures", str(pictures)]) == 0
    assert not (tmp_path / "other" / "float.onnx").exists()
    np.testing.assert_array_equal(log_probs(ModelFolder.load(tmp_path / "other")), log_probs(start))


def test_what_cannot_be_factorised_is_said_and_left_as_it_was(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    words = ["factorise", str(folder.path), "--pictures", str(pictures)]
    assert main([*words, "--share", "1"]) == 2
    assert "the share is 1.0, not above 0 and below 1" in capsys.readouterr().err
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert main([*words[:3], str(tmp_path / "no.png")]) == 1
    assert "none of the pictures can be read" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before
    assert main(words) == 0
    assert json.loads((folder.path / "model.json").read_text())["training"]["factorised"] == 0.45
    with pytest.raises(TrainingError, match="old is factorised: no convolution is left"):
        factorise(ModelFolder.load(folder.path), expand([pictures]), 0.45)
    assert main(["factorise", "names", "--pictures", str(pictures)]) == 2
    assert "included models stay as they are; copy " in capsys.readouterr().err
