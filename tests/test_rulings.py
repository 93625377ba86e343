"""Rulings: what counts as one, how far they show a picture to be turned, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from penname.line_image import INK, PAPER, ImageSpec, line_image, stored_spec
from penname.rulings import _flat_runs, descent, rulings

SPEC = ImageSpec(max_scale=1, writing=0)
KEEP = ImageSpec(max_scale=1, writing=0, rulings="keep")


def written(width: int = 300, height: int = 60) -> Image.Image:
    """Return a name in the middle of paper."""
    picture = Image.new("L", (width, height), PAPER)
    font = ImageFont.load_default(20)
    ImageDraw.Draw(picture).text((40, height // 2), "MARTHE", 0, font, anchor="lm")
    return picture


def lined(picture: Image.Image, *lines: tuple[int, int, int, int]) -> np.ndarray:
    """Return the picture (h, w) uint8 with straight lines, two pixels thick."""
    picture = picture.copy()
    for line in lines:
        ImageDraw.Draw(picture).line(line, fill=30, width=2)
    return np.asarray(picture)


@pytest.mark.parametrize("shape", [(5, 40), (1, 90), (50, 90), (61, 200)])
def test_flat_runs_are_all_runs_of_a_third_of_the_height_and_nothing_else(
    shape: tuple[int, int],
) -> None:
    ink = np.random.default_rng(shape[1]).random(shape) < 0.93
    length = max(16, shape[0] // 3)
    expected = np.zeros_like(ink)
    for row in range(shape[0]):
        for start in range(shape[1] - length + 1):
            if ink[row, start : start + length].all():
                expected[row, start : start + length] = True
    assert expected.any()
    assert not expected.all()
    assert np.array_equal(_flat_runs(ink), expected)


@pytest.mark.parametrize("rows_down", [-10, -7, -1, 0, 1, 6, 10])
def test_rulings_say_how_far_a_picture_is_turned(rows_down: int) -> None:
    large = Image.new("L", (1200, 320), PAPER)  # four times, so that lines have grey edges
    for y in (48, 272):
        ends = -600, y - 4 * rows_down, 1800, y + 4 * rows_down  # beyond both sides
        ImageDraw.Draw(large).line(ends, fill=0, width=8)
    name = written(300, 80)
    box = np.minimum(np.asarray(large.reduce(4)), np.asarray(name))
    found = descent(box < INK)
    assert found is not None
    assert abs(found - rows_down) <= 1
    # Without them nothing is as wide as the picture: it is trimmed to the name, level now.
    alone, kept = line_image(np.asarray(name), SPEC), line_image(box, KEEP)
    assert abs(line_image(box, SPEC).shape[1] - alone.shape[1]) <= 6
    assert kept.shape[1] > 2 * alone.shape[1]


def test_a_box_in_cells_is_taken_out_to_the_last_pixel() -> None:
    picture = written()
    box = lined(
        picture,
        (4, 8, 295, 8),
        (4, 52, 295, 52),
        *((x, 8, x, 52) for x in (5, 150, 200, 250, 294)),
    )
    assert np.array_equal(line_image(box, SPEC), line_image(np.asarray(picture), SPEC))
    assert not np.array_equal(line_image(box, KEEP), line_image(np.asarray(picture), KEEP))
    ruled = lined(picture, (4, 8, 295, 8), (4, 52, 295, 52), (150, 8, 150, 52))  # its ends are open
    boxes = replace(SPEC, rulings="boxes")
    assert np.array_equal(line_image(box, boxes), line_image(box, SPEC))
    assert np.array_equal(line_image(ruled, boxes), line_image(ruled, KEEP))
    assert np.array_equal(line_image(ruled, SPEC), line_image(box, SPEC))


def test_the_columns_of_a_table_do_not_strike_its_rows_out() -> None:
    picture = written()
    columns = [(x, 0, x, 59) for x in (5, 28, 130, 180, 240, 294)]  # beyond both rows
    table = lined(picture, (4, 8, 295, 8), (4, 52, 295, 52), *columns)
    left = np.where(rulings(table < INK, 0), PAPER, table)
    assert np.array_equal(left[10:50], np.asarray(picture)[10:50])
    name = lined(picture, *((x, 0, x, 59) for x in range(40, 130, 8)), (4, 30, 295, 30))
    assert not rulings(name < INK, 0).any()  # one line, and what crosses it is no column


def test_cells_of_a_turned_scan_leave_no_grey_edges() -> None:
    cells = [(x, 8, x, 52) for x in (5, 28, 130, 180, 240, 294)]
    box = Image.fromarray(lined(written(), (4, 8, 295, 8), (4, 52, 295, 52), *cells))
    scan = np.asarray(box.rotate(1.5, Image.Resampling.BICUBIC, expand=True, fillcolor=PAPER))
    found = descent(scan < INK)
    assert found == -8  # 300 pixels at 1.5 degrees: 7.9 rows
    left = np.where(rulings(scan < INK, found), PAPER, scan)
    beside = left[:, 150:]  # of the name
    assert np.count_nonzero(scan[:, 150:] < PAPER) > 1000
    assert np.count_nonzero(beside < 224) < 10


def test_a_box_may_be_short_when_it_is_closed() -> None:
    name = written(400)  # a box of 110 pixels in 400, less than twice as long as high
    above, below, *sides = (30, 6, 139, 6), (30, 52, 139, 52), (31, 6, 31, 52), (138, 6, 138, 52)
    box = lined(name, above, below, *sides) < INK
    assert np.array_equal(box & ~rulings(box, 0), np.asarray(name) < INK)
    for lines in ((above, below), (above, below, sides[0]), (above, *sides)):
        assert not rulings(lined(name, *lines) < INK, 0).any()


def test_a_stroke_that_crosses_a_ruling_stays_whole() -> None:
    picture = written()
    ImageDraw.Draw(picture).line((100, 30, 100, 58), 0, 3)  # goes down through it
    ruled = lined(picture, (0, 48, 299, 48))
    gone = rulings(ruled < INK, 0)
    assert not gone[:, 99:102].any()
    without = np.where(gone, PAPER, ruled)
    assert (without[30:58, 100] < INK).all()
    assert np.count_nonzero(gone) > 2 * 280
    assert np.array_equal(without[:40], np.asarray(picture)[:40])


@pytest.mark.parametrize("rows", [(22,), (17, 26), (2, 22)], ids=str)
def test_what_strikes_a_name_out_stays(rows: tuple[int, ...]) -> None:
    name = written(120, 44)
    struck = lined(name, *((10, y, 118, y) for y in rows))
    assert descent(struck < INK) == 0  # long enough for rulings
    gone = rulings(struck < INK, 0)
    assert not gone[6:].any()
    assert gone.any() == (2 in rows)  # that one is away from the name
    if 2 not in rows:
        assert np.array_equal(line_image(struck, SPEC), line_image(struck, KEEP))
    assert rulings(lined(name, (10, 36, 118, 36)) < INK, 0).any()


def test_a_name_may_reach_a_little_below_the_ruling_it_stands_on() -> None:
    name = written(120, 44)
    ink = np.asarray(name) < INK
    feet = int(np.flatnonzero(ink.any(axis=1))[-1])
    for above in range(8):
        line = feet - above
        gone = rulings(lined(name, (10, line, 118, line)) < INK, 0)
        assert gone.any() == (above <= 4)  # further up it strikes the name out
        assert not np.delete(gone & ink, range(line - 2, line + 3), axis=0).any()


@pytest.mark.parametrize(
    "ink",
    [
        np.zeros((40, 300), dtype=bool),
        np.ones((40, 300), dtype=bool),  # all ink
        np.pad(np.ones((2, 70), dtype=bool), ((20, 18), (100, 130))),  # a dash, shorter than twice
        np.pad(np.ones((2, 140), dtype=bool), ((20, 18), (0, 160))),  # shorter than half as wide
        np.pad(np.ones((9, 300), dtype=bool), ((20, 11), (0, 0))),  # thick
        np.asarray(written()) < INK,
    ],
    ids=["blank", "black", "dash", "short", "thick", "name"],
)
def test_what_is_no_ruling(ink: np.ndarray) -> None:
    assert not rulings(ink, 0).any()


def test_paper_with_nothing_but_a_ruling_is_blank() -> None:
    ruled = lined(Image.new("L", (300, 50), PAPER), (0, 40, 299, 40))
    assert line_image(ruled, SPEC).min() == PAPER
    assert line_image(ruled, KEEP).min() < INK


def test_specs_of_before_keep_rulings() -> None:
    assert stored_spec({"height": 48, "writing": 0.2}) == ImageSpec(
        height=48, writing=0.2, rulings="keep"
    )
    assert stored_spec({"rulings": "erase", "writing": 0.2}) == ImageSpec(writing=0.2)


@pytest.mark.parametrize("degrees", [-2, 2])
def test_a_turned_box_leaves_a_level_name(degrees: int) -> None:
    """Turned the wrong way it would lean by four degrees, over seven rows more."""
    cells = [(x, 8, x, 52) for x in (5, 294)]
    box = Image.fromarray(lined(written(), (4, 8, 295, 8), (4, 52, 295, 52), *cells))
    scan = box.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=PAPER)
    level, turned = (
        np.count_nonzero((line_image(np.asarray(each), SPEC) < INK).any(axis=1))
        for each in (box, scan)
    )
    assert abs(turned - level) <= 2
