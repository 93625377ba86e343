"""Dictionaries in arrays: sorted integer keys, each once, and what belongs to each."""

from __future__ import annotations

import numpy as np


def find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in the keys each wanted one is (or would be), and whether it is there."""
    where = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return where, keys.take(where) == wanted


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the value of each wanted key, 0 where it is not there."""
    if not len(keys):
        return np.zeros(wanted.shape, dtype=values.dtype)
    where, found = find(keys, wanted)
    return np.where(found, values.take(where), 0)


def sum_by_key(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, sorted, and the sum of the weights of each."""
    if not len(keys):
        return keys, weights
    order = np.argsort(keys, kind="stable")  # which merges what is sorted in parts
    keys = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[begins], np.add.reduceat(weights[order], begins)
