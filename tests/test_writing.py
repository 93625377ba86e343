"""How large writing is in a picture: a length that grows with it and with nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from penname.writing import densest_rows, writing_size


def zigzag(width: int = 240, height: int = 40, pen: int = 3) -> np.ndarray:
    """Return a zigzag, something like joined letters: ink (h, w) bool."""
    picture = Image.new("L", (width, height), 0)
    tops = [(x, 8 if x // 12 % 2 else height - 8) for x in range(10, width - 10, 12)]
    ImageDraw.Draw(picture).line(tops, fill=255, width=pen)
    return np.asarray(picture) > 128


def begun(line: np.ndarray) -> int:
    """Return how many runs of ink a row or a column has, one pixel after the other."""
    before, runs = False, 0
    for pixel in line.tolist():
        runs += pixel and not before
        before = pixel
    return runs


def test_the_size_is_what_its_formula_says() -> None:
    ink = np.random.default_rng(3).random((23, 61)) < 0.3
    rows, columns = [begun(row) for row in ink], [begun(column) for column in ink.T]
    stroke = 2 * sum(ink.ravel().tolist()) / (sum(rows) + sum(columns))
    effective = sum(rows) ** 2 / sum(q * q for q in rows)
    assert writing_size(ink) == pytest.approx(stroke**0.3 * effective**0.7, rel=1e-12)


@pytest.mark.parametrize("times", [2, 3, 5])
def test_the_size_grows_with_the_picture(times: int) -> None:
    ink = zigzag()
    larger = np.kron(ink, np.ones((times, times), dtype=bool))
    assert writing_size(larger) == pytest.approx(times * writing_size(ink), rel=1e-12)


def test_blank_paper_and_longer_lines_change_nothing() -> None:
    ink = zigzag()
    for around in ((0, 30), (50, 0), (17, 90)):
        padded = np.pad(ink, (around, around[::-1]))
        assert writing_size(padded) == pytest.approx(writing_size(ink), rel=1e-12)
    longer = np.concatenate([ink, np.zeros((40, 9), dtype=bool), ink], axis=1)
    assert writing_size(longer) == pytest.approx(writing_size(ink), rel=1e-12)


def test_a_piece_of_another_line_changes_little() -> None:
    ink = np.pad(zigzag(), ((24, 0), (0, 0)))
    ink[:2, 100:140:8] = True  # feet of letters, 30 rows above: the ink is twice as high
    assert writing_size(ink) == pytest.approx(writing_size(zigzag()), rel=0.1)


def test_the_sides_of_a_box_are_no_strokes() -> None:
    ink = np.pad(zigzag(), ((12, 12), (0, 0)))
    boxed = np.pad(ink, ((0, 0), (20, 20)))
    boxed[3:-3, 4:6] = boxed[3:-3, -6:-4] = True
    assert writing_size(boxed) == writing_size(ink)
    assert writing_size(boxed[:, :6]) == 0.0
    boxed[3:20, 4:6] = False  # as high as letters can be
    assert writing_size(boxed) > writing_size(ink)


@pytest.mark.parametrize("kind", ["nothing", "dash", "dots", "all ink"])
def test_what_is_no_writing_has_no_size(kind: str) -> None:
    ink = np.full((40, 200), kind == "all ink")
    if kind == "dash":
        ink[18:22, 40:160] = True
    if kind == "dots":
        ink[30:34, 20:180:20] = ink[30:34, 21:180:20] = ink[30:34, 22:180:20] = True
    assert writing_size(ink) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_the_densest_rows_are_those_with_most_strokes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ink = rng.random((30, 20)) < rng.random((30, 1)) * 0.6
    rows = [begun(row) for row in ink]
    chosen = densest_rows(ink, 11)
    sums = [sum(rows[top : top + 11]) for top in range(20)]
    assert chosen.stop - chosen.start == 11
    assert sum(rows[chosen]) == max(sums)


def test_rows_that_all_have_room_are_all_taken_and_blank_ones_evenly() -> None:
    ink = np.zeros((100, 50), dtype=bool)
    ink[40:50, 10:40:4] = True
    assert densest_rows(ink, 100) == slice(0, 100)
    chosen = densest_rows(ink, 30)
    assert abs((40 - chosen.start) - (chosen.stop - 50)) <= 1  # as many above as below
