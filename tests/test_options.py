"""Options: flags and JSON come from the dataclass, and a typo is an error."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from penname.errors import OptionError
from penname.options import add_flags, check_choices, from_flags, from_json, option, to_json


@dataclass(frozen=True)
class Options:
    """One option of each kind."""

    rate: float = option(0.5, "a rate, 100% at most")
    max_width: int = option(320, "a width")
    fit: str = option("fit", "a choice", choices=("fit", "crop"))
    trim: bool = option(True, "a switch")
    folder: Path | None = option(None, "a path")  # noqa: RUF009 - a field, not a value
    column: str = option("", "a name")
    margin: int = option(0, "a count")


def parsed(*words: str) -> Options:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, Options)
    return from_flags(Options, parser.parse_args(words))


def test_no_flags_are_the_defaults() -> None:
    assert parsed() == Options()


def test_flags_are_named_and_typed_after_fields() -> None:
    flags = ("--rate", "0.25", "--max-width", "64", "--fit", "crop", "--no-trim", "--folder", "a/b")
    assert parsed(*flags) == Options(0.25, 64, "crop", False, Path("a/b"))
    assert parsed("--trim").trim is True


@pytest.mark.parametrize("words", [("--fit", "squash"), ("--max-width", "wide")])
def test_wrong_values_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(argparse.ArgumentError):
        parsed(*words)


def test_help_tells_text_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Options, title="line images")
    text = parser.format_help()
    assert "line images:" in text
    assert "a rate, 100% at most (default: 0.5)" in text
    assert "{fit,crop}" in text
    assert "--no-trim" in text


def test_help_says_none_for_an_empty_default_and_for_no_other() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Options)
    lines = [line.split() for line in parser.format_help().splitlines()]
    assert ["--folder", "PATH", "a", "path", "(default:", "none)"] in lines
    assert ["--column", "STR", "a", "name", "(default:", "none)"] in lines
    assert ["--margin", "INT", "a", "count", "(default:", "0)"] in lines


def test_json_gives_the_options_back() -> None:
    options = Options(rate=0.1, folder=Path("a/b"), trim=False)
    values = json.loads(json.dumps(to_json(options)))
    assert values == {
        "rate": 0.1,
        "max_width": 320,
        "fit": "fit",
        "trim": False,
        "folder": "a/b",
        "column": "",
        "margin": 0,
    }
    assert from_json(Options, values) == options
    assert from_json(Options, {}) == Options()


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"option max_with; known: rate, max_width, fit"):
        from_json(Options, {"max_with": 3})


def test_a_value_must_be_one_of_its_choices() -> None:
    @dataclass(frozen=True)
    class Pen:
        ink: str = option("blue", "its ink", choices=("blue", "black", "red"))
        width: float = option(0.5, "its width")

    check_choices(Pen(ink="red", width=7))
    with pytest.raises(OptionError, match=r"^ink is 'green'; choose blue, black or red$"):
        check_choices(Pen(ink="green"))
