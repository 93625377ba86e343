"""Make the pages and tables that come from the code: docs/cli.md, parts of docs/ground_truth.md.

    python docs/make_cli.py

rewrites what is out of date and names it. tests/test_docs.py fails when something is.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from penname import inputs
from penname.cli import COMMANDS, parser
from penname.ground_truth import tables
from penname.ground_truth.cleaning import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parent
TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1"}  # argparse folds its help at the terminal's width

CLI_HEAD = """\
# Commands

This page is the `--help` of every command.
`python docs/make_cli.py` makes it from the code; do not edit it by hand.

Data goes to stdout, everything else to stderr. A command ends with 0 when it is done, with 1 when
it failed, after one line that says why, and with 2 when it was called wrongly. `penname read` is
done when it could read at least one picture; those it could not read are named on stderr.
`train`, `sweep`, `export`, `factorise`, `prune`, `quantise` and `audit --cross-fit` need the train
extra: `pip install '.[train]'`; `import-keras` needs the keras extra, which brings the train
extra with it.
"""


def help_page(words: Sequence[str]) -> str:
    """Return what `penname WORDS --help` prints at 100 columns."""
    page = StringIO()
    with patch.dict(os.environ, TERMINAL), redirect_stdout(page), suppress(SystemExit):
        parser(words).parse_args([*words, "--help"])
    return page.getvalue()


def cli_page() -> str:
    """Return docs/cli.md."""
    pages = [("penname", help_page([]))]
    pages += [(f"penname {name}", help_page([name])) for name in COMMANDS]
    return CLI_HEAD + "".join(f"\n## {name}\n\n```text\n{page}```\n" for name, page in pages)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def rules_table() -> str:
    """Return the cleaning rules, in the order in which they are applied."""
    return table(
        ["rule", "effect", "when"],
        [[f"`{rule.id}`", rule.effect, rule.description] for rule in RULES],
    )


def columns_table() -> str:
    """Return the column names that tables are searched for, in the order of preference."""
    columns = {
        "image": inputs.IMAGE_COLUMNS,
        "text": tables.TEXT_COLUMNS,
        "group": tables.GROUP_COLUMNS,
    }
    return table(
        ["column", "its usual names", "to name another"],
        [
            [what, ", ".join(f"`{name}`" for name in names), f"`--{what}-column`"]
            for what, names in columns.items()
        ],
    )


def with_part(page: str, name: str, part: str) -> str:
    """Return a page with what stands between the marks of `name` replaced by `part`.

    Raises:
        ValueError: when the page does not hold exactly one such pair of marks.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    replaced, times = marked.subn(lambda _: f"{begin}\n{part}\n{end}", page)
    if times != 1:
        raise ValueError(f"{times} pairs of {begin} and {end} in the page; there must be one")
    return replaced


def pages() -> dict[Path, str]:
    """Return every page that is made here, wholly or in part, with what it should hold."""
    ground_truth = DOCS / "ground_truth.md"
    text = ground_truth.read_text("utf-8")
    for name, part in {"rules": rules_table(), "columns": columns_table()}.items():
        text = with_part(text, name, part)
    return {DOCS / "cli.md": cli_page(), ground_truth: text}


def main() -> None:
    """Rewrite the pages that are out of date."""
    for file, text in pages().items():
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            print(f"{file}: rewritten", file=sys.stderr)


if __name__ == "__main__":
    main()
