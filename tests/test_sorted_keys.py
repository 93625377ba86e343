"""Sorted keys: found, looked up and summed as a dictionary does."""

from __future__ import annotations

from collections import Counter

import numpy as np

from penname.sorted_keys import find, look_up, sum_by_key


def test_they_do_what_a_dictionary_does() -> None:
    rng = np.random.default_rng(0)
    keys, weights = rng.integers(0, 50, 200), rng.integers(1, 9, 200)
    expected: Counter[int] = Counter()
    for key, weight in zip(keys.tolist(), weights.tolist(), strict=True):
        expected[key] += weight
    distinct, sums = sum_by_key(keys, weights)
    assert dict(zip(distinct.tolist(), sums.tolist(), strict=True)) == expected
    assert distinct.tolist() == sorted(expected)

    wanted = np.arange(-2, 54).reshape(7, 8)
    where, found = find(distinct, wanted)
    assert found.tolist() == [[key in expected for key in row] for row in wanted.tolist()]
    assert (distinct[where[found]] == wanted[found]).all()
    assert look_up(distinct, sums, wanted).tolist() == [
        [expected[key] for key in row] for row in wanted.tolist()
    ]


def test_no_keys_have_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert look_up(none, none, np.array([3, 4])).tolist() == [0, 0]
    assert [each.tolist() for each in sum_by_key(none, none)] == [[], []]
