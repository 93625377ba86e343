from __future__ import annotations

import pytest

from penname.alphabet import Alphabet
from penname.errors import OptionError
from penname.ground_truth.cleaning import (
    RULES,
    Cleaning,
    CleaningOptions,
    check_width,
    clean_text,
)

CAPITALS = Alphabet(" '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
UPPER = CleaningOptions(case="upper", accents="strip")


@pytest.mark.parametrize(
    ("raw", "options", "text", "dropped", "changed"),
    [
        (None, UPPER, "", "missing-text", ()),
        (" \n", UPPER, "", "missing-text", ()),
        ("EMPTY", UPPER, "EMPTY", "marker", ()),
        ("unreadable", CleaningOptions(), "unreadable", "marker", ()),
        ("EMPTYS", UPPER, "EMPTYS", "", ()),  # a marker is the whole text
        ("MARTIN", UPPER, "MARTIN", "", ()),
        ("NAN", UPPER, "NAN", "", ()),  # a name, not a missing number
        ("A  B\n", UPPER, "A B", "", ("unicode",)),
        ("Martin", UPPER, "MARTIN", "", ("case",)),
        ("Martin", CleaningOptions(), "Martin", "characters", ()),
        ("ZOÉ", UPPER, "ZOE", "", ("accents",)),
        ("ZOE\u0301", UPPER, "ZOE", "", ("unicode", "accents")),
        ("Cœur", UPPER, "COEUR", "", ("case", "accents")),
        ("Weiß", UPPER, "WEISS", "", ("case",)),
        ("ZOÉ", CleaningOptions(case="upper"), "ZOÉ", "characters", ()),
        ("L’OR–A", UPPER, "L'OR-A", "", ("punctuation",)),
        ("d’or €", UPPER, "D'OR €", "characters", ("case", "punctuation")),
    ],
)
def test_rules(
    raw: str | None, options: CleaningOptions, text: str, dropped: str, changed: tuple[str, ...]
) -> None:
    cleaning = clean_text(raw, options, CAPITALS)
    assert (cleaning.text, cleaning.dropped, cleaning.changed) == (text, dropped, changed)
    assert bool(cleaning.note) == bool(dropped)


def test_the_alphabets_own_punctuation_stays() -> None:
    assert clean_text("L’A", UPPER, Alphabet("'’AL")) == Cleaning("L’A")


def test_without_an_alphabet_every_character_passes() -> None:
    assert clean_text("€’", CleaningOptions(), None) == Cleaning("€’")


def test_a_text_needs_a_frame_a_character_and_one_between_equals() -> None:
    anna = Cleaning("ANNA")  # 4 characters and a blank between the two N
    assert check_width(anna, CAPITALS, 5) == anna
    assert check_width(anna, CAPITALS, 4).dropped == "too-narrow"


def test_every_rule_is_written_down_once() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(rule.description.endswith(".") for rule in RULES)
    assert {rule.effect for rule in RULES} == {"drops", "changes"}


@pytest.mark.parametrize("values", [{"case": "lower"}, {"accents": "drop"}])
def test_unknown_choices_are_errors(values: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="choose keep or"):
        CleaningOptions(**values)
