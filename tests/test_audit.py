"""Audit: the score against its formula, what labels claim, and equal pictures weighed together."""

from __future__ import annotations

import io
from copy import copy
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np
import pytest
from conftest import BARS, SPEC, STRIDE, bar_model, bars
from PIL import Image

from penname import ctc
from penname.alphabet import Alphabet
from penname.audit import PRIOR, Finding, _reason, audit, judge, rank
from penname.audit_page import audit_page
from penname.beam import DecodingOptions
from penname.bigrams import Bigrams
from penname.decoder import Decoder
from penname.errors import GroundTruthError
from penname.ground_truth.cleaning import cleaning_for
from penname.ground_truth.sources import GroundTruth
from penname.language import Language
from penname.line_image import line_image, on_canvas
from penname.recognizer import Recognizer


def line(
    written: str | None, text: str | None, row: str = "t.csv:1", split: str = ""
) -> GroundTruth:
    """Return a line with the bar code of `written`, or a damaged picture, and a label."""
    picture = b"" if written is None else png(bars(written))
    return GroundTruth(f"{row.replace(':', '-')}.png", row, text, "t", "", picture, split)


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def vague() -> np.ndarray:
    """Return the bar code of CAB, its last bar a little towards C."""
    picture = bars("CAB")
    picture[8, 7 * STRIDE : 9 * STRIDE] = 0  # B is 8 dark rows, C is 12
    return picture


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    """Return the bar code model with a language in which CAB is frequent and CAC is not."""
    model = bar_model(tmp_path_factory.mktemp("models") / "speaker")
    Language.build({"CAB": 60, "CAC": 2, "FEED": 9}, BARS).save(model.language)
    model = replace(
        model,
        decoding=DecodingOptions(
            language_weight=0.7, length_bonus=1.5, certain=1.0, look_again=0.0
        ),
    )
    model.save()
    return Recognizer.load(model.path)


def worth(reader: Recognizer, picture: np.ndarray, text: str) -> float:
    """Return what `penname.beam` says a text is worth, worked out line by line."""
    image = line_image(picture, SPEC)
    log_probs = reader.network(on_canvas([image], SPEC.canvas_width(image.shape[1])))
    labels = BARS.encode(text)
    value = float(np.exp(ctc.log_likelihood(log_probs, [labels])[0]))
    if reader.decoder.language:
        value *= float(np.exp(reader.decoder.language.log_prob([labels])[0])) ** 0.7
        value *= np.exp(1.5) ** len(text)
    return value


@pytest.mark.parametrize("text", ["CAC", "CABB", "BAC", "C"])
def test_the_score_is_the_formula_with_and_without_a_language(
    recognizer: Recognizer, speaker: Recognizer, text: str
) -> None:
    for reader in (recognizer, speaker):
        (found,) = judge(reader, [(0, replace(line("", text), image=png(vague())))])
        (prediction,) = reader.read([vague()])
        odds = PRIOR / (1 - PRIOR) * worth(reader, vague(), "CAB") / worth(reader, vague(), text)
        assert found.suggestion == prediction.text == "CAB"
        assert found.score == pytest.approx(prediction.confidence * odds / (1 + odds), rel=1e-4)


def test_a_likelihood_that_decides_nothing_leaves_it_to_the_prior_and_the_language(
    recognizer: Recognizer, speaker: Recognizer
) -> None:
    """CAC is a hundred times less likely than CAB: much for a label, little for a rare name."""
    vaguely = [(0, replace(line("", "CAC"), image=png(vague())))]
    (plain,), (spoken,) = judge(recognizer, vaguely), judge(speaker, vaguely)
    assert PRIOR < plain.score < spoken.score - 0.02


def test_a_text_that_does_not_fit_the_picture_leaves_the_confidence(recognizer: Recognizer) -> None:
    (found,) = judge(recognizer, [(0, line("A", "A" * 40))])
    (prediction,) = recognizer.read([bars("A")])
    assert found.score == pytest.approx(prediction.confidence)


def test_wrong_labels_come_first_and_right_ones_in_the_order_of_doubt(
    recognizer: Recognizer,
) -> None:
    rows = [("HEAD", "HEAD"), ("FACE", "FADE"), ("JIG", "JIG"), ("BEDBED", "CAGE")]
    lines = [line(*pair, row=f"t.csv:{i}") for i, pair in enumerate(rows, start=2)]
    found = audit(recognizer, lines)
    assert [x.text for x in found.findings[:2]] == ["FADE", "CAGE"]
    assert [x.reason for x in found.findings] == ["C for D", "another text is read", "", ""]
    assert all(x.suggestion == x.text for x in found.findings[2:])
    confidences = {x.text: x.confidence for x in recognizer.read([bars(w) for w, _ in rows])}
    for x in found.findings[2:]:
        assert x.score == pytest.approx(PRIOR**2 * (1 - confidences[x.text]), rel=1e-6)


@pytest.mark.parametrize(
    ("written", "label", "agrees"),
    [
        ("", "EMPTY", True),
        ("", "UNREADABLE", True),
        ("AB", "EMPTY", False),
        ("AB", "UNREADABLE", False),
        ("AB", "empty", False),
        ("", "AB", False),
        ("FACE", "face", True),  # the model writes capitals
        ("FACE", " FÀCÉ ", True),  # and no accents
    ],
)
def test_what_a_label_claims(
    recognizer: Recognizer, written: str, label: str, agrees: bool
) -> None:
    (found,) = judge(recognizer, [(0, line(written, label))])
    assert not found.aside
    assert (found.score <= PRIOR**2) == agrees
    assert (found.reason == "") == agrees
    if label.upper() == "EMPTY" and written:
        (upper,) = judge(recognizer, [(0, line(written, "EMPTY"))])
        assert found.score == upper.score
    if label == "UNREADABLE" and written:
        (prediction,) = recognizer.read([bars(written)])
        assert found.score == pytest.approx(prediction.confidence)


def test_what_cannot_be_judged_is_set_aside_and_nothing_is_lost(recognizer: Recognizer) -> None:
    lines = [line("AB", None), line("AB", "  "), line("AB", "AXB"), line(None, "AB")]
    lines = [replace(x, row=f"t.csv:{i}") for i, x in enumerate([*lines, line("AB", "AB")], 8)]
    found = audit(recognizer, lines)
    assert [x.row for x in found.findings] == ["t.csv:12"]
    assert [x.row for x in found.aside] == ["t.csv:8", "t.csv:9", "t.csv:10", "t.csv:11"]
    whys = ["no text", "no text", "the alphabet lacks 'X'", "cannot read the image"]
    assert all(x.aside.startswith(why) for x, why in zip(found.aside, whys, strict=True))
    values = found.to_json()
    assert len(values["suggestions"]) == values["n"] == 1
    assert [x["row"] for x in values["set_aside"]] == [x.row for x in found.aside]
    with pytest.raises(GroundTruthError, match=r"none of 4 lines .*t.csv:8: no text"):
        audit(recognizer, lines[:4])


def finding(score: float, claim: str, order: int, picture: bytes = b"p") -> Finding:
    blank = np.zeros(1536, np.uint8)
    row = f"t.csv:{order}"
    return Finding(row, row, claim, claim, score, "", order, "t", claim, "", picture, blank)


def test_without_ink_a_text_is_wrong_and_a_marker_right(recognizer: Recognizer) -> None:
    """Two pictures without ink are no evidence about each other."""
    texts = ("EMPTY", "UNREADABLE", "CAB")
    lines = [line("", text, f"t.csv:{i}") for i, text in enumerate(texts)]
    found = {x.text: x for x in audit(recognizer, lines).findings}
    assert [found[text].score for text in texts] == [0.0, 0.0, 1.0]
    assert (found["CAB"].suggestion, found["CAB"].reason) == ("EMPTY", "nothing is read")


def test_words_count_where_the_language_knows_pairs_of_them(speaker: Recognizer) -> None:
    reader = copy(speaker)
    language = copy(speaker.decoder.language)
    assert language
    language.bigrams = Bigrams.count({"CAC": 50, "CAB": 1}, [])
    options = replace(speaker.decoder.options or DecodingOptions(), word_share=0.4)
    reader.decoder = Decoder(BARS, language, options)
    scores = []
    for each in (speaker, reader):
        (found,) = audit(each, [GroundTruth("a", "t:1", "CAC", "t", "", png(vague()))]).findings
        assert found.suggestion == "CAB"
        scores.append(found.score)
    texts = [BARS.encode(text) for text in ("CAB", "CAC")]
    mixed = 0.6 * language.log_prob(texts) + 0.4 * language.log_prob_by_bigrams(texts)
    (confidence,) = [x.confidence for x in reader.read([png(vague())])]
    image = [
        worth(Recognizer(replace(reader.model, decoding=None), reader.network), vague(), text)
        for text in ("CAB", "CAC")
    ]
    odds = PRIOR / (1 - PRIOR) * image[0] / image[1] * np.exp(0.7 * (mixed[0] - mixed[1]))
    assert scores[1] == pytest.approx(confidence * odds / (1 + odds), rel=1e-4)
    assert scores[1] < scores[0]


@pytest.mark.parametrize("scores", [(0.9, 0.1), (0.01, 0.01), (0.3, 0.6, 0.2)])
def test_equal_pictures_with_different_texts_are_not_all_right(scores: tuple[float, ...]) -> None:
    """The scores given that one label is wrong at least: every case counted."""
    found = rank([finding(score, "ABC"[i], i) for i, score in enumerate(scores)], "m").findings
    cases = [
        (case, prod(s if wrong else 1 - s for s, wrong in zip(scores, case, strict=True)))
        for case in product([True, False], repeat=len(scores))
        if any(case)
    ]
    total = sum(p for _, p in cases)
    for x in found:
        expected = sum(p for case, p in cases if case[x.order]) / total
        assert x.score == pytest.approx(expected)
        assert "the same picture is " in x.reason
        assert x.suggestion != x.text


def test_equal_pictures_with_equal_texts_and_others_keep_their_scores() -> None:
    given = [finding(0.2, "A", 0), finding(0.4, "A", 1), finding(0.3, "B", 2, b"other")]
    assert [x.score for x in rank(given, "m").findings] == [0.4, 0.3, 0.2]


def test_equal_pictures_that_the_model_is_sure_of_are_halves_when_scores_are_nothing() -> None:
    found = rank([finding(0.0, "A", 0), finding(0.0, "B", 1)], "m").findings
    assert [x.score for x in found] == [0.5, 0.5]


def test_pictures_in_two_parts_are_told_and_no_label_is_blamed(recognizer: Recognizer) -> None:
    lines = [
        line("HEAD", "HEAD", "t.csv:2", "train"),
        line("HEAD", "HEAD", "t.csv:3", "test"),
        line("HEAD", "HEAD", "t.csv:4", "train"),
        line("BED", "BED", "t.csv:5", "test"),
    ]
    found = audit(recognizer, lines)
    assert [(x.row, x.other) for x in found.leaks] == [
        ("t.csv:2", "t.csv:3"),
        ("t.csv:3", "t.csv:4"),
    ]
    assert all(x.score <= PRIOR**2 for x in found.findings)


def test_tables_are_parts_where_there_are_no_splits(recognizer: Recognizer) -> None:
    lines = [replace(line("HEAD", "HEAD"), place=place) for place in ("a", "b", "b")]
    found = audit(recognizer, lines)
    assert [(x.part, x.other_part) for x in found.leaks] == [("a", "b"), ("a", "b")]


def test_a_model_without_lower_case_or_accents_compares_without_them() -> None:
    cleanings = [cleaning_for(Alphabet(each)) for each in ("AB", "ABab", "ABÉ", "abé")]
    assert [(each.case, each.accents) for each in cleanings] == [
        ("upper", "strip"),
        ("keep", "strip"),
        ("upper", "keep"),
        ("keep", "keep"),
    ]


def test_letters_that_are_easily_mistaken_are_told() -> None:
    asked = replace(finding(0.5, "HANAH", 0), claim="HANAH")
    assert _reason(asked, "MANAH") == "M for H; easily mistaken"
    assert _reason(asked, "HA NAHA") == "a space is missing, A is missing"
    assert _reason(asked, "HANAA") == "A for H"
    assert _reason(asked, "") == "nothing is read"


def test_the_page_keeps_what_labels_say_out_of_its_markup(recognizer: Recognizer) -> None:
    nasty = '"><script>alert(1)</script>'
    lines = [replace(line("AB", "AA"), file=nasty), replace(line("AB", nasty), row="t.csv:9")]
    page = audit_page(audit(recognizer, lines), nasty, "penname <b>", {0: lines[0].image})
    assert page.count("<script>") == 1
    assert "innerHTML" not in page
    assert "Set aside" in page
    assert "penname &lt;b&gt;" in page
    assert 'data-text="AA"' in page
    assert "script-src 'sha256-" in page


def test_of_equal_pictures_the_others_suggest_what_most_of_them_say() -> None:
    given = [finding(0.3, "A", 0), finding(0.3, "A", 1), finding(0.3, "B", 2)]
    found = {x.order: x.suggestion for x in rank(given, "m").findings}
    assert found == {0: "B", 1: "B", 2: "A"}
