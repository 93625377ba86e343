"""CTC against its definition: enumerating every path of small cases."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

from penname import ctc
from penname.alphabet import BLANK, Alphabet
from penname.ctc import align, frames_needed, greedy, log_likelihood

AB = Alphabet("AB")


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Return the labels that a path writes."""
    return tuple(label for label, _ in groupby(path) if label != BLANK)


def random_log_probs(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=shape, scale=2)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def by_enumeration(log_probs: np.ndarray, labels: tuple[int, ...]) -> float:
    frames, classes = log_probs.shape
    return sum(
        float(np.exp(log_probs[range(frames), path].sum()))
        for path in product(range(classes), repeat=frames)
        if collapse(path) == labels
    )


def one_hot(path: list[int], sure: float = 0.9) -> np.ndarray:
    """Return the log_probs (T, C) of a network that is that sure of each label of a path."""
    probabilities = np.full((len(path), AB.classes), (1 - sure) / (AB.classes - 1))
    probabilities[range(len(path)), path] = sure
    return np.asarray(np.log(probabilities))


@pytest.mark.parametrize("length", range(4))
def test_frames_needed_is_the_shortest_path_that_writes_the_labels(length: int) -> None:
    for labels in product((1, 2), repeat=length):
        shortest = next(
            frames
            for frames in range(8)
            if any(collapse(path) == labels for path in product(range(3), repeat=frames))
        )
        assert frames_needed(labels) == shortest
        assert frames_needed(np.array(labels, dtype=np.int32)) == shortest


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_likelihood_is_the_sum_over_all_paths(frames: int) -> None:
    log_probs = random_log_probs((3, frames, 3))
    every = sorted({collapse(path) for path in product(range(3), repeat=frames)})
    for labels in every:
        expected = [by_enumeration(line, labels) for line in log_probs]
        np.testing.assert_allclose(np.exp(log_likelihood(log_probs, [labels] * 3)), expected)
    total = sum(np.exp(log_likelihood(log_probs, [labels] * 3)) for labels in every)
    np.testing.assert_allclose(total, 1)


def test_likelihoods_of_unequal_texts_are_the_same_alone_and_together() -> None:
    log_probs = random_log_probs((4, 6, 3))
    labels: list[tuple[int, ...]] = [(), (1, 1), (2, 1, 2, 1, 2), (1,)]
    together = log_likelihood(log_probs, labels)
    alone = [
        log_likelihood(line[None], [text])[0] for line, text in zip(log_probs, labels, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    expected = [by_enumeration(line, text) for line, text in zip(log_probs, labels, strict=True)]
    np.testing.assert_allclose(np.exp(together), expected)


def test_labels_that_need_more_frames_than_there_are_are_impossible() -> None:
    log_probs = random_log_probs((3, 2, 3))
    found = log_likelihood(log_probs, [(1, 1), (1, 2), (1, 2, 1)])
    assert found[0] == -np.inf  # two frames, but a repeat needs three
    assert np.isfinite(found[1])
    assert found[2] == -np.inf


def test_likelihood_neither_underflows_nor_needs_a_float64_network() -> None:
    log_probs = np.full((1, 400, 3), -1000.0, dtype=np.float32)
    log_probs[0, :, 0] = 0.0  # sure of the blank; "A" anywhere costs 1000, in one of 400 frames
    found = log_likelihood(log_probs, [[1]])
    assert found[0] == pytest.approx(-1000 + np.log(400), abs=1e-6)
    log_probs[0, :, :2] = -np.inf
    assert log_likelihood(log_probs, [[1]])[0] == -np.inf


@pytest.mark.parametrize("least", [ctc.LEAST, np.inf])
def test_texts_name_their_lines(monkeypatch: pytest.MonkeyPatch, least: float) -> None:
    monkeypatch.setattr(ctc, "LEAST", least)
    log_probs = random_log_probs((3, 6, 3))
    labels: list[tuple[int, ...]] = [(1,), (2, 2), (1,), (1, 2, 1)]
    lines = np.array([2, 0, 0, 2])
    found = log_likelihood(log_probs, labels, lines)
    expected = [by_enumeration(log_probs[m], t) for m, t in zip(lines, labels, strict=True)]
    np.testing.assert_allclose(np.exp(found), expected)


@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0, 30.0])
def test_sums_of_probabilities_and_of_logarithms_agree(
    monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """From e^-69 to e^-6900, above and below what float64 holds, beside each other."""
    log_probs = scale * random_log_probs((5, 90, 4), seed=3).astype(np.float32)
    rng = np.random.default_rng(0)
    labels = [rng.integers(1, 4, size=n) for n in (0, 1, 12, 25, 40)]
    found = log_likelihood(log_probs, labels)
    monkeypatch.setattr(ctc, "LEAST", np.inf)
    np.testing.assert_allclose(found, log_likelihood(log_probs, labels), rtol=0, atol=1e-9)


def test_no_lines_have_no_likelihoods() -> None:
    assert log_likelihood(np.zeros((0, 5, 3)), []).shape == (0,)


def test_greedy_writes_the_best_path() -> None:
    log_probs = random_log_probs((50, 9, 3), seed=1)
    for line, decoded in zip(log_probs, greedy(log_probs, AB), strict=True):
        labels = collapse(tuple(line.argmax(axis=1).tolist()))
        assert decoded.labels == labels
        assert decoded.text == AB.decode(labels)
        assert greedy(line[None], AB) == [decoded]


def test_spans_are_the_frames_of_each_character() -> None:
    (decoded,) = greedy(one_hot([1, 1, 0, 1, 2, 2, 0])[None], AB)
    assert [(span.character, span.start, span.end) for span in decoded.characters] == [
        ("A", 0, 2),
        ("A", 3, 4),
        ("B", 4, 6),
    ]
    assert decoded.text == "AAB"


def test_runs_end_with_their_line() -> None:
    batch = np.stack([one_hot([0, 2, 2]), one_hot([2, 2, 0]), one_hot([0, 0, 0])])
    first, second, third = greedy(batch, AB)
    assert [(span.start, span.end) for span in first.characters] == [(1, 3)]
    assert [(span.start, span.end) for span in second.characters] == [(0, 2)]
    assert third.text == ""
    assert third.labels == ()


def test_confidence_of_a_character_is_its_largest_probability() -> None:
    log_probs = np.log([[0.1, 0.6, 0.3], [0.1, 0.7, 0.2], [0.05, 0.05, 0.9], [0.96, 0.02, 0.02]])
    (decoded,) = greedy(log_probs[None], AB)
    first, second = decoded.characters
    assert (first.character, second.character) == ("A", "B")
    assert first.confidence == pytest.approx(0.7)
    assert second.confidence == pytest.approx(0.9)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_alignment_is_the_likeliest_of_all_paths(frames: int) -> None:
    for seed in range(4):
        (log_probs,) = random_log_probs((1, frames, 3), seed)
        best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for path in product(range(3), repeat=frames):
            score = float(log_probs[range(frames), path].sum())
            text = collapse(path)
            best[text] = max(best.get(text, (-np.inf, ())), (score, path))
        for labels, (_, path) in best.items():
            (found,) = align(log_probs[None], [labels], AB)
            assert found.labels == labels
            written = [BLANK] * frames
            for label, span in zip(labels, found.characters, strict=True):
                written[span.start : span.end] = [label] * (span.end - span.start)
                assert span.character == AB.characters[label - 1]
                peak = np.exp(log_probs[span.start : span.end, label].max())
                assert span.confidence == pytest.approx(peak)
            assert tuple(written) == path


def test_aligning_the_greedy_labels_changes_nothing() -> None:
    log_probs = random_log_probs((20, 12, 3)).astype(np.float32)
    decoded = greedy(log_probs, AB)
    assert len({len(line.labels) for line in decoded}) > 3
    assert align(log_probs, [line.labels for line in decoded], AB) == decoded


def test_labels_that_do_not_fit_cannot_be_aligned() -> None:
    with pytest.raises(AssertionError):
        align(random_log_probs((2, 2, 3)), [(1,), (1, 1)], AB)
