"""Fingerprints: means and pairs against plain computations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import bars
from PIL import Image

from penname import fingerprint as module
from penname.fingerprint import COLUMNS, NEAR, ROWS, fingerprint, near_pairs


@pytest.mark.parametrize("shape", [(48, 96), (48, 97), (5, 7), (1, 1), (33, 320)])
def test_cells_are_means_of_equal_parts(shape: tuple[int, int]) -> None:
    """Each pixel repeated ROWS by COLUMNS times, every cell is a block of whole pixels."""
    line = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    fine = 255.0 - line.repeat(ROWS, axis=0).repeat(COLUMNS, axis=1)
    cells = fine.reshape(ROWS, shape[0], COLUMNS, shape[1]).mean(axis=(1, 3))
    assert np.abs(fingerprint(line).reshape(ROWS, COLUMNS) - cells).max() <= 0.5 + 1e-6


def test_near_pairs_are_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    prints = rng.integers(0, 200, (23, ROWS * COLUMNS)).astype(np.uint8)
    for i, j in ((3, 4), (0, 22), (5, 15), (7, 8)):
        prints[j] = prints[i] // 2 + rng.integers(0, 3, ROWS * COLUMNS)  # paler, with noise
    parts = ["train" if i % 3 else "test" for i in range(len(prints))]
    correlation = np.asarray(np.corrcoef(prints))
    expected = [
        (i, j)
        for i in range(len(prints))
        for j in range(i + 1, len(prints))
        if correlation[i, j] >= NEAR and parts[i] != parts[j]
    ]
    assert expected == [(0, 22), (3, 4), (5, 15)]
    for block in (2, 7, 1024):
        monkeypatch.setattr(module, "BLOCK", block)
        assert near_pairs(prints, parts) == expected


def test_one_part_has_no_pairs_and_blank_pictures_are_like_none() -> None:
    same = np.tile(fingerprint(bars("HEAD")), (2, 1))
    blank = np.zeros_like(same)
    assert near_pairs(same, ["a", "b"]) == [(0, 1)]
    assert near_pairs(same, ["a", "a"]) == []
    assert near_pairs(blank, ["a", "b"]) == []
    assert near_pairs(blank[:0], []) == []


def test_a_picture_compressed_again_is_nearly_the_same_and_another_is_not() -> None:
    stream = io.BytesIO()
    Image.fromarray(bars("HEAD")).save(stream, "JPEG", quality=40)
    again = np.asarray(Image.open(stream))
    prints = np.stack([fingerprint(each) for each in (bars("HEAD"), again, bars("DEAF"))])
    assert near_pairs(prints, ["a", "b", "c"]) == [(0, 1)]


def test_near_is_a_correlation_of_0_98() -> None:
    """Far enough below for noise and JPEG, and above what different names reach (docs/log.md)."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, ROWS * COLUMNS))
    other -= one * (one @ other) / (one @ one)
    for correlation, near in ((0.975, []), (0.985, [(0, 1)])):
        mixed = correlation * one + (1 - correlation**2) ** 0.5 * other
        prints = np.stack([one, mixed])
        scaled = (prints - prints.min()) * (255 / np.ptp(prints))
        assert near_pairs(scaled.astype(np.uint8), ["a", "b"]) == near
