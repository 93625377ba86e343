"""A teacher: its frames are those of its model folder, and a network comes to give them too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from test_model import lively
from test_training import SPEC, TINY, draw

from penname.alphabet import Alphabet
from penname.cli import main
from penname.errors import TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec
from penname.network import load_network
from penname.training import model
from penname.training.export import export_model
from penname.training.loop import train
from penname.training.loss import column_loss, frame_loss
from penname.training.model import as_ink, build, shape_of
from penname.training.options import TrainOptions
from penname.training.run import Run
from penname.training.teacher import Teacher

if TYPE_CHECKING:
    from pathlib import Path

    from penname.model_folder import ModelFolder

THEIRS, OURS = Alphabet("CA B"), Alphabet("ABC ")
OPTIONS = TrainOptions(epochs=1, batch_size=4, precision="fp32", augment=0.0, dropout=0.0)
CPU = torch.device("cpu")


def write_pack(folder: Path, alphabet: Alphabet) -> Path:
    with PackWriter(folder, alphabet, SPEC, {}) as writer:
        for i, text in enumerate("ABC" * 4):
            writer.add(draw(text, i), text, file=f"{i}", source="", split="train")
    return folder


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    """A random but lively model of the alphabet THEIRS, larger than the network it teaches."""
    monkeypatch.setitem(model.SHAPES, "names", replace(TINY, widths=(8, 16, 16, 24)))
    run = Run([Pack.open(write_pack(tmp_path / "theirs", THEIRS))], tmp_path / "run", OPTIONS)
    lively(run.average, SPEC.height)
    run.save_best({})
    folder = export_model(tmp_path / "run", tmp_path / "teacher", "teacher")
    monkeypatch.setitem(model.SHAPES, "names", TINY)
    return folder


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 1, SPEC.height, 64), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("preset", sorted(model.SHAPES))
def test_a_shape_is_found_in_its_weights(preset: str) -> None:
    weights = build(TrainOptions(preset=preset), 64, 30).state_dict()
    del weights["shortcut.weight"], weights["shortcut.bias"]  # a model folder lacks them
    assert shape_of(weights) == model.SHAPES[preset]
    with pytest.raises(TrainingError, match="none of penname's Reader presets"):
        shape_of(build(TrainOptions(preset="origin"), 64, 30).state_dict())


def test_frames_are_those_of_the_model_in_our_alphabet(teacher: ModelFolder) -> None:
    found = Teacher(teacher, OURS, SPEC, CPU, torch.float32)(as_ink(images())).numpy()
    theirs = load_network(teacher.onnx)(images().numpy())
    places = [0, 2, 4, 1, 3]  # blank, A, B, C and space in "CA B"
    np.testing.assert_allclose(found, theirs[..., places], rtol=0, atol=1e-4)
    assert np.ptp(theirs, axis=-1).mean() > 1  # frames say something


def test_the_loss_is_the_divergence_of_each_frame_from_the_teachers() -> None:
    ours, theirs = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    q, p = ours.softmax(-1).numpy(), theirs.softmax(-1).numpy()
    expected = (p * np.log(p / q)).sum((1, 2))
    found = frame_loss(ours, theirs.log_softmax(-1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert frame_loss(theirs, theirs.log_softmax(-1)).abs().max() < 1e-5


def test_a_network_comes_to_give_its_teachers_frames(tmp_path: Path, teacher: ModelFolder) -> None:
    far = {}
    for teaching in (0.0, 3.0):
        options = replace(OPTIONS, epochs=40, learning_rate=0.01, teaching=teaching)
        run = Run([Pack.open(tmp_path / "theirs")], tmp_path, options, teacher=teacher)
        assert run.teacher is not None
        for _ in range(60):
            for lines in run.plan(0):
                run.step(run.train.batch(lines))
        ink = as_ink(torch.from_numpy(np.stack([draw("CAB", 0)])[:, None]))
        with torch.no_grad():
            far[teaching] = float(frame_loss(run.network(ink)[0], run.teacher(ink)))
    assert far[3.0] < far[0.0] / 2


def test_columns_are_as_far_as_their_share_of_the_teachers_squares() -> None:
    theirs, ours = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 3.0]]])
    assert float(column_loss(ours, theirs)) == pytest.approx(1 / 25)


def test_columns_come_to_give_what_those_of_the_teacher_give(
    tmp_path: Path, teacher: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model.SHAPES, "names", replace(TINY, widths=(8, 16, 16, 24)))
    far = {}
    for matching in (0.0, 1.0):
        options = replace(OPTIONS, epochs=40, learning_rate=0.01, matching=matching)
        run = Run([Pack.open(tmp_path / "theirs")], tmp_path, options, teacher=teacher)
        assert run.teacher is not None
        ours, theirs = run.teacher.columns(run.network)
        for _ in range(20):
            for lines in run.plan(0):
                run.step(run.train.batch(lines))
        ink = as_ink(torch.from_numpy(np.stack([draw("CAB", 0)])[:, None]))
        with torch.no_grad():
            run.network(ink), run.teacher(ink)
            far[matching] = float(column_loss(ours.given, theirs.given))
    assert far[1.0] < far[0.0] / 2


def test_a_teacher_sees_all_rows_where_the_network_sees_those_of_the_ink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model.SHAPES, "names", TINY)
    line = np.full((32, 60), 255, dtype=np.uint8)
    line[10:20, 4:30] = 0  # needs 16 rows with its edges
    with PackWriter(tmp_path / "pack", OURS, replace(SPEC, height=32), {}) as writer:
        writer.add(line, "A", file="0", source="", split="train")
    pack = Pack.open(tmp_path / "pack")
    Run([pack], tmp_path / "run", OPTIONS).save_best({})
    folder = export_model(tmp_path / "run", tmp_path / "teacher", "teacher")
    options = replace(OPTIONS, matching=1.0, height_step=16)
    with pytest.raises(TrainingError, match=r"batch norm stays as it was .*give a model, --from"):
        Run([pack], tmp_path / "run", options, teacher=folder)
    run = Run([pack], tmp_path / "run", options, start=folder, teacher=folder)
    assert run.teacher is not None
    statistics = [buffer.clone() for buffer in run.network.buffers()]
    seen = []
    for network in (run.network, run.teacher.network):
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run.step(run.train.batch(np.array([0])))
    whole, cut = sorted(seen, key=lambda ink: -ink.shape[2])
    assert (whole.shape, cut.shape) == ((1, 1, 32, 64), (1, 1, 16, 64))
    assert torch.equal(cut, whole[:, :, 7:23])
    assert all(map(torch.equal, run.network.buffers(), statistics))
    assert run.columns is not None
    assert {columns.given.shape for columns in run.columns} == {(1, 16, 16)}


def test_columns_that_cannot_match_are_refused(tmp_path: Path, teacher: ModelFolder) -> None:
    packs, options = [Pack.open(tmp_path / "theirs")], replace(OPTIONS, matching=1.0)
    with pytest.raises(TrainingError, match="by the columns of a --teacher; name one"):
        Run(packs, tmp_path, options)
    with pytest.raises(
        TrainingError, match=r"teacher is 24 wide, .* network \d+.*leave --matching"
    ):
        Run(packs, tmp_path, options, teacher=teacher)


def test_what_does_not_fit_is_refused(tmp_path: Path, teacher: ModelFolder) -> None:
    wide = ImageSpec(height=16, max_width=128, width_step=32)
    with pytest.raises(TrainingError, match=r"reads .*max_width=96.* the packs hold .*=128"):
        Teacher(teacher, OURS, wide, CPU, torch.float32)
    with pytest.raises(TrainingError, match="rows of the ink alone, and a teacher is shown all"):
        Teacher(replace(teacher, height_step=8), OURS, SPEC, CPU, torch.float32)
    with pytest.raises(TrainingError, match="writes 'CA B', the packs hold 'ABCD'"):
        Teacher(teacher, Alphabet("ABCD"), SPEC, CPU, torch.float32)


def test_a_taught_run_goes_on_with_its_teacher_alone(tmp_path: Path, teacher: ModelFolder) -> None:
    out, pack = tmp_path / "out", tmp_path / "theirs"
    flags = ["--epochs", "1", "--batch-size", "4", "--precision", "fp32", "--out", str(out)]
    flags = ["train", "--pack", str(pack), *flags]
    assert main([*flags, "--teacher", str(teacher.path)]) == 0
    options = TrainOptions(epochs=1, batch_size=4, precision="fp32")
    assert train([pack], out, options, resume=True, teacher=teacher).finished
    with pytest.raises(TrainingError, match=r"its teacher is not .* the same --from and --teacher"):
        train([pack], out, options, resume=True)
