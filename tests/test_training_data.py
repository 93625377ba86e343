"""Training lines: which are set aside, the order of an epoch, and the thread that fills batches."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from penname.alphabet import Alphabet
from penname.errors import TrainingError
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec, needed_rows
from penname.training.data import Lines, Resident, in_order, loaded, most_ink, plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC = ImageSpec(height=16, max_width=64, width_step=16)
ABC = Alphabet("ABC")
CPU = torch.device("cpu")

Line = tuple[str, int]  # text and width


def make_pack(folder: Path, lines: Sequence[Line], split: str = "train") -> Pack:
    """Write a pack whose line number i has the grey i everywhere."""
    with PackWriter(folder, ABC, SPEC, {}) as writer:
        for i, (text, width) in enumerate(lines):
            image = np.full((SPEC.height, width), i, dtype=np.uint8)
            writer.add(image, text, file=f"{i}.png", source="made", split=split)
    return Pack.open(folder)


def many(n: int) -> list[Line]:
    return [("ABC"[i % 3], 1 + (7 * i) % 64) for i in range(n)]


def load(*packs: Pack, split: str = "train", alphabet: Alphabet = ABC) -> Lines:
    return Lines(packs, split, alphabet, 4)


def test_lines_that_need_more_frames_than_their_canvas_has_are_set_aside_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A canvas of 16 pixels has 4 frames, whatever the true width; AAA needs 3 and two blanks.
    texts = [("ABCA", 1), ("AAA", 16), ("ABCAB", 16), ("AAA", 17), ("AAB", 3)]
    with caplog.at_level(logging.WARNING):
        lines = load(make_pack(tmp_path / "p", texts))
    assert lines.texts == ["ABCA", "AAA", "AAB"]
    assert lines.canvases.tolist() == [[16, 16], [16, 32], [16, 16]]
    assert lines.set_aside == ["1.png ('AAA')", "2.png ('ABCAB')"]
    assert "2 train lines set aside" in caplog.text
    assert "1.png ('AAA'), 2.png ('ABCAB')" in caplog.text
    assert lines.file(1) == "3.png"


def test_a_batch_holds_each_line_on_paper_with_its_labels(tmp_path: Path) -> None:
    first = make_pack(tmp_path / "p", [("A", 20), ("CAB", 32)])
    second = make_pack(tmp_path / "q", [("BB", 17)])
    batch = load(first, second).batch(np.array([2, 0, 1]))
    assert batch.images.shape == (3, 1, 16, 32)
    assert batch.images.dtype == torch.uint8
    for row, (grey, width) in enumerate([(0, 17), (0, 20), (1, 32)]):
        assert (batch.images[row, 0, :, :width] == grey).all()
        assert (batch.images[row, 0, :, width:] == 255).all()
    assert batch.labels.tolist() == [[2, 2, 0], [1, 0, 0], [3, 1, 2]]
    assert batch.label_lengths.tolist() == [2, 1, 3]
    assert batch.ids.tolist() == [2, 0, 1]


def test_batches_of_resident_pixels_are_those_of_the_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    packs = []
    for name, widths in (("p", [20, 32, 17]), ("q", [30, 32, 1, 18])):
        with PackWriter(tmp_path / name, ABC, SPEC, {}) as writer:
            for i, width in enumerate(widths):
                image = rng.integers(0, 256, (SPEC.height, width), dtype=np.uint8)
                writer.add(image, "AB", file=f"{i}.png", source="made", split="train")
        packs.append(Pack.open(tmp_path / name))
    monkeypatch.setattr("penname.training.data.CHUNK", 100)  # copied in parts
    streamed, resident = load(*packs), Lines(packs, "train", ABC, 4, Resident(packs, CPU))
    batches = plan(streamed, [1.0, 2.0], 4, seed=1)
    assert any({streamed.where[i][0] for i in batch} == {0, 1} for batch in batches)
    with closing(loaded(resident, batches, CPU)) as loading:
        for numbers, batch in zip(batches, loading, strict=True):
            expected = streamed.batch(numbers)
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.labels, expected.labels)
            assert batch.ids is numbers
    assert Resident.where_it_fits(packs, CPU) is None


def test_labels_are_those_of_the_given_alphabet_and_of_one_split(tmp_path: Path) -> None:
    train = make_pack(tmp_path / "p", [("AB", 16)])
    validation = make_pack(tmp_path / "q", [("C", 16)], split="validation")
    wider = Alphabet("XCBA")
    assert [labels.tolist() for labels in load(train, validation, alphabet=wider).labels] == [
        [4, 3]
    ]
    only = load(train, validation, split="validation", alphabet=wider)
    assert [labels.tolist() for labels in only.labels] == [[2]]


def test_an_epoch_goes_through_each_pack_as_often_as_said(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(40)), make_pack(tmp_path / "q", many(30)))
    batches = plan(lines, [1.0, 2.5], 8, seed=3)
    times = Counter(np.concatenate(batches).tolist())
    assert [times[line] for line in range(40)] == [1] * 40
    assert sorted(times[line] for line in range(40, 70)) == [2] * 15 + [3] * 15
    assert sorted(map(len, batches)) == [40 % 8 + 75 % 8 or 8] + [8] * 14


def test_a_batch_holds_lines_of_like_widths_on_the_canvas_of_the_widest(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(61)))
    canvases = lines.canvases[:, 1]
    batches = sorted(plan(lines, [1.0], 8, seed=3), key=lambda b: sorted(canvases[b]))
    widths = [sorted(canvases[batch].tolist()) for batch in batches]
    assert sorted(map(len, widths)) == [5] + [8] * 7
    assert all(a[-1] <= b[0] for a, b in pairwise(widths))
    for batch, each in zip(batches, widths, strict=True):
        assert lines.canvas(batch) == (16, each[-1])
        assert lines.batch(batch).images.shape[-2:] == (16, each[-1])


def test_a_fraction_draws_other_lines_each_epoch(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(60)))
    drawn = [frozenset(np.concatenate(plan(lines, [0.5], 8, seed)).tolist()) for seed in range(6)]
    assert {len(each) for each in drawn} == {30}
    assert len(set(drawn)) == 6
    assert len(frozenset().union(*drawn)) > 50


def test_the_order_is_fixed_by_the_seed_alone(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(60)))

    def order(seed: int) -> list[list[int]]:
        return [batch.tolist() for batch in plan(lines, [1.0], 8, seed)]

    np.random.seed(0)  # noqa: NPY002  # what the plan must not read
    first = order(1)
    assert order(1) == first
    assert order(2) != first
    assert sorted(map(sorted, order(2))) != sorted(map(sorted, first))  # nor the same batches
    widths = [lines.canvases[batch[0], 1] for batch in first]
    assert widths != sorted(widths)  # widths are mixed through the epoch


def test_too_small_a_fraction_leaves_no_batch(tmp_path: Path) -> None:
    assert plan(load(make_pack(tmp_path / "p", many(3))), [0.1], 8, 1) == []


def test_validation_takes_each_line_once(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(50)))
    batches = in_order(lines, 7)
    assert sorted(np.concatenate(batches).tolist()) == list(range(50))
    assert all(len(np.unique(lines.canvases[batch], axis=0)) == 1 for batch in batches)


def test_with_a_height_step_a_batch_holds_lines_that_need_as_many_rows(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "p", ABC, SPEC, {}) as writer:
        for i in range(24):
            line = np.full((SPEC.height, 16 + 16 * (i % 2)), 255, dtype=np.uint8)
            line[4 : 4 + (3, 8, 12)[i % 3], 2:9] = 0  # ink needs 8, 12 or all 16 rows
            writer.add(line, "A", file=f"{i}", source="", split="train")
    lines = Lines([Pack.open(tmp_path / "p")], "train", ABC, 4, height_step=4)
    assert lines.canvases[:6].tolist() == [[8, 16], [12, 32], [16, 16], [8, 32], [12, 16], [16, 32]]
    for batches in (plan(lines, [1.0], 4, seed=3), in_order(lines, 4)):
        sizes = Counter(lines.canvas(batch) for batch in batches)
        assert sizes == dict.fromkeys([(8, 16), (8, 32), (12, 16), (12, 32), (16, 16), (16, 32)], 1)
        for numbers in batches:
            batch = lines.batch(numbers)
            assert batch.images.shape[2] == SPEC.height  # of which the network sees fewer
            assert (batch.rows, batch.images.shape[3]) == lines.canvas(numbers)


def test_the_rows_with_most_ink_are_those_in_the_middle_of_the_good_ones() -> None:
    ink = torch.zeros(3, 1, 16, 5)
    ink[0, 0, 3:6, 1:4] = 1  # all of it is in rows 0-7, ..., 3-10
    ink[1, 0, [2, 12, 13, 14], 2] = 0.3  # not all of it fits
    found = most_ink(ink, 8)
    assert torch.equal(found, torch.stack([ink[0, :, 1:9], ink[1, :, 7:15], ink[2, :, 4:12]]))
    assert most_ink(ink, 16) is ink
    rng = np.random.default_rng(5)
    for _ in range(40):
        line = np.full((16, 7), 255, dtype=np.uint8)
        top, bottom = sorted(rng.integers(0, 17, 2))
        line[top:bottom, 3] = rng.integers(0, 255, bottom - top)
        line[rng.integers(4, 12), 3] = 0
        rows = needed_rows(line, 4)
        found = most_ink(1 - torch.from_numpy(line)[None, None] / 255, rows.stop - rows.start)
        assert torch.equal(found[0, 0], 1 - torch.from_numpy(line[rows]) / 255)


def filling() -> list[str]:
    return [t.name for t in threading.enumerate() if t is not threading.main_thread()]


def test_batches_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    lines = load(make_pack(tmp_path / "p", many(60)))
    batches = plan(lines, [2.0], 4, 1)
    before = filling()
    with closing(loaded(lines, batches, CPU)) as loading:
        got = [(batch.ids.tolist(), batch.images[:, 0, 0, 0].tolist()) for batch in loading]
    assert got == [(b.tolist(), b.tolist()) for b in batches]  # the grey is the line's number
    assert filling() == before


def test_stopping_early_leaves_no_thread_and_loads_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = load(make_pack(tmp_path / "p", many(60)))
    before, fill, filled = filling(), lines.batch, list[int]()

    def counted(numbers: np.ndarray) -> object:
        filled.append(len(numbers))
        return fill(numbers)

    monkeypatch.setattr(lines, "batch", counted)
    batches = plan(lines, [9.0], 4, 1)
    with closing(loaded(lines, batches, CPU)) as loading:
        next(loading)
        assert len(filling()) == len(before) + 1  # it waits for room in the queue
    assert filling() == before
    assert len(filled) < 10 < len(batches)


def test_an_error_while_loading_is_raised_where_the_batch_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = load(make_pack(tmp_path / "p", many(60)))
    batches = plan(lines, [1.0], 4, 1)
    fill, before = lines.batch, filling()

    def damaged(numbers: np.ndarray) -> object:
        if numbers is batches[3]:
            raise OSError("the disk is gone")
        return fill(numbers)

    monkeypatch.setattr(lines, "batch", damaged)
    got = []
    with (
        pytest.raises(TrainingError, match="the disk is gone"),
        closing(loaded(lines, batches, CPU)) as loading,
    ):
        got += [batch.ids.tolist() for batch in loading]
    with closing(loaded(lines, batches, CPU)) as loading:
        assert [next(loading).ids.tolist() for _ in range(3)] == [b.tolist() for b in batches[:3]]
    assert filling() == before
