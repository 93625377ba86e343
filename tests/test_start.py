"""Fine-tuning: a trained model keeps what it knows when its alphabet grows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from test_model import lively
from test_training import SPEC, TINY, draw

from penname.alphabet import Alphabet
from penname.errors import OptionError, TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec
from penname.model_folder import ModelFolder
from penname.training import model
from penname.training.checkpoint import latest
from penname.training.data import in_order, loaded
from penname.training.export import export_model, load_best
from penname.training.graph import read_weights
from penname.training.loop import train
from penname.training.model import as_ink, build
from penname.training.options import TrainOptions
from penname.training.run import Run
from penname.training.start import begin, fill

if TYPE_CHECKING:
    from pathlib import Path


OLD, NEW = Alphabet("ABC"), Alphabet("DBE")
OPTIONS = TrainOptions(epochs=1, batch_size=4, precision="fp32")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.SHAPES, "names", TINY)


def write_pack(folder: Path, alphabet: Alphabet) -> Path:
    with PackWriter(folder, alphabet, SPEC, {}) as writer:
        for i, text in enumerate(alphabet.characters):
            for split in ("train", "validation"):
                writer.add(draw(text, i), text, file=f"{i}", source="", split=split)
    return folder


@pytest.fixture
def old(tmp_path: Path) -> ModelFolder:
    """A model of the alphabet OLD, random but lively."""
    run = Run([Pack.open(write_pack(tmp_path / "old", OLD))], tmp_path / "run", OPTIONS)
    lively(run.average, SPEC.height)
    run.save_best({})
    return export_model(tmp_path / "run", tmp_path / "model", "old")


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return as_ink(torch.randint(0, 256, (3, 1, SPEC.height, 64), generator=generator))


def logits(network: torch.nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        main, shortcut = network.eval()(images())
    return [main, shortcut]


def test_old_outputs_are_unchanged_and_new_characters_come_last(
    tmp_path: Path, old: ModelFolder
) -> None:
    # NEW has D before B: labels follow the old model, not the pack.
    run = Run([Pack.open(write_pack(tmp_path / "new", NEW))], tmp_path, OPTIONS, old)
    assert run.alphabet == Alphabet("ABCDE")
    assert run.train.texts == ["D", "B", "E"]
    assert [labels.tolist() for labels in run.train.labels] == [[4], [2], [5]]
    stored = build(OPTIONS, SPEC.height, OLD.classes)
    stored.load_state_dict(read_weights(old.onnx), strict=False)
    _, exact = load_best(tmp_path / "run")
    for network in (run.network, run.average):
        ours, half, full = (logits(each)[0] for each in (network, stored, exact.network))
        assert ours.shape[-1] == 6
        torch.testing.assert_close(ours[..., :4], half, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours[..., :4], full, rtol=0, atol=0.05)  # half precision
        assert ours[..., 4:].std() > 1e-4
        assert ours.std() > 0.5


def test_the_same_alphabet_keeps_every_output(tmp_path: Path, old: ModelFolder) -> None:
    run = Run([Pack.open(tmp_path / "old")], tmp_path, OPTIONS, old)
    assert run.alphabet == OLD
    state = run.network.state_dict()
    for name, value in read_weights(old.onnx).items():
        assert torch.equal(state[name], value), name


def test_without_a_model_weights_are_random_and_fixed_by_the_seed() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        alphabet, network = begin(OLD, SPEC, OPTIONS, None)
        assert alphabet == OLD
        found.append(logits(network)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_fine_tuned_run_trains_resumes_and_exports(tmp_path: Path, old: ModelFolder) -> None:
    pack, out = write_pack(tmp_path / "new", NEW), tmp_path / "out"
    state = train([pack], out, OPTIONS, start=old)
    assert state.finished
    folder = export_model(out, tmp_path / "tuned", "tuned")
    assert folder.alphabet == Alphabet("ABCDE")
    resumed = Run([Pack.open(pack)], out, OPTIONS, old)
    newest = latest(out)
    assert newest
    resumed.resume(newest)
    assert resumed.state.finished
    with pytest.raises(TrainingError, match="its alphabet is not that of this run"):
        train([pack], out, OPTIONS, resume=True)  # without --from its labels would be others
    assert folder.training["from"] == old.checksum()
    tuned = ModelFolder.load(folder.path)
    with pytest.raises(TrainingError, match="its from is not that of this run"):
        train([pack], out, OPTIONS, resume=True, start=tuned)


@pytest.mark.parametrize(
    ("preset", "parts"),
    [("names", "stem,stages"), ("names", "stages,head"), ("origin", "convolutions")],
)
def test_frozen_parts_stay_as_they_are_and_the_others_learn(
    tmp_path: Path, preset: str, parts: str
) -> None:
    options = replace(OPTIONS, preset=preset)
    pack = write_pack(tmp_path / "old", OLD)
    train([pack], tmp_path / "run", options)
    start = export_model(tmp_path / "run", tmp_path / "model", "old")
    options = replace(options, freeze=parts, epochs=3)
    run = Run([Pack.open(pack)], tmp_path / "frozen", options, start)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    for batch in in_order(run.train, 2):
        with closing(loaded(run.train, [batch], run.device)) as loading:
            run.step(next(iter(loading)))
    for network in (run.network, run.average):
        for name, value in network.state_dict().items():
            same = name.partition(".")[0] in parts.split(",")
            if value.is_floating_point():
                assert torch.equal(value, before[name]) == same, name
    run.save()
    resumed = Run([Pack.open(pack)], tmp_path / "frozen", options, start)
    newest = latest(tmp_path / "frozen")
    assert newest
    resumed.resume(newest)
    for name, value in resumed.network.state_dict().items():
        assert torch.equal(value, run.network.state_dict()[name]), name
    everything = ",".join(name for name, _ in run.network.named_children())
    with pytest.raises(OptionError, match="leaves nothing to train"):
        Run([Pack.open(pack)], tmp_path / "other", replace(options, freeze=everything), start)
    with pytest.raises(OptionError, match=r"no part 'lstm'; its parts are .*recurrent"):
        Run([Pack.open(pack)], tmp_path / "other", replace(options, freeze="lstm"), start)


def test_a_height_step_leaves_rows_out(tmp_path: Path, old: ModelFolder) -> None:
    packs = [Pack.open(tmp_path / "old")]
    height = packs[0].spec.height
    with pytest.raises(TrainingError, match=f"leaves no row out, as line images are {height} high"):
        Run(packs, tmp_path, replace(OPTIONS, height_step=height), old)


def test_another_network_is_refused(tmp_path: Path, old: ModelFolder) -> None:
    packs = [Pack.open(tmp_path / "old")]
    with pytest.raises(TrainingError, match="has the network 'names'; give --preset names"):
        Run(packs, tmp_path, TrainOptions(preset="latin"), old)


def test_a_model_from_before_its_preset_changed_trains_on_as_it_is(
    tmp_path: Path, old: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model.SHAPES, "names", replace(TINY, cells=8, blocks=(1, 2, 1, 1)))
    pack = tmp_path / "old"
    run = Run([Pack.open(pack)], tmp_path / "new", OPTIONS, old)
    for name, value in read_weights(old.onnx).items():
        assert torch.equal(run.network.state_dict()[name], value), name
    train([pack], tmp_path / "new", OPTIONS, start=old)
    again = export_model(tmp_path / "new", tmp_path / "again", "again")
    sizes = [{name: w.shape for name, w in read_weights(m.onnx).items()} for m in (old, again)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("change", ["renamed", "longer"])
def test_weights_of_another_version_are_refused(change: str) -> None:
    network = build(OPTIONS, SPEC.height, OLD.classes)
    weights = {name: weight for name, weight in network.state_dict().items() if weight.dim()}
    bias = weights.pop("stem.0.1.bias")
    name = "elsewhere.bias" if change == "renamed" else "stem.0.1.bias"
    weights[name] = torch.cat([bias, bias])
    with pytest.raises(TrainingError, match="is not the network's; it was made by another version"):
        fill(network, weights)


def test_lines_too_low_for_a_models_network_are_refused(tmp_path: Path, old: ModelFolder) -> None:
    spec = ImageSpec(height=8, max_width=96, width_step=32)
    with PackWriter(tmp_path / "low", OLD, spec, {}) as writer:
        writer.add(np.full((8, 40), 9, np.uint8), "A", file="a", source="", split="train")
    with pytest.raises(OptionError, match="names needs a height of at least 16, not 8"):
        Run([Pack.open(tmp_path / "low")], tmp_path, OPTIONS, old)


def test_another_image_spec_is_taken_over_from_the_packs_and_said(
    tmp_path: Path, old: ModelFolder, caplog: pytest.LogCaptureFixture
) -> None:
    spec = ImageSpec(height=32, max_width=128, width_step=32)
    with PackWriter(tmp_path / "wide", OLD, spec, {}) as writer:
        writer.add(np.full((32, 40), 9, np.uint8), "A", file="a", source="", split="train")
    with caplog.at_level("INFO"):
        run = Run([Pack.open(tmp_path / "wide")], tmp_path, OPTIONS, old)
    assert run.spec == spec
    assert "max_width=96" in caplog.text
    assert "the new model will read ImageSpec(height=32, max_width=128" in caplog.text


def test_a_network_that_is_not_all_there_is_refused() -> None:
    network = build(OPTIONS, SPEC.height, OLD.classes)
    weights = {name: weight for name, weight in network.state_dict().items() if weight.dim()}
    del weights["head.bias"], weights["stem.0.1.bias"]
    with pytest.raises(TrainingError, match=r"lacks head\.bias and 1 other weights; copy"):
        fill(network, weights)
    with pytest.raises(TrainingError, match="other weights; copy or export"):
        fill(network, {})
