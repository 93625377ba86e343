"""Self-training: which readings are learnt from, what is said of them, and no line read twice."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import BARS, SPEC
from test_model import lively
from test_start import OLD, OPTIONS, write_pack
from test_training import SPEC as TINY_SPEC
from test_training import TINY

from penname.alphabet import Alphabet
from penname.cli import main
from penname.errors import OptionError, PackError, TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.recognizer import Prediction, Recognizer
from penname.training import checkpoint, loop, self_training
from penname.training import model as networks
from penname.training.export import export_model
from penname.training.options import SelfOptions, TrainOptions
from penname.training.run import Run
from penname.training.self_training import report, self_pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder


# What is read in a line image is decided by its grey.
READINGS = {
    10: ("HEAD", 0.9),
    20: ("FACE", 0.8999),
    30: ("", 0.99),
    40: ("CAB  D ", 1.0),
    50: ("BED", 0.95),
    60: ("EMPTY", 0.99),
}
LETTERS = BARS.merge(Alphabet(" MPTY"))


class Reader:
    """A recognizer that reads greys, and counts the lines it was given."""

    name = "greys"

    def __init__(self, model: ModelFolder) -> None:
        self.model = replace(model, alphabet=LETTERS, training={"options": {"preset": "names"}})
        self.lines = 0

    def read_lines(self, lines: Sequence[np.ndarray]) -> list[Prediction]:
        self.lines += len(lines)
        return [Prediction("", *READINGS[int(line[0, 0])]) for line in lines]


@pytest.fixture
def reader(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> Reader:
    made = Reader(model)
    monkeypatch.setattr(Recognizer, "load", lambda _: made)
    return made


def pack(folder: Path, *lines: tuple[int, str, str], spec: ImageSpec = SPEC) -> Path:
    """Write a pack of lines (grey, text, split), each of its own width."""
    with PackWriter(folder, LETTERS, spec, {}) as writer:
        for i, (grey, text, split) in enumerate(lines):
            image = np.full((spec.height, 40 + i), grey, np.uint8)
            place: dict[str, Any] = {"file": f"{i}.png", "row": f"t:{i}", "group": f"w{i}"}
            writer.add(image, text, **place, source="s", split=split)
    return folder


def unlabelled(folder: Path, *greys: int) -> Path:
    return pack(folder, (10, "BED", "train"), *((grey, "", "unlabelled") for grey in greys))


def made(folder: Path, *, resume: bool = False, **changed: Any) -> Pack:
    """Return the pack of own readings of the packs `un` and `lab` in a folder."""
    values: dict[str, Any] = {
        "packs": [folder / "lab"],
        "unlabelled": folder / "un",
        "out": folder / "out",
        "model": "greys",
        "training": TrainOptions(),
        "options": SelfOptions(),
    }
    return self_pack(**(values | changed), resume=resume)


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    unlabelled(tmp_path / "un", *READINGS)
    pack(tmp_path / "lab", (10, "HEAD", "train"))
    return tmp_path


def test_sure_texts_are_kept_with_their_pictures_and_places(packs: Path, reader: Reader) -> None:
    found = Pack.open(made(packs).path, verify=True)
    assert found.path == packs / "out" / "self"
    assert found.texts == ["HEAD", "CAB D", "BED"]  # 0.9 is enough, 0.8999 is not
    assert found.rows == ["t:1", "t:4", "t:5"]
    assert found.groups == ["w1", "w4", "w5"]
    assert (set(found.splits), set(found.sources)) == ({"train"}, {"self"})
    assert (found.alphabet, found.spec) == (LETTERS, SPEC)
    widths = [image.shape[1] for image in map(found.image, range(3))]
    greys = [set(image.ravel().tolist()) for image in map(found.image, range(3))]
    assert (widths, greys) == ([41, 44, 45], [{10}, {40}, {50}])
    with (found.path / "rejected.csv").open(encoding="utf-8", newline="") as stream:
        left_out = [tuple(row.values()) for row in csv.DictReader(stream)]
    assert left_out == [
        ("2.png", "t:2", "unsure", "confidence 0.900", "FACE"),
        ("3.png", "t:3", "missing-text", "no text", ""),
        ("6.png", "t:6", "marker", "the text is 'EMPTY'", "EMPTY"),
    ]
    assert reader.lines == 6  # not the line that has a text


def test_the_report_says_how_many_and_how_right(packs: Path, reader: Reader) -> None:
    scored = pack(
        packs / "scored",
        (10, "HEAD", "validation"),  # sure and right
        (50, "BEAD", "validation"),  # sure and wrong
        (40, "CAB D", "validation"),  # sure and right
        (20, "FACE", "validation"),  # right, not sure
        (30, "AB", "validation"),  # sure that there is nothing: not learnt from
        (10, "BAD", "test"),
    )
    more = pack(packs / "more", (50, "BED", "validation"), (50, "FEED", "train"))
    found = made(packs, packs=[packs / "lab", scored, more])
    about = found.manifest["options"]
    assert (about["validation_lines"], about["validation_sure"], about["validation_right"]) == (
        6,
        4,
        3,
    )
    assert about["claimed"] == pytest.approx((0.9 + 1 + 0.95) / 3)
    assert (about["model"], about["sure"]) == ("greys", 0.9)
    assert about["model_sha256"] == reader.model.checksum()
    assert about["unlabelled_pack"] == Pack.open(packs / "un").checksum
    assert report(found).splitlines() == [
        f"greys read 6 lines of {packs / 'un'}: 3 kept, 3 left out "
        "(1 unsure, 1 missing-text, 1 marker)",
        "kept is what it reads with a confidence of 0.9 or more; by its own account 95.0% of that "
        "is exactly right",
        "of 6 labelled validation lines 4 are read so, 3 exactly right: 75.0% (30.1% to 95.4%)",
    ]


@pytest.mark.usefixtures("reader")
def test_without_validation_lines_nothing_is_claimed_to_be_measured(packs: Path) -> None:
    unlabelled(packs / "sure", 10, 50)
    last = report(made(packs, unlabelled=packs / "sure")).splitlines()
    assert last[0].endswith("2 kept, 0 left out")
    assert last[2] == (
        "none of 0 labelled validation lines is read so: how right it is was not measured"
    )


def test_a_run_that_goes_on_finds_what_was_read(packs: Path, reader: Reader) -> None:
    first = made(packs, resume=True)  # nothing is there yet
    before, reader.lines = first.checksum, 0
    again = made(packs, resume=True)
    assert (again.checksum, report(again), reader.lines) == (before, report(first), 0)
    with pytest.raises(TrainingError, match="go on with --resume if"):
        made(packs)
    for changed, message in (
        ({"options": SelfOptions(0.95)}, r"read otherwise \(sure: 0.9 there, 0.95 now\)"),
        ({"packs": [packs / "lab"] * 2}, "labelled_packs"),
        ({"unlabelled": unlabelled(packs / "other", 10)}, "unlabelled_pack"),
    ):
        with pytest.raises(TrainingError, match=message):
            made(packs, **changed, resume=True)
    (packs / "out" / "self").rename(packs / "elsewhere")
    (packs / "out" / "step-00000003").mkdir()
    for resume in (False, True):  # a run that did not learn from its own readings
        with pytest.raises(TrainingError, match="go on with --resume if"):
            made(packs, resume=resume)
    assert reader.lines == 0


def test_a_reader_that_dies_leaves_nothing(
    packs: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_training, "CHUNK", 2)
    read = reader.read_lines

    def dying(lines: Sequence[np.ndarray]) -> list[Prediction]:
        if reader.lines == 4:
            raise KeyboardInterrupt
        return read(lines)

    monkeypatch.setattr(reader, "read_lines", dying)
    with pytest.raises(KeyboardInterrupt):
        made(packs)
    assert list((packs / "out").iterdir()) == []
    monkeypatch.setattr(reader, "read_lines", read)
    assert len(made(packs, resume=True)) == 3


def test_what_cannot_be_trained_on_is_refused_before_it_is_read(
    packs: Path, reader: Reader
) -> None:
    wide = replace(SPEC, max_width=1000)
    other = pack(packs / "wide", (10, "", "unlabelled"), spec=wide)
    for changed, message in (
        ({"unlabelled": other}, "pack again"),
        ({"packs": [packs / "lab", other]}, "pack again"),
        ({"training": TrainOptions(preset="latin")}, "give --preset names"),
    ):
        with pytest.raises(TrainingError, match=message):
            made(packs, **changed)
    with pytest.raises(OptionError, match="mix is '8' for 2 packs"):
        made(packs, training=TrainOptions(mix="8"))
    with pytest.raises(PackError, match="no lines without a text; pack with --keep-unlabelled"):
        made(packs, unlabelled=packs / "lab")
    for sure in (-0.1, 95):
        with pytest.raises(OptionError, match="not within 0 to 1"):
            SelfOptions(sure)
    assert reader.lines == 0
    assert not (packs / "out").exists()


@pytest.mark.usefixtures("reader")
def test_a_reader_that_is_sure_of_nothing_is_an_error(packs: Path) -> None:
    unlabelled(packs / "hard", 20, 30)
    with pytest.raises(TrainingError, match=r"no line of .*hard with a confidence of 0.9"):
        made(packs, unlabelled=packs / "hard")
    assert list((packs / "out").iterdir()) == []


def test_the_command_trains_on_labels_and_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(networks.SHAPES, "names", TINY)
    labelled = write_pack(tmp_path / "labelled", OLD)
    begun = Run([Pack.open(labelled)], tmp_path / "begun", OPTIONS)
    lively(begun.average, TINY_SPEC.height)
    begun.save_best({})
    export_model(tmp_path / "begun", tmp_path / "model", "old")
    with PackWriter(tmp_path / "un", OLD, TINY_SPEC, {}) as writer:
        noise = np.random.default_rng(0).integers(0, 255, (5, 16, 64)).astype(np.uint8)
        for i, image in enumerate(noise):
            writer.add(image, "", file=f"{i}", source="", split="unlabelled")

    out, alone = tmp_path / "out", tmp_path / "alone"
    words = ["train", "--pack", str(labelled), "--epochs", "1", "--mix", "2,3", "--sure", "0"]
    words += ["--unlabelled", str(tmp_path / "un"), "--batch-size", "4", "--precision", "fp32"]
    assert main([*words, "--out", str(alone)]) == 2
    assert "give --from MODEL" in capsys.readouterr().err
    without = [word for word in words if word not in ("--unlabelled", str(tmp_path / "un"))]
    assert main([*without, "--out", str(alone)]) == 2
    assert "--sure is of the lines of an --unlabelled pack" in capsys.readouterr().err
    words += ["--from", str(tmp_path / "model"), "--out", str(out)]
    for more in (["--device", "toaster"], ["--teacher", "nobody"]):
        assert main([*words, *more]) in (1, 2)
        assert "old read" not in capsys.readouterr().err
    assert not out.exists()
    assert main(words) == 0
    assert "old read 5 lines of" in capsys.readouterr().err
    own, newest = Pack.open(out / "self"), checkpoint.latest(out)
    assert newest
    state = checkpoint.read_state(newest)
    assert state["packs"] == [Pack.open(labelled).checksum, own.checksum]
    assert state["lines"] == {"train": len(OLD) + len(own), "validation": len(OLD)}
    assert state["step"] == -(-(2 * len(OLD) + 3 * len(own)) // 4)
    with loop.alone(out):  # as by another run, whose readings are not to be touched
        assert main([*words, "--resume"]) == 1
        assert "another run is at work in" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "old read 5 lines of" in capsys.readouterr().err


def test_what_another_model_read_is_not_taken(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "self", LETTERS, SPEC, {}) as pack:
        pack.add(np.zeros((SPEC.height, 9), np.uint8), "A", file="a", source="", split="train")
    with pytest.raises(TrainingError, match="model_sha256"):
        self_training._stored(tmp_path / "self", {"model_sha256": "b"})
