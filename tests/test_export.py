"""Export: ONNX Runtime, through a Recognizer, reads what torch reads."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from test_model import lively

from penname.alphabet import Alphabet
from penname.beam import DecodingOptions
from penname.cli import main
from penname.errors import ModelError, OptionError, TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.language import Language
from penname.line_image import ImageSpec
from penname.model_folder import Fast, ModelFolder, Second
from penname.recognizer import Recognizer
from penname.training import export
from penname.training.export import FILES, export_model, load_best, with_fast, with_second
from penname.training.graph import (
    LARGE,
    Exported,
    check_parity,
    read_weights,
    round_weights,
    write_onnx,
)
from penname.training.loop import train
from penname.training.model import SHAPES, Shape, as_ink
from penname.training.options import TrainOptions
from penname.training.run import Run

if TYPE_CHECKING:
    from pathlib import Path

ALPHABET = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ -'")
SPECS = {
    "names": ImageSpec(height=32, max_width=160),
    "latin": ImageSpec(height=40, max_width=150, width_step=24),  # 150 is no multiple of 24
    "origin": ImageSpec(height=64, max_width=256, fit="crop"),
    "origin-mish": ImageSpec(height=64, max_width=256, fit="crop"),
}


def line(i: int, spec: ImageSpec) -> np.ndarray:
    """Return scribbles, a different width for each of the first lines."""
    rng = np.random.default_rng(i)
    width = spec.max_width if spec.fit == "crop" else 1 + (37 * i) % spec.max_width
    blocks = rng.integers(0, 2, (spec.height // 8, width // 4 + 1), dtype=np.uint8) * 255
    return blocks.repeat(8, 0).repeat(4, 1)[:, :width]


def trained(
    folder: Path, preset: str, *, seed: int = 1, height_step: int = 0, start: Path | None = None
) -> Run:
    """Return a run whose average has lively random weights, kept as the best."""
    spec = SPECS[preset]
    if not (folder / "pack").exists():
        with PackWriter(folder / "pack", ALPHABET, spec, {}) as writer:
            for i in range(12):
                for split in ("train", "validation"):
                    writer.add(line(i, spec), "A", file=f"{i}", source="", split=split)
    options = TrainOptions(
        preset=preset, precision="fp32", device="cpu", seed=seed, height_step=height_step
    )
    model = ModelFolder.load(start) if start else None
    run = Run([Pack.open(folder / "pack")], folder / "run", options, model)
    if not start:
        lively(run.average, spec.height)
    round_weights(run.average)
    run.save_best({"epoch": 3, "cer": 0.25})
    return run


@pytest.mark.parametrize("preset", SPECS)
def test_a_recognizer_reads_what_torch_reads(tmp_path: Path, preset: str) -> None:
    run = trained(tmp_path, preset)
    folder = export_model(tmp_path / "run", tmp_path / "model", "mine")
    recognizer = Recognizer.load(tmp_path / "model", threads=1)
    texts = run.read(run.validation)
    lines = [run.validation.packs[0].image(i) for _, i in run.validation.where]
    assert len(set(texts)) > 6  # or any network would do
    for batch_size in (1, 3, 12):
        read = recognizer.read_lines(lines, batch_size=batch_size)
        assert [prediction.text for prediction in read] == texts
    assert (folder.name, folder.stride, folder.alphabet, folder.image) == (
        "mine", 4, ALPHABET, SPECS[preset],
    )  # fmt: skip


def test_a_recognizer_shows_the_network_the_rows_that_torch_saw(tmp_path: Path) -> None:
    spec = replace(SPECS["names"], height=64)
    with PackWriter(tmp_path / "pack", ALPHABET, spec, {}) as writer:
        for i in range(12):
            scribbles = line(i, spec)
            scribbles[: 12 + i], scribbles[52 - i :] = 255, 255
            writer.add(scribbles, "A", file=f"{i}", source="", split="validation")
            writer.add(scribbles, "A", file=f"{i}", source="", split="train")
    trained(tmp_path, "names")
    export_model(tmp_path / "run", tmp_path / "whole", "whole")
    run = trained(tmp_path, "names", height_step=16, start=tmp_path / "whole")
    assert set(run.validation.canvases[:, 0].tolist()) == {32, 48}
    texts = run.read(run.validation)
    folder = export_model(tmp_path / "run", tmp_path / "model", "mine")
    assert ModelFolder.load(folder.path).height_step == 16
    lines = [run.validation.packs[0].image(i) for _, i in run.validation.where]
    assert [each.text for each in Recognizer.load(folder.path).read_lines(lines)] == texts
    replace(folder, height_step=0).save()
    assert [each.text for each in Recognizer.load(folder.path).read_lines(lines)] != texts


class Exact(Exported):
    """An exported network in float64: torch's own floats are off by as much as ONNX Runtime's."""

    def __init__(self, exported: Exported) -> None:
        super().__init__(deepcopy(exported.network).double())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits, _ = self.network(as_ink(images).double())
        return torch.log_softmax(logits, -1)


@pytest.mark.parametrize("preset", SPECS)
def test_log_probs_agree_at_widths_and_batch_sizes_other_than_the_export_s(
    tmp_path: Path, preset: str
) -> None:
    trained(tmp_path, preset)
    folder = export_model(tmp_path / "run", tmp_path / "model", "mine")
    _, exported = load_best(tmp_path / "run")
    exact = Exact(exported)
    network, step = Recognizer.load(folder.path, threads=1).network, SPECS[preset].width_step
    rng = np.random.default_rng(4)
    for n, width in ((1, step), (1, 7 * step), (7, 3 * step), (4, 11 * step)):
        images = rng.integers(0, 256, (n, 1, SPECS[preset].height, width), dtype=np.uint8)
        ours, theirs = exact(torch.from_numpy(images)).detach().numpy(), network(images)
        assert theirs.shape == (n, width // 4, ALPHABET.classes)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(np.exp(theirs).sum(-1), 1, atol=1e-5)
        assert ours.std(axis=1).max() > 0.1  # or agreement would mean nothing


def test_a_model_folder_has_its_weights_and_its_origin(tmp_path: Path) -> None:
    run = trained(tmp_path, "names")
    export_model(tmp_path / "run", tmp_path / "model", "mine")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names == {"model.onnx", "model.json"}
    loaded = ModelFolder.load(tmp_path / "model")
    assert loaded.training["options"]["preset"] == "names"
    assert loaded.training["scores"] == {"epoch": 3, "cer": 0.25}
    assert loaded.training["lines"] == {"train": 12, "validation": 12}
    weights = read_weights(loaded.onnx)
    expected = {
        name: weight
        for name, weight in run.average.state_dict().items()
        if not name.startswith("shortcut") and not name.endswith("num_batches_tracked")
    }
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, expected[name]), name


def test_a_run_of_a_preset_that_has_changed_since_is_exported_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Shape((8,), (8, 16, 16, 24), (1, 2, 1, 1), 16)  # SHAPES["names"] has other sizes
    with monkeypatch.context() as then:
        then.setitem(SHAPES, "names", before)
        run = trained(tmp_path, "names")
    folder = export_model(tmp_path / "run", tmp_path / "model", "mine")
    for name, weight in read_weights(folder.onnx).items():
        assert torch.equal(weight, run.average.state_dict()[name]), name
    run.save()
    options = TrainOptions(preset="names", precision="fp32", device="cpu", seed=1)
    with pytest.raises(TrainingError, match=r"its parameters is not .* the penname that began it"):
        train([tmp_path / "pack"], tmp_path / "run", options, resume=True)


def test_large_weights_are_stored_in_half_precision(tmp_path: Path) -> None:
    run = trained(tmp_path, "names")
    weights = [weight.numel() for weight in run.average.parameters()]
    size = export_model(tmp_path / "run", tmp_path / "model", "mine").onnx.stat().st_size
    large = sum(n for n in weights if n >= LARGE)
    assert 2 * large * 0.97 < size < 2 * large + 4 * (sum(weights) - large) + 100_000


def test_language_and_calibration_are_exported_with_the_network_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, "names")
    names = tmp_path / "names.csv"
    names.write_text("name,count\nADA,3\nBO,1\n")
    folder = export_model(tmp_path / "run", tmp_path / "model", "mine", language=names)
    assert folder.decoding == DecodingOptions()
    assert ModelFolder.load(folder.path).language.exists()
    decoding = DecodingOptions(language_weight=0.7, length_bonus=1.5)
    weighed = export_model(
        tmp_path / "run", tmp_path / "weighed", "mine", language=names, decoding=decoding
    )
    assert ModelFolder.load(weighed.path).decoding == decoding
    decoding = replace(decoding, word_share=0.4)
    novel = tmp_path / "novel.txt"
    novel.write_text("ADA BO\n" * 9)
    words = export_model(
        *(tmp_path / "run", tmp_path / "words", "mine"),
        language=names, decoding=decoding, running=[novel],
    )  # fmt: skip
    language = Language.load(ModelFolder.load(words.path).language)
    assert language.bigrams
    assert language.bigrams.words == ["ada", "bo"]
    assert language.bigrams.pair_counts.tolist() == [9]
    with pytest.raises(OptionError, match="--word-share"):
        export_model(tmp_path / "run", words.path, "mine", language=names, running=[novel])
    with pytest.raises(OptionError, match=r"options of decoding .* needs a --language"):
        export_model(tmp_path / "run", tmp_path / "greedy", "mine", decoding=decoding)
    before = (folder.path / "model.json").read_bytes()
    (tmp_path / "truth.csv").write_text("scan,who\nnone.png,A\n")
    flags = ["export", "--checkpoint", str(tmp_path / "run"), "--out", str(folder.path)]
    flags += ["--name", "other", "--calibrate", str(tmp_path / "truth.csv")]
    assert main([*flags, "--image-column", "scan", "--text-column", "who"]) == 1
    assert "too few to calibrate" in capsys.readouterr().err
    assert (folder.path / "model.json").read_bytes() == before
    export_model(tmp_path / "run", folder.path, "plain")
    assert {file.name for file in folder.path.iterdir()} == {"model.onnx", "model.json"}


def beside(tmp_path: Path) -> tuple[ModelFolder, Path]:
    """Return a model beside the run in `run`, which is of another seed, and a table of names."""
    trained(tmp_path, "names")
    other = export_model(tmp_path / "run", tmp_path / "other", "other")
    trained(tmp_path, "names", seed=2)
    names = tmp_path / "names.csv"
    names.write_text("name,count\nADA,3\nBO,1\n")
    return other, names


def test_the_network_of_another_model_is_given_for_the_second_look(tmp_path: Path) -> None:
    other, names = beside(tmp_path)
    second = tmp_path / "other"
    with pytest.raises(OptionError, match="needs a --language"):
        export_model(tmp_path / "run", tmp_path / "model", "mine", second=second)
    folder = export_model(
        tmp_path / "run", tmp_path / "model", "mine", language=names, second=second
    )
    assert folder.second_onnx.read_bytes() == other.onnx.read_bytes() != folder.onnx.read_bytes()
    assert ModelFolder.load(folder.path).second == Second(
        "other", other.created, 32, other.image.writing
    )
    third = export_model(
        tmp_path / "run", tmp_path / "third", "third", language=names, second=folder.path
    )
    assert third.second_onnx.read_bytes() == other.onnx.read_bytes()
    assert third.second == folder.second
    for change, message in (
        ({"stride": 8}, r"other: its stride is 8, not 4; only a model"),
        ({"alphabet": Alphabet("AB")}, r"other: its alphabet is 'AB', not .ABCDEF.*; only a model"),
        ({"image": replace(other.image, width_step=24)}, "multiples of 24 pixels, and .* of 32"),
        ({"image": replace(other.image, width_step=64)}, "multiples of 64 pixels, and .* of 32"),
        ({"height_step": 16}, r"other sees the rows of the ink alone; .* can read first, --fast"),
    ):
        replace(other, **change).save()
        with pytest.raises(ModelError, match=message):
            export_model(tmp_path / "run", folder.path, "mine", language=names, second=second)
    replace(other, image=replace(other.image, width_step=16)).save()
    export_model(tmp_path / "run", folder.path, "mine", language=names, second=second)
    export_model(tmp_path / "run", folder.path, "mine", language=names)
    assert not ModelFolder.load(folder.path).second_onnx.exists()


def test_what_another_network_sees_is_kept_with_it(tmp_path: Path) -> None:
    other, _ = beside(tmp_path)
    (tmp_path / "mine").mkdir()
    mine = replace(other, path=tmp_path / "mine")
    fast = with_fast(mine, replace(other, height_step=16)).fast
    assert fast
    assert fast.height_step == 16
    lower = replace(other, image=replace(other.image, height=48, writing=0.5))
    second = with_second(mine, lower).second
    assert second
    assert (second.height, second.writing) == (48, 0.5)
    assert FILES[-1] == "model.json"  # which is read first, and says what the others have to be


def test_the_network_of_another_model_is_given_to_read_first(tmp_path: Path) -> None:
    other, names = beside(tmp_path)
    flags = ["export", "--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "model")]
    flags += ["--name", "mine", "--fast", str(other.path)]
    assert main(flags) == 2  # without a language nothing is doubtful
    assert main([*flags, "--language", str(names)]) == 0
    folder = ModelFolder.load(tmp_path / "model")
    assert folder.fast == Fast("other", other.created, height_step=0)
    assert folder.fast_onnx.read_bytes() == other.onnx.read_bytes() != folder.onnx.read_bytes()
    again = export_model(tmp_path / "run", tmp_path / "n", "n", language=names, fast=folder.path)
    assert again.fast == folder.fast  # of two networks the fast one
    assert again.fast_onnx.read_bytes() == other.onnx.read_bytes()
    for change, message in (
        ({"alphabet": Alphabet("AB")}, r"other: its alphabet is 'AB', not .ABCDEF.*; only a model"),
        ({"image": replace(other.image, slack=1.2)}, "slack=1.2.*and mine .*; pack both alike"),
    ):
        replace(other, **change).save()
        with pytest.raises(ModelError, match=message):
            export_model(tmp_path / "run", folder.path, "mine", language=names, fast=other.path)
    export_model(tmp_path / "run", folder.path, "mine", language=names)
    assert not folder.fast_onnx.exists()


def test_exporting_again_replaces_the_model_and_leaves_the_card(tmp_path: Path) -> None:
    trained(tmp_path, "names")
    first = export_model(tmp_path / "run", tmp_path / "model", "mine").onnx.read_bytes()
    (tmp_path / "model" / "card.md").write_text("by hand")
    (tmp_path / "model" / "float.onnx").write_bytes(first)  # as `penname quantise` leaves it
    trained(tmp_path, "names", seed=2)
    second = export_model(tmp_path / "run", tmp_path / "model", "other")
    assert ModelFolder.load(tmp_path / "model").name == "other"
    assert second.onnx.read_bytes() != first
    assert (tmp_path / "model" / "card.md").read_text() == "by hand"
    assert not second.path.joinpath("float.onnx").exists()


@pytest.mark.parametrize("amount", [1e-2, float("nan")])
def test_a_network_that_differs_in_onnx_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amount: float
) -> None:
    trained(tmp_path, "names")
    export_model(tmp_path / "run", tmp_path / "model", "mine")
    before = (tmp_path / "model" / "model.onnx").read_bytes()

    def tampered(exported: Exported, *rest: Any) -> None:
        bias = exported.network.get_submodule("head").get_parameter("bias")
        kept = bias.detach().clone()
        with torch.no_grad():
            bias[1] += amount
            write_onnx(exported, *rest)
            bias.copy_(kept)

    monkeypatch.setattr(export, "write_onnx", tampered)
    with pytest.raises(TrainingError, match="torch and ONNX Runtime differ by"):
        export_model(tmp_path / "run", tmp_path / "model", "mine")
    assert ModelFolder.load(tmp_path / "model").onnx.read_bytes() == before


def test_parity_is_checked_with_the_given_file(tmp_path: Path) -> None:
    trained(tmp_path, "names")
    _, first = load_best(tmp_path / "run")
    round_weights(first.network)
    folder = ModelFolder(tmp_path, "first", ALPHABET, SPECS["names"], 4, "2026-11-28")
    write_onnx(first, folder)
    check_parity(first, folder)
    assert 0 < check_parity(Exact(first), folder) <= 1e-4
    trained(tmp_path, "names", seed=2)
    _, second = load_best(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"model\.onnx: torch and ONNX Runtime differ"):
        check_parity(second, folder)


def test_what_is_improbable_in_both_may_differ(tmp_path: Path) -> None:
    """Of a log probability of -26 torch itself is off by 0.003, and of e^-26 nobody cares."""
    trained(tmp_path, "names")
    _, exported = load_best(tmp_path / "run")
    bias = exported.network.get_submodule("head").get_parameter("bias")
    with torch.no_grad():
        bias[2] -= 60.0
    round_weights(exported.network)
    folder = ModelFolder(tmp_path, "first", ALPHABET, SPECS["names"], 4, "2026-11-28")
    write_onnx(exported, folder)
    with torch.no_grad():
        bias[2] -= 1.0
    assert check_parity(exported, folder) <= 1e-4
    with torch.no_grad():
        bias[2] += 61.0
    with pytest.raises(TrainingError, match="torch and ONNX Runtime differ"):
        check_parity(exported, folder)


def test_a_folder_without_a_validated_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"best/training\.json.*--out of a training run"):
        export_model(tmp_path, tmp_path / "model", "mine")
    assert not (tmp_path / "model").exists()


def test_a_card_of_scores_that_is_no_json_is_named(tmp_path: Path) -> None:
    trained(tmp_path, "names")
    (tmp_path / "run" / "best" / "training.json").write_text(json.dumps({})[:1])
    with pytest.raises(TrainingError, match=r"training\.json"):
        export_model(tmp_path / "run", tmp_path / "model", "mine")
