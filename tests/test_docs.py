"""The pages cannot drift: what is made from code, links, commands, names, keys and versions."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import re
import shlex
import tomllib
from dataclasses import fields
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import penname
from penname.alphabet import Alphabet
from penname.cli import COMMANDS, parser
from penname.ground_truth import pack_folder
from penname.ground_truth.cleaning import RULES
from penname.ground_truth.pack_folder import PackWriter
from penname.line_image import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from penname.model_folder import ModelFolder

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "penname"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPECTED = {"architecture.md", "cli.md", "ground_truth.md", "keras.md", "lessons.md", "log.md"}
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OPERATORS = set("();<>|&")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# What is made from the code


@pytest.fixture(scope="module")
def make_cli() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("columns", ["40", "200"])
def test_pages_are_what_the_code_makes(
    make_cli: ModuleType, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)  # of the terminal; the pages must not care
    made: dict[Path, str] = make_cli.pages()
    assert {title(page) for page in made} == {"docs/cli.md", "docs/ground_truth.md"}
    stale = [title(page) for page, text in made.items() if page.read_text("utf-8") != text]
    assert stale == [], "run: python docs/make_cli.py"


def test_the_made_parts_hold_every_command_flag_and_rule() -> None:
    page = text_of("docs/cli.md")
    for name in COMMANDS:
        assert f"## penname {name}\n" in page
    for flag in (
        "--html FILE",
        "--resume",
        "--no-keep-unlabelled",
        "--calibrate PATH",
        "--group-column STR",
    ):
        assert flag in page
    assert first_cells("docs/ground_truth.md", "rule") == [f"`{rule.id}`" for rule in RULES]


def test_a_page_without_its_marks_is_an_error(make_cli: ModuleType) -> None:
    with pytest.raises(ValueError, match="0 pairs of <!-- begin rules -->"):
        make_cli.with_part("no marks", "rules", "table")


# Links


def links(page: str) -> list[str]:
    """Return the targets of links and pictures outside code, those of HTML tags included."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page))
    found: list[str] = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    found += re.findall(r"""(?:src|href|srcset)=["']([^"']+)""", prose)
    return found + re.findall(r"^\[[^]]+\]:\s*(\S+)", prose, re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    for link in links(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_relative_links_point_to_something(page: Path) -> None:
    assert list(broken(page)) == []


def test_links_are_found_in_all_their_forms() -> None:
    page = '[a](b.md#c) ![d](e.png) <img src="f.png">\n`[g](h)`\n```text\n[i](j)\n```\n[k]: l.md\n'
    assert links(page) == ["b.md#c", "e.png", "f.png", "l.md"]
    assert anchors("# A `b.c` page\n## What it's\n") == {"a-bc-page", "what-its"}


def test_the_pages_are_there_and_each_says_what_it_is() -> None:
    assert {page.name for page in PAGES if page.parent.name == "docs"} >= EXPECTED
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        lines = page.read_text("utf-8").splitlines()
        assert lines[0].startswith("# "), title(page)
        assert any(line.strip() for line in lines[1:]), title(page)


# Commands


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words after each `penname` that a shell script calls."""
    script = script.replace("\\\n", " ")
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for call in calls(list(lexer)):
            words = list(dropwhile(lambda word: re.match(r"\w+=", word), call))
            words = words[2:] if words[1:2] == ["-m"] else words  # python -m penname
            if words and words[0].split("/")[-1] == "penname":
                yield words[1:]


def calls(words: list[str]) -> Iterator[list[str]]:
    """Split a line at its operators; what a redirection names is left out."""
    call: list[str] = []
    skip = False
    for word in words:
        if set(word) <= OPERATORS:
            skip = word[0] in "<>"
            if not skip:
                yield call
                call = []
        elif not skip:
            call.append(word)
        else:
            skip = False
    yield call


def complaint(words: list[str]) -> str:
    """Return why a command line does not parse, or nothing."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            parser(words).parse_args(words)
        except SystemExit as stop:
            return errors.getvalue().strip() if stop.code else ""
    return ""


def blocks(page: Path) -> list[str]:
    """Return the shell scripts of a page; of a console, what stands behind its prompts."""
    scripts = []
    for language, block in FENCE.findall(page.read_text("utf-8")):
        if language == "console":
            scripts.append("\n".join(re.findall(r"^\s*\$ (.*)$", block, re.MULTILINE)))
        elif language in ("bash", "sh", "shell"):
            scripts.append(block)
    return scripts


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_parse(page: Path) -> None:
    wrong = [complaint(words) for script in blocks(page) for words in commands(script)]
    assert [text for text in wrong if text] == []


def test_the_readme_shows_the_commands_a_newcomer_needs() -> None:
    shown = [words[0] for script in blocks(PAGES[0]) for words in commands(script) if words]
    assert {"read", "pack", "train", "export", "evaluate"} <= set(shown)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("penname read scans  # a folder", [["read", "scans"]]),
        ("cd x && penname read a.jpg > out.txt", [["read", "a.jpg"]]),
        ("penname pack a \\\n  --out b", [["pack", "a", "--out", "b"]]),
        ("penname read a --json | jq .text", [["read", "a", "--json"]]),
        ("pip install penname\n.venv/bin/penname --help", [["--help"]]),
        ("python -m penname read 'a b.png'", [["read", "a b.png"]]),
        ("A=1 penname read a  # isn't b", [["read", "a"]]),
        ("penname-other read a", []),
    ],
)
def test_commands_are_found_in_scripts(script: str, expected: list[list[str]]) -> None:
    assert list(commands(script)) == expected


def test_a_wrong_flag_a_missing_one_and_a_wrong_value_are_complained_about() -> None:
    assert complaint(["read", "scans", "--html", "page.html"]) == ""
    assert complaint(["--help"]) == ""
    assert "--htlm" in complaint(["read", "scans", "--htlm", "page.html"])
    assert "--out" in complaint(["pack", "scans"])
    assert "invalid choice" in complaint(["reed", "scans"])


# Names and keys in docs/architecture.md and docs/ground_truth.md


def first_cells(page: str, header: str) -> list[str]:
    """Return the first cells of the table whose first header cell is `header`."""
    lines = text_of(page).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append(line.split("|")[1].strip())
    return cells


def names_in(page: str, header: str) -> list[str]:
    """Return the names in code spans in the first cells of a table."""
    return [name for cell in first_cells(page, header) for name in re.findall("`([^`]+)`", cell)]


def test_the_architecture_names_every_module_and_no_other() -> None:
    files = sorted(SOURCES.rglob("*.py"))
    names = (".".join(file.relative_to(SOURCES).with_suffix("").parts) for file in files)
    modules = {name.removesuffix(".__init__") for name in names} - {"__init__"}
    wings = ("core", "ground truth", "synthesis", "training", "commands")
    named = [name for wing in wings for name in names_in("docs/architecture.md", wing)]
    assert sorted(named) == sorted(modules)


def test_the_keys_of_model_json_are_all_told(model: ModelFolder) -> None:
    keys = json.loads((model.path / "model.json").read_text("utf-8"))
    assert set(names_in("docs/architecture.md", "key of `model.json`")) == set(keys)


def test_the_keys_of_the_image_spec_are_all_told() -> None:
    told = names_in("docs/architecture.md", "key of `image`")
    assert told == [each.name for each in fields(ImageSpec)]


def test_what_a_pack_holds_is_all_told(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "pack", Alphabet("A"), ImageSpec(height=48), {}) as writer:
        writer.add(np.zeros((48, 9), np.uint8), "A", file="a.png", source="s", split="train")
    page = "docs/ground_truth.md"
    files = {file.name for file in (tmp_path / "pack").iterdir()}
    assert set(names_in(page, "file")) == files
    manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text("utf-8"))
    assert set(names_in(page, "key of `manifest.json`")) == set(manifest)
    assert names_in(page, "column of `index.arrow`") == pack_folder.SCHEMA.names


def test_the_keys_of_a_checkpoint_are_all_told() -> None:
    """The loop is parsed and not imported, so that the test needs no torch."""
    nodes = list(ast.walk(ast.parse((SOURCES / "training" / "run.py").read_text("utf-8"))))
    (state,) = (n for n in nodes if isinstance(n, ast.ClassDef) and n.name == "State")
    (description,) = (
        n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "description"
    )
    keys = {ast.unparse(n.target) for n in state.body if isinstance(n, ast.AnnAssign)}
    (returned,) = (n.value for n in description.body if isinstance(n, ast.Return))
    assert isinstance(returned, ast.Dict)
    keys |= {key.value for key in returned.keys if isinstance(key, ast.Constant)}  # type: ignore[misc]
    assert set(names_in("docs/architecture.md", "key of `state.json`")) == keys


# Version


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    assert "version" in project["project"]["dynamic"]  # hatch takes it from the package
    assert project["tool"]["hatch"]["version"]["path"] == "src/penname/__init__.py"
    headings: list[str] = re.findall(r"^## \[?([^\]\s]+)", text_of("CHANGELOG.md"), re.MULTILINE)
    released = [heading for heading in headings if heading.lower() != "unreleased"]
    assert released[:1] == [penname.__version__]
