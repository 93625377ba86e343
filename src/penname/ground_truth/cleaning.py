"""Cleaning: the written rules that decide which lines are packed, and with which text.

The rules are `RULES`, applied in that order. A rule either drops a line or changes its text; every
dropped and every changed line is listed in the pack, with the rule, so nothing is lost silently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from penname.alphabet import LIGATURES, TYPOGRAPHIC, Alphabet, nfc, without_accents
from penname.ctc import frames_needed
from penname.options import check_choices, option

if TYPE_CHECKING:
    from collections.abc import Callable

MARKERS = ("EMPTY", "UNREADABLE")  # written by the Kaggle set's labellers instead of a text


def is_marker(text: str) -> bool:
    """Return whether a text says that there is none to read."""
    return text.upper() in MARKERS


@dataclass(frozen=True)
class Rule:
    """One rule: its id in the counts, what it does to a line it meets, and when."""

    id: str
    effect: str
    description: str


RULES = (
    Rule("missing-text", "drops", "The line has no text."),
    Rule("marker", "drops", f"The text is a marker: {' or '.join(MARKERS)}, in capitals or not."),
    Rule("unicode", "changes", "The text is brought to NFC with single spaces."),
    Rule("case", "changes", "The text is written in capitals (`case` is upper)."),
    Rule("accents", "changes", "Accents are taken off and œ, æ, ø, ł spelled out (`accents`)."),
    Rule("punctuation", "changes", "Typographic apostrophes and hyphens the alphabet lacks: ' -."),
    Rule("characters", "drops", "The text has characters that the alphabet lacks."),
    Rule("unreadable-image", "drops", "The image cannot be read, or holds no ink."),
    Rule("too-narrow", "drops", "The text needs more frames than its line image gives."),
)


@dataclass(frozen=True)
class CleaningOptions:
    """What the rules may change, and which characters a text may have."""

    case: str = option("keep", "write texts in capitals, or keep them", choices=("keep", "upper"))
    accents: str = option("keep", "strip accents, or keep them", choices=("keep", "strip"))
    alphabet: str = option("", "characters a text may have; empty: those of the texts")

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True)
class Cleaning:
    """What the rules decided about one line: its text, or the rule that dropped it and a note."""

    text: str = ""
    dropped: str = ""
    note: str = ""
    changed: tuple[str, ...] = ()


def cleaning_for(alphabet: Alphabet) -> CleaningOptions:
    """Return the cleaning that writes a text as a model with this alphabet does."""
    characters = alphabet.characters
    return CleaningOptions(
        case="upper" if characters == characters.upper() else "keep",
        accents="strip" if characters.isascii() else "keep",
    )


def clean_text(raw: str | None, options: CleaningOptions, alphabet: Alphabet | None) -> Cleaning:
    """Apply the rules that need only the text; without an alphabet, any character passes.

    >>> clean_text("Zoé", CleaningOptions(case="upper", accents="strip"), Alphabet("EOZ"))
    Cleaning(text='ZOE', dropped='', note='', changed=('case', 'accents'))
    """
    text = nfc(raw or "")
    if not text:
        return Cleaning(dropped="missing-text", note="no text")
    if is_marker(text):
        return Cleaning(text, dropped="marker", note=f"the text is {text!r}")
    changed = ["unicode"] if text != raw else []
    for rule, change in _changes(options, alphabet):
        before, text = text, nfc(change(text))
        if text != before:
            changed.append(rule)
    cleaning = Cleaning(text, changed=tuple(changed))
    if alphabet and (missing := alphabet.missing(text)):
        return replace(cleaning, dropped="characters", note=f"the alphabet lacks {missing!r}")
    return cleaning


def check_width(cleaning: Cleaning, alphabet: Alphabet, frames: int) -> Cleaning:
    """Drop a text that cannot be written in `frames` frames, the width of its canvas."""
    needed = frames_needed(alphabet.encode(cleaning.text))
    if needed <= frames:
        return cleaning
    return replace(
        cleaning,
        dropped="too-narrow",
        note=f"the text needs {needed} frames, the image has {frames}",
    )


def _changes(
    options: CleaningOptions, alphabet: Alphabet | None
) -> list[tuple[str, Callable[[str], str]]]:
    changes: list[tuple[str, Callable[[str], str]]] = []
    if options.case == "upper":
        changes.append(("case", str.upper))
    if options.accents == "strip":
        changes.append(("accents", _plain_letters))
    if alphabet:
        changes.append(("punctuation", lambda text: _plain_punctuation(text, alphabet)))
    return changes


def _plain_letters(text: str) -> str:
    """Return `text` without accents and ligatures: é -> e, and œ -> oe."""
    return without_accents(text.translate(LIGATURES))


def _plain_punctuation(text: str, alphabet: Alphabet) -> str:
    lacking = alphabet.missing(text)
    return "".join(TYPOGRAPHIC.get(c, c) if c in lacking else c for c in text)
