from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Any

import jiwer
import numpy as np
import pytest

from penname import metrics
from penname.metrics import alignment, bootstrap, correct_characters

# The slides of the 2021 project: (reference, hypothesis).
SLIDES = [
    ("JOSE", "JOSB"),  # 3 of 4
    ("ANNIE", "ANNIE"),  # 5 of 5
    ("MARCOS", "NAKOOS"),  # 3 of 6
    ("MARIANNA", "MARLANNA"),  # 7 of 8
]


def _pairs(count: int, *, characters: str = "ab c", longest: int = 12) -> list[tuple[str, str]]:
    """Return random pairs whose reference has at least one word, the hypothesis often close."""
    draw = random.Random(7)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        reference = "".join(draw.choices(characters, k=draw.randint(1, longest)))
        hypothesis = "".join(draw.choices(characters, k=draw.randint(0, longest)))
        if draw.random() < 0.5:  # a few edits only
            cut = draw.randint(0, len(reference))
            hypothesis = reference[:cut] + draw.choice(characters) + reference[cut + 1 :]
        reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
        if reference:
            pairs.append((reference, hypothesis))
    return pairs


def _micro(measure: metrics.Measure, pairs: list[tuple[str, str]]) -> float:
    return metrics.rate([measure(*pair) for pair in pairs], seed=0, resamples=1).value


def _brute_force_distance(reference: str, hypothesis: str) -> int:
    """Return the edit distance by its recursive definition."""
    if not reference or not hypothesis:
        return len(reference) + len(hypothesis)
    return min(
        _brute_force_distance(reference[1:], hypothesis) + 1,
        _brute_force_distance(reference, hypothesis[1:]) + 1,
        _brute_force_distance(reference[1:], hypothesis[1:]) + (reference[0] != hypothesis[0]),
    )


def test_error_rate_is_a_micro_average() -> None:
    pairs = [
        ("ab", "a"),  # 1/2, and the lengths of a pair differ: we divide by the reference
        ("abcdefgh", "abcdefgh"),  # 0/8: so micro and macro disagree
    ]
    assert _micro(metrics.cer, pairs) == 1 / 10


def test_word_error_rate_takes_words() -> None:
    assert metrics.wer("jean de la tour", "jean la tour") == (1, 4)


def test_an_empty_reference_adds_its_insertions() -> None:
    assert _micro(metrics.cer, [("", "")]) == 0.0  # no division by zero
    assert _micro(metrics.cer, [("", "abc")]) == 3.0
    assert _micro(metrics.cer, [("", "abc"), ("abcdef", "abcdef")]) == 3 / 6


@pytest.mark.parametrize(("name", "compute"), [("cer", jiwer.cer), ("wer", jiwer.wer)])
def test_rates_are_those_of_jiwer(name: str, compute: Any) -> None:
    pairs = _pairs(400)
    references, hypotheses = (list(side) for side in zip(*pairs, strict=True))
    assert _micro(metrics.MEASURES[name], pairs) == pytest.approx(compute(references, hypotheses))
    mean = np.mean([compute(*pair) for pair in pairs])  # the trap gives another number
    assert _micro(metrics.MEASURES[name], pairs) != pytest.approx(mean, rel=0.02)


def test_edits_are_those_of_the_definition() -> None:
    for reference, hypothesis in _pairs(60, longest=6):
        edits = _brute_force_distance(reference, hypothesis)
        assert metrics.cer(reference, hypothesis) == (edits, len(reference))


def test_argument_order_matters() -> None:
    assert metrics.cer("abc", "a") == (2, 3)
    assert metrics.cer("a", "abc") == (2, 1)
    assert metrics.wer("a b c", "a") == (2, 3)
    assert correct_characters("abc", "a") == (1, 3)
    assert alignment("ab", "a")[-1] == ("delete", "b", "")
    assert alignment("a", "ab")[-1] == ("insert", "", "b")


def test_correct_characters_of_the_slides() -> None:
    assert correct_characters("ALEX", "AIEK") == (2, 4)  # "50%"
    assert [correct_characters(*pair) for pair in SLIDES] == [(3, 4), (5, 5), (3, 6), (7, 8)]
    assert _micro(correct_characters, SLIDES) == 18 / 23  # not (3/4 + 1 + 3/6 + 7/8) / 4 = 0.78125


def test_correct_words_of_the_slides() -> None:
    assert _micro(metrics.MEASURES["correct_words"], SLIDES) == 1 / 4  # "1 out of 4"


def test_correct_characters_count_positions_not_edits() -> None:
    assert correct_characters("MARIE", "AMARIE") == (0, 5)
    assert metrics.cer("MARIE", "AMARIE") == (1, 5)
    assert correct_characters("MARIE", "MARIEANNE") == (5, 5)  # what is too much costs nothing
    assert correct_characters("", "A") == (0, 0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "same"),
    [
        ("Zoé", "zoé", {"case"}),
        ("Zoé", "Zoe", {"accents"}),
        ("ÇELIK", "CELIK", {"accents"}),
        ("Zoe\u0301", "Zoe", {"accents"}),  # a combining accent
        ("JEAN-MARIE", "JEAN MARIE", {"spaces"}),
        ("JEAN-MARIE", "JEANMARIE", {"spaces"}),
        ("JEAN\u2013MARIE", "JEAN-MARIE", {"spaces"}),
        ("D'ARC", "DARC", set()),
        ("Jean-Noël", "JEAN NOEL", set()),
        ("STRASSE", "straße", {"case"}),
        ("JOSE", "JOSB", set()),
    ],
)
def test_exact_variants_ignore_one_thing_each(
    reference: str, hypothesis: str, same: set[str]
) -> None:
    def matches(name: str) -> bool:
        return metrics.MEASURES[name](reference, hypothesis) == (1, 1)

    assert {x for x in ("case", "accents", "spaces") if matches(f"exact_ignoring_{x}")} == same
    assert not matches("exact")
    all_three = bool(same) or reference == "Jean-Noël"
    assert matches("exact_ignoring_all") == all_three


def test_every_measure_has_a_title() -> None:
    trust = ["ece", "coverage_at_99", "coverage_at_995"]
    assert list(metrics.TITLES) == [*metrics.MEASURES, *trust]


def test_alignment_turns_the_reference_into_the_hypothesis() -> None:
    for reference, hypothesis in [*_pairs(300), ("", "ab"), ("ab", ""), ("", "")]:
        steps = alignment(reference, hypothesis)
        assert "".join(step.reference for step in steps) == reference
        assert "".join(step.hypothesis for step in steps) == hypothesis
        edits = sum(step.operation != "equal" for step in steps)
        assert edits == metrics.cer(reference, hypothesis)[0]
        for step in steps:
            assert (step.operation == "equal") == (step.reference == step.hypothesis)
            assert (step.operation == "insert") == (step.reference == "")
            assert (step.operation == "delete") == (step.hypothesis == "")


def test_bootstrap_agrees_with_the_normal_approximation() -> None:
    n, share = 2000, 0.8
    correct = np.arange(n) < share * n
    low, high = bootstrap(correct, np.ones(n, dtype=int), seed=3, resamples=4000)
    margin = 1.96 * np.sqrt(share * (1 - share) / n)  # 0.0175
    assert low == pytest.approx(share - margin, abs=0.0015)
    assert high == pytest.approx(share + margin, abs=0.0015)


def test_bootstrap_draws_lines_as_a_plain_one_does() -> None:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, 60, size=300)  # unequal, so resampling characters would differ
    edits = draw.binomial(lengths, draw.beta(0.3, 3, size=300))
    chosen = draw.integers(0, 300, size=(4000, 300))
    rates = edits[chosen].sum(axis=1) / lengths[chosen].sum(axis=1)
    plain = np.quantile(rates, [0.025, 0.975])
    width = plain[1] - plain[0]
    assert bootstrap(edits, lengths, seed=2, resamples=4000) == pytest.approx(plain, abs=width / 20)


def test_bootstrap_covers_the_truth_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(5)
    truth, covered = 0.3, 0
    for trial in range(400):
        lengths = draw.integers(4, 12, size=200)
        low, high = bootstrap(draw.binomial(lengths, truth), lengths, seed=trial, resamples=400)
        covered += low <= truth <= high
    assert 0.915 <= covered / 400 <= 0.975  # 0.95, three standard errors and some bias down


def test_bootstrap_depends_on_the_seed_and_not_on_the_order_of_lines() -> None:
    edits, lengths = np.array([0, 1, 2, 0, 5, 1]), np.array([5, 6, 7, 5, 9, 4])
    once = bootstrap(edits, lengths, seed=1)
    assert once == bootstrap(edits[::-1], lengths[::-1], seed=1)
    assert once != bootstrap(edits, lengths, seed=2)


def test_bootstrap_of_more_distinct_lines_than_fit_one_block() -> None:
    edits, lengths = np.arange(3000), np.full(3000, 9000)  # 333 draws a block
    margin = 1.96 * edits.std() / 9000 / np.sqrt(3000)
    low, high = bootstrap(edits, lengths, seed=0, resamples=2000)
    assert low == pytest.approx(edits.mean() / 9000 - margin, abs=margin / 10)
    assert high == pytest.approx(edits.mean() / 9000 + margin, abs=margin / 10)


def test_bootstrap_of_empty_references_does_not_divide_by_zero() -> None:
    assert bootstrap([0, 0], [0, 0], seed=0) == (0.0, 0.0)


def test_lines_of_a_group_are_one_unit_where_there_are_enough() -> None:
    groups = ["a", "b", "a", None, None, *"cdefghij"]  # 10 groups, and two lines of none
    found = metrics.units(groups)
    assert found is not None
    assert found.tolist() == [0, 1, 0, 2, 3, *range(4, 12)]
    assert metrics.units(groups[:-1]) is None
    assert metrics.units([None] * 30) is None


def test_of_a_part_with_few_units_nothing_is_known() -> None:
    unit = np.repeat([3, 5, 7, 8, 9, 11, 12, 14, 20], 2)  # numbers of a larger whole
    edits, lengths = np.arange(18), np.full(18, 5)
    assert bootstrap(edits, lengths, seed=0, unit=unit) == (0.0, edits.sum() / lengths.sum())
    assert bootstrap(edits % 2, lengths, seed=0, unit=unit) == (0.0, 1.0)
    unit[0] = 2  # and with ten of them they are drawn
    low, high = bootstrap(edits % 2, lengths, seed=0, unit=unit)
    assert 0.05 < low < 0.1 < high < 0.15


def test_bootstrap_draws_whole_groups_as_a_plain_one_does() -> None:
    draw = np.random.default_rng(4)
    unit = draw.permutation(np.repeat(np.arange(40), draw.integers(1, 12, size=40)))
    lengths = draw.integers(1, 60, size=len(unit))
    edits = draw.binomial(lengths, draw.beta(0.6, 4, size=40)[unit])
    members = [np.flatnonzero(unit == i) for i in range(40)]
    rates = []
    for _ in range(4000):
        chosen = np.concatenate([members[i] for i in draw.integers(0, 40, size=40)])
        rates.append(edits[chosen].sum() / lengths[chosen].sum())
    plain = np.quantile(rates, [0.025, 0.975])
    width = plain[1] - plain[0]
    found = bootstrap(edits, lengths, seed=2, resamples=4000, unit=unit)
    assert found == pytest.approx(plain, abs=width / 20)
    low, high = bootstrap(edits, lengths, seed=2, resamples=4000)
    assert width > 1.5 * (high - low)  # of lines alone


@pytest.mark.parametrize(("groups", "share"), [(metrics.ENOUGH, 0.88), (30, 0.93)])
def test_only_whole_groups_cover_the_truth_when_writers_differ(groups: int, share: float) -> None:
    draw = np.random.default_rng(6)
    unit, lengths = np.repeat(np.arange(groups), 20), np.full(groups * 20, 10)
    covered = {"groups": 0, "lines": 0}
    for trial in range(300):  # writers of whom 10 % of the characters are misread, on average
        edits = draw.binomial(lengths, draw.beta(1, 9, size=groups)[unit])
        for way, drawn in (("groups", unit), ("lines", None)):
            low, high = bootstrap(edits, lengths, seed=trial, resamples=300, unit=drawn)
            covered[way] += low <= 0.1 <= high
    assert covered["groups"] / 300 == pytest.approx(share, abs=0.045)  # of few less than 0.95
    assert covered["lines"] / 300 <= 0.6


def test_rate_is_the_micro_average_within_its_interval() -> None:
    rate = metrics.rate([(1, 2), (0, 8), (3, 30)], seed=0)
    assert rate.value == 4 / 40
    assert rate.low <= rate.value <= rate.high


def test_reliability_bins_are_of_equal_size_and_calibrated() -> None:
    draw = np.random.default_rng(0)
    confidences = draw.random(20_000)
    correct = draw.random(20_000) < confidences
    bins = metrics.reliability(confidences, correct)
    assert [b.n for b in bins] == [2000] * 10
    assert [b.confidence for b in bins] == pytest.approx(np.arange(0.05, 1, 0.1), abs=0.02)
    assert metrics.expected_calibration_error(bins) < 0.02


def test_calibration_error_by_hand() -> None:
    bins = metrics.reliability([0.2, 0.2, 0.9, 0.9], [0, 1, 1, 1])
    assert bins == [pytest.approx((0.2, 0.5, 2)), pytest.approx((0.9, 1.0, 2))]
    assert metrics.expected_calibration_error(bins) == pytest.approx((2 * 0.3 + 2 * 0.1) / 4)
    assert metrics.expected_calibration_error([]) == 0.0


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    assert metrics.reliability([0.5] * 20, [1, 0] * 10) == [(0.5, 0.5, 20)]
    assert metrics.reliability([0.5] * 20, [1] * 10 + [0] * 10) == [(0.5, 0.5, 20)]


def test_coverage_takes_the_surest_first_and_ties_together() -> None:
    curve = metrics.coverage_curve([0.2, 0.9, 0.9, 0.5, 1.0], [0, 1, 0, 1, 1])
    expected = [(1.0, 0.2, 1.0), (0.9, 0.6, 2 / 3), (0.5, 0.8, 3 / 4), (0.2, 1.0, 3 / 5)]
    assert curve == pytest.approx(np.array(expected))
    assert metrics.coverage_at(0.99, curve) == 0.2
    assert metrics.coverage_at(0.7, curve) == 0.8  # though the rate was below 0.7 in between
    assert metrics.coverage_at(0.6, curve) == 1.0


def test_coverage_is_nothing_when_the_surest_line_is_wrong() -> None:
    assert metrics.coverage_at(0.99, metrics.coverage_curve([0.9, 0.1], [0, 1])) == 0.0
    assert metrics.coverage_at(0.99, metrics.coverage_curve([], [])) == 0.0


@pytest.mark.parametrize(("successes", "lines"), [(0, 10), (3, 4), (10, 10), (349, 382)])
def test_the_ends_of_a_proportion_s_interval_are_just_not_refuted(
    successes: int, lines: int
) -> None:
    value, low, high = metrics.proportion(successes, lines)
    z = NormalDist().inv_cdf(0.975)
    assert value == successes / lines
    for end in (low, high):  # Wilson: the shares from which ours is z standard deviations away
        away = z * math.sqrt(end * (1 - end) / lines)
        assert abs(value - end) == pytest.approx(away, abs=1e-6)
    assert (low < 1e-9, high > 1 - 1e-9) == (successes == 0, successes == lines)
    assert 0 <= low <= value <= high + 1e-9 <= 1 + 1e-9
    assert high - low > 0.05
    assert metrics.proportion(10, 10).low == pytest.approx(0.7225, abs=1e-4)


@pytest.mark.parametrize("grouped", [False, True])
def test_trust_intervals_are_those_of_a_bootstrap(grouped: bool) -> None:
    """Against the measures themselves, on lines or groups drawn anew one sample after the other."""
    draw = np.random.default_rng(3)
    confidences = np.round(draw.random(60) ** 0.2, 1)  # few values, so that lines tie
    correct = (draw.random(60) < confidences).astype(int)
    bins = metrics.reliability(confidences, correct)
    edges = np.cumsum([b.n for b in bins])[:-1]
    bin_of = np.searchsorted(edges, np.searchsorted(np.sort(confidences), confidences), "right")
    generator = np.random.default_rng(5)
    order = np.argsort(-confidences, kind="stable")
    samples = []
    unit = np.arange(60) % 7 if grouped else None  # so 9 or 8 lines each
    members = [np.flatnonzero(unit == i) for i in range(7)] if grouped else order[:, None]
    for _ in range(200):
        drawn = generator.integers(len(members), size=len(members))
        chosen = np.concatenate([members[i] for i in drawn])
        c, r = confidences[chosen], correct[chosen]
        gaps = [abs((c - r)[bin_of[chosen] == i].sum()) for i in range(len(bins))]
        curve, n = metrics.coverage_curve(c, r), len(chosen)
        samples.append([sum(gaps) / n, *(metrics.coverage_at(a, curve) for a in (0.8, 0.9))])
    found = metrics.trust_intervals(
        confidences, correct, (0.8, 0.9), seed=5, resamples=200, unit=unit
    )
    expected = np.quantile(samples, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(found, expected)
    assert expected[0, 1] > metrics.expected_calibration_error(bins) > expected[0, 0]
