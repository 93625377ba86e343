"""The search against enumeration of all paths, and against a textbook implementation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import groupby, product

import numpy as np
import pytest

from penname import beam
from penname.alphabet import BLANK, Alphabet
from penname.beam import AGREEING, Candidate, DecodingOptions, log_pleasing, search, weigh
from penname.bigrams import Bigrams
from penname.ctc import frames_needed, log_likelihood
from penname.decoder import Decoder
from penname.errors import OptionError
from penname.language import Language
from penname.lexicon import Lexicon
from penname.options import from_json

ABC = Alphabet("ABC")
EVERYTHING = {"beam": 1000, "characters": 9, "candidates": 1000}
Labels = tuple[int, ...]


@pytest.fixture(scope="module")
def language() -> Language:
    return Language.build({"AB": 50, "ABBA": 9, "CAB": 3, "BB": 1}, ABC)


@pytest.fixture
def with_bigrams(language: Language) -> Language:
    """Return the language with word bigrams, to which BA is a word, and AB not."""
    heard = language.with_words(language.words, strict=False)
    heard.bigrams = Bigrams.count({"BA": 3, "C": 1}, [])
    return heard


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at every frame and follow everything, whatever it is worth."""
    monkeypatch.setattr(beam, "QUIET", -1.0)
    monkeypatch.setattr(beam, "NEGLIGIBLE", 0.0)
    monkeypatch.setattr(beam, "IMPROBABLE", 0.0)


def random_log_probs(
    lines: int, frames: int, *, classes: int = 4, scale: float = 2.0, seed: int = 0
) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(lines, frames, classes), scale=scale)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def by_enumeration(log_probs: np.ndarray) -> dict[Labels, float]:
    """Return P(text | image) of every text, from all paths of one line (T, C)."""
    texts: defaultdict[Labels, float] = defaultdict(float)
    frames, classes = log_probs.shape
    for path in product(range(classes), repeat=frames):
        text = tuple(label for label, _ in groupby(path) if label != BLANK)
        texts[text] += float(np.exp(log_probs[range(frames), path].sum()))
    return texts


def textbook(
    log_probs: np.ndarray, language: Language, options: DecodingOptions
) -> dict[Labels, float]:
    """Hannun et al. 2014, algorithm 1, one line (T, C), with a language of characters.

    Only the likeliest characters of a frame are tried. Returns the last prefixes and what each is
    worth, the end of the text not yet counted.
    """

    size = options.beam

    def likes(prefix: Labels) -> float:
        known = language.nothing
        for label in prefix:
            known = language.extend(known, np.array([label]))
        return float(np.exp(log_pleasing(known.log_prob, len(prefix), options)[0]))

    beams: dict[Labels, tuple[float, float]] = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs):
        sums: defaultdict[Labels, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, label) in beams.items():
            sums[prefix][0] += (blank + label) * frame[BLANK]
            if prefix:
                sums[prefix][1] += label * frame[prefix[-1]]
            for c in (1 + np.argsort(-frame[1:])[: options.characters]).tolist():
                before = blank if prefix[-1:] == (c,) else blank + label
                sums[(*prefix, c)][1] += before * frame[c]
        ranked = sorted(sums, key=lambda prefix: sum(sums[prefix]) * likes(prefix), reverse=True)
        beams = {prefix: (sums[prefix][0], sums[prefix][1]) for prefix in ranked[:size]}
    return {prefix: sum(both) * likes(prefix) for prefix, both in beams.items()}


@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.5, 1.5)])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.usefixtures("exact")
def test_a_wide_search_finds_every_text_and_its_share(
    language: Language, weight: float, bonus: float, frames: int
) -> None:
    log_probs = random_log_probs(3, frames)
    options = DecodingOptions(language_weight=weight, length_bonus=bonus, **EVERYTHING)
    found = search(log_probs, language, options)
    for line, candidates in zip(log_probs, found, strict=True):
        every = by_enumeration(line)
        likes = dict(zip(every, language.log_prob(list(every)), strict=True))
        worth = {t: p * np.exp(weight * likes[t] + bonus * len(t)) for t, p in every.items()}
        total = sum(worth.values())
        assert {c.labels: c.share for c in candidates} == {
            text: pytest.approx(worth[text] / total) for text in every
        }
        shares = [c.share for c in candidates]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("bonus", [0.0, 1.5])
@pytest.mark.parametrize("characters", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.usefixtures("exact")
def test_a_narrow_search_ends_with_the_textbooks_prefixes(
    language: Language, size: int, characters: int, bonus: float
) -> None:
    log_probs = random_log_probs(20, 8, scale=1.5, seed=size)
    options = DecodingOptions(beam=size, characters=characters, candidates=size, length_bonus=bonus)
    for line, candidates in zip(log_probs, search(log_probs, language, options), strict=True):
        expected = textbook(line, language, options)
        assert {c.labels for c in candidates} == set(expected)


@pytest.mark.parametrize("kept", [1, 3])
def test_the_shares_leave_room_for_texts_not_kept(language: Language, kept: int) -> None:
    (line,) = log_probs = random_log_probs(1, 5, seed=4)
    options = DecodingOptions(candidates=kept)
    (candidates,) = search(log_probs, language, options)
    texts = [c.labels for c in candidates]
    assert len(texts) == kept
    every = by_enumeration(line)
    likes = np.exp(options.language_weight * language.log_prob(texts))
    worth = np.array([every[text] for text in texts]) * likes
    unseen = (1 - sum(every[text] for text in texts)) * likes[0]
    np.testing.assert_allclose([c.share for c in candidates], worth / (worth.sum() + unseen))
    assert sum(c.share for c in candidates) < 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("exact")
def test_the_texts_kept_are_those_worth_most(language: Language, seed: int) -> None:
    """Which needs the end of the text: AB is a name, ABB only the beginning of one."""
    log_probs = random_log_probs(3, 5, scale=1.0, seed=seed)
    options = DecodingOptions(language_weight=1.0, **EVERYTHING | {"candidates": 3})
    for line, candidates in zip(log_probs, search(log_probs, language, options), strict=True):
        every = by_enumeration(line)
        likes = np.exp(language.log_prob(list(every)))
        worth = {text: every[text] * like for text, like in zip(every, likes, strict=True)}
        best = sorted(every, key=lambda text: worth[text], reverse=True)[:3]
        assert [c.labels for c in candidates] == best


def test_whole_texts_are_judged_by_their_words_too(with_bigrams: Language) -> None:
    log_probs = random_log_probs(1, 4, seed=6)
    options = DecodingOptions(language_weight=0.8, word_share=0.25, **EVERYTHING)
    (candidates,) = search(log_probs, with_bigrams, options)
    texts = [c.labels for c in candidates]
    every = by_enumeration(log_probs[0])
    words = with_bigrams.log_prob_by_bigrams(texts)
    likes = 0.8 * (0.75 * with_bigrams.log_prob(texts) + 0.25 * words)
    worth = np.array([every[text] for text in texts]) * np.exp(likes)
    assert texts[0] == max(zip(worth, texts, strict=True))[1]
    shares = np.array([c.share for c in candidates])
    np.testing.assert_allclose(shares / shares[0], worth / worth[0])
    (without,) = search(log_probs, with_bigrams, replace(options, word_share=0.0))
    assert without[0].labels != texts[0], "the test needs words that decide"


@pytest.mark.parametrize(("strict", "word_share"), [(False, 0.0), (False, 0.3), (True, 0.3)])
def test_several_looks_are_worth_their_power_mean(
    with_bigrams: Language, monkeypatch: pytest.MonkeyPatch, *, strict: bool, word_share: float
) -> None:
    monkeypatch.setattr(beam, "PREFIXES", 2 * 32)
    looks = [random_log_probs(1, frames, seed=frames)[0] for frames in (5, 3)]
    seen = [by_enumeration(look) for look in looks]
    words: list[Labels] = [(1, 2), (3, 1, 2), (2, 2)]
    texts = words if strict else [*words, (1, 2, 1), ()]
    heard = with_bigrams
    if strict:
        heard = heard.with_words(heard.words, strict=True)
    options = DecodingOptions(
        language_weight=0.5, word_share=word_share, length_bonus=0.5, candidates=2
    )
    others = [random_log_probs(1, frames, seed=9)[0] for frames in (4, 7, 5)]
    lines = [[*others[:2], look, others[2]] for look in looks]
    found = weigh(lines, [words, texts[1:], texts, texts], heard, options)[2]
    agreed = {t: sum(s[t] ** AGREEING for s in seen) ** (1 / AGREEING) for t in texts}
    together = sum(s[t] / 2 for s in seen for t in texts) / sum(agreed.values())
    chances = {text: worth * together for text, worth in agreed.items()}
    log_prob = heard.log_prob(texts)
    if heard.bigrams:
        of_words = heard.log_prob_by_bigrams(texts)
        log_prob = (1 - word_share) * log_prob + word_share * of_words
    likes = np.exp(0.5 * log_prob + 0.5 * np.array([len(text) for text in texts]))
    worth = {text: chances[text] * like for text, like in zip(texts, likes, strict=True)}
    best = sorted(texts, key=lambda text: worth[text], reverse=True)
    assert [candidate.labels for candidate in found] == best[:2]
    assert found[0].share / found[1].share == pytest.approx(worth[best[0]] / worth[best[1]])
    if not strict:
        unseen = (1 - sum(chances.values())) * worth[best[0]] / chances[best[0]]
        share = worth[best[0]] / (sum(worth.values()) + unseen)
        assert found[0].share == pytest.approx(share)


def test_a_text_that_one_look_has_no_room_for_is_unlikely(language: Language) -> None:
    looks = [[random_log_probs(1, frames, seed=1)[0]] for frames in (5, 2)]
    options = DecodingOptions(language_weight=0.0)
    (found,) = weigh(looks, [[(1, 2, 1), (1,)]], language, options)
    room, none = (by_enumeration(look[0]) for look in looks)
    other = (room[1,] ** AGREEING + none[1,] ** AGREEING) ** (1 / AGREEING)
    assert found[1].share / found[0].share == pytest.approx(room[1, 2, 1] / other)
    (found,) = weigh(looks[1:], [[(1, 2, 1)]], language, options)
    assert found[0].share == 0


def test_a_long_line_does_not_fade_away(language: Language) -> None:
    log_probs = random_log_probs(1, 800, scale=0.3)  # 0.25 ** 800 is 0 in double precision
    for candidates in search(log_probs, language, DecodingOptions(language_weight=0.1)):
        assert len(candidates) == DecodingOptions().candidates
        assert len(candidates[0].labels) > 100


def test_without_weight_a_share_is_the_likelihood(language: Language) -> None:
    log_probs = random_log_probs(6, 9)
    found = search(log_probs, language, DecodingOptions(language_weight=0.0))
    best = [candidates[0] for candidates in found]
    expected = np.exp(log_likelihood(log_probs, [c.labels for c in best]))
    np.testing.assert_allclose([c.share for c in best], expected)


def test_the_language_decides_between_likely_readings(language: Language) -> None:
    frames = np.array([[0.01, 0.98, 0.005, 0.005], [0.01, 0.01, 0.48, 0.5]])  # A, then C or B
    log_probs = np.log(frames)[None]
    texts = [
        ABC.decode(search(log_probs, language, DecodingOptions(language_weight=w))[0][0].labels)
        for w in (0.0, 0.3)
    ]
    assert texts == ["AC", "AB"]


def by_every_name(
    log_probs: np.ndarray, names: dict[str, int], weight: float
) -> tuple[Labels, float]:
    """Return the best of all names, one after the other, and its strict share."""
    every = by_enumeration(log_probs)
    chances = {name: every[tuple(ABC.encode(name).tolist())] for name in names}
    total = sum(names.values())
    worth = {name: p * (names[name] / total) ** weight for name, p in chances.items()}
    best = max(worth, key=lambda name: worth[name])
    share = worth[best] / sum(worth.values()) * chances[best] ** beam.FAR
    return tuple(ABC.encode(best).tolist()), share


def some_names(seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, size=60)
    return {"".join(rng.choice(list("ABC"), size=n)): int(rng.integers(1, 99)) for n in lengths}


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.usefixtures("exact")
def test_a_wide_strict_search_finds_the_best_of_all_names_and_its_share(
    language: Language, weight: float
) -> None:
    names = some_names(0)
    strict = language.with_words(Lexicon.build(names, ABC), strict=True)
    log_probs = random_log_probs(12, 6, scale=4.0)
    options = DecodingOptions(language_weight=weight, **EVERYTHING)
    for line, candidates in zip(log_probs, search(log_probs, strict, options), strict=True):
        best, share = by_every_name(line, names, weight)
        assert candidates[0].labels == best
        assert candidates[0].share == pytest.approx(share)
        short = {name for name in names if frames_needed(ABC.encode(name)) <= len(line)}
        assert {ABC.decode(c.labels) for c in candidates} == short
        assert sum(c.share for c in candidates) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_strict_search_is_wide_by_itself(language: Language, seed: int) -> None:
    """What is asked for, 4 prefixes and 1 character a frame, does not find them."""
    names = some_names(seed)
    strict = language.with_words(Lexicon.build(names, ABC), strict=True)
    log_probs = random_log_probs(20, 6, scale=4.0, seed=seed)
    options = DecodingOptions(beam=4, characters=1)
    for line, candidates in zip(log_probs, search(log_probs, strict, options), strict=True):
        assert candidates[0].labels == by_every_name(line, names, options.language_weight)[0]


def test_a_strict_search_finds_a_name_that_is_far_from_what_is_written(language: Language) -> None:
    frames = np.full((4, 4), 1e-6)  # AAAA would be written; four times a millionth is for ABBA
    frames[[0, 1, 2, 3], [1, 0, 1, 0]] = 1 - 3e-6
    strict = language.with_words(Lexicon.build({"ABA": 1}, ABC), strict=True)
    ((found,),) = search(np.log(frames)[None], strict, DecodingOptions())
    assert found.labels == (1, 2, 1)
    assert found.share < 0.05


def test_a_strict_search_may_find_nothing(language: Language) -> None:
    strict = language.with_words(Lexicon.build({"ABCABC": 1}, ABC), strict=True)
    assert search(random_log_probs(1, 5), strict, DecodingOptions()) == [[]]


def test_a_heavy_language_may_find_nothing() -> None:
    """Where no text that was followed can end, what they are worth is no number any more."""
    language = Language.build({"ABBA": 10**9, "CAB": 1, "": 20}, ABC)
    options = DecodingOptions(language_weight=20, beam=1)
    log_probs = random_log_probs(72, 5)
    found = search(log_probs, language, options)
    assert len(found) == 72
    assert [] in found
    assert max(map(len, found)) > 0
    lines = dict(enumerate(log_probs))
    decoder = Decoder(ABC, language, options)  # reads greedily then, and doubts it
    readings = decoder.searched(decoder.greedy(lines), lines)
    for texts, reading in zip(found, readings.values(), strict=True):
        if not texts:
            assert reading.texts == [Candidate(reading.greedy.labels, 0.0)]


def spread_out(log_probs: np.ndarray, quiet: int) -> np.ndarray:
    """Return the line (T, C) with that many frames of near certain blanks after each."""
    blank = np.log(np.full((quiet, log_probs.shape[1]), 1e-7))
    blank[:, BLANK] = np.log(1 - 3e-7)
    return np.concatenate([np.concatenate([frame[None], blank]) for frame in log_probs])


@pytest.mark.parametrize("seed", range(3))
def test_quiet_frames_are_passed_over_without_a_trace(
    language: Language, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    line = np.concatenate([spread_out(random_log_probs(1, 4, seed=seed)[0], q) for q in (1, 3)])
    log_probs = np.stack([line, np.roll(line, 2, axis=0)])
    frames, counts = beam._busy_frames(np.exp(log_probs))
    assert frames.shape == (2, 16, 4)
    assert counts.tolist() == [16, 16]
    quick = search(log_probs, language, DecodingOptions())
    monkeypatch.setattr(beam, "QUIET", -1.0)
    slow = search(log_probs, language, DecodingOptions())
    assert [[c.labels for c in line] for line in quick] == [
        [c.labels for c in line] for line in slow
    ]


def test_a_line_reads_the_same_alone_and_in_a_batch(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_probs = random_log_probs(12, 10, scale=3)
    together = search(log_probs, language, DecodingOptions())
    assert together == [search(line[None], language, DecodingOptions())[0] for line in log_probs]
    monkeypatch.setattr(beam, "QUIET", 0.9)  # as if what lies in quiet frames mattered
    lost = search(log_probs, language, DecodingOptions())
    assert lost == [search(line[None], language, DecodingOptions())[0] for line in log_probs]
    monkeypatch.undo()


def test_lines_of_any_lengths_come_back_in_order(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [random_log_probs(1, 3 + i * 7 % 11, scale=3, seed=i)[0] for i in range(11)]
    monkeypatch.setattr(beam, "PREFIXES", 4 * 32)
    together = search(lines, language, DecodingOptions())
    for line, candidates in zip(lines, together, strict=True):
        (alone,) = search([line], language, DecodingOptions())
        assert [c.labels for c in candidates] == [c.labels for c in alone]
        assert [c.share for c in candidates] == pytest.approx([c.share for c in alone])


def test_single_precision_and_blank_lines(language: Language) -> None:
    log_probs = np.full((2, 6, 4), -20, dtype=np.float32)
    log_probs[:, :, BLANK] = np.log1p(-3 * np.exp(-20))
    assert search(log_probs[:0], language, DecodingOptions()) == []
    for candidates in search(log_probs, language, DecodingOptions()):
        assert [c.labels for c in candidates] == [()]
        assert candidates[0].share == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "most"), [("language_weight", 20.0), ("length_bonus", 20.0), ("word_share", 1.0)]
)
def test_options_have_their_limits(name: str, most: float) -> None:
    least = -most if name == "length_bonus" else 0.0
    for value in (least, most):
        from_json(DecodingOptions, {name: value})
    for value in (least - 0.1, most + 0.1):
        with pytest.raises(OptionError, match=f"{name} is "):
            from_json(DecodingOptions, {name: value})


def test_texts_worth_next_to_nothing_are_left_out(language: Language) -> None:
    certain = np.log(np.full((1, 3, 3), 1e-12))
    certain[0, [0, 1, 2], [0, 1, 0]] = 0.0
    (found,) = search(certain, language, DecodingOptions(language_weight=0.0))
    assert [each.labels for each in found] == [(1,)]
