"""Audit page: suspicious ground truth with its pictures, to be corrected in a browser.

Its button writes the corrections as a CSV that `penname audit --apply` puts over the ground truth.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from penname import html, review

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penname.audit import Audit, Finding
    from penname.line_image import Source

LINES = 500  # shown; the CSV has all

SCRIPT = (
    review.SCRIPT
    + """
document.querySelector("#save").onclick = () => save("reviewed.csv",
  ["file", "text", "suggestion", "score", "correction"], done().map(row => [
    row.dataset.file, row.dataset.text, row.dataset.suggestion, row.dataset.score, typed(row)]));
"""
)


def audit_page(audit: Audit, data: str, apply: str, pictures: Mapping[int, Source]) -> str:
    """Return the page of an audit.

    Args:
        audit: its first `LINES` findings are shown.
        data: what the ground truth is called.
        apply: the command that puts the corrections over it.
        pictures: by the `order` of each finding that is shown.
    """
    shown = audit.findings[:LINES]
    facts = (
        f"{len(audit.findings):,} lines judged with {audit.model}, the {len(shown):,} most "
        f"suspicious shown; {len(audit.aside):,} set aside. The score is the probability that the "
        "suggestion is right and the text is not. Type a correction, or take the suggestion; "
        "UNREADABLE keeps the line out of packs. Then save, and put it over the ground truth with "
    )
    lines = "".join(_line(finding, pictures[finding.order]) for finding in shown)
    return html.page(
        f"Audit of {data}",
        f'{review.STYLE}<p class="faint">{escape(facts)}<code>{escape(apply)}</code></p>'
        + review.bar(("save", "Save corrections"))
        + f'<div class="card lines">{lines}</div>'
        + html.section("Nearly the same picture in two parts", _leaks(audit))
        + html.section("Set aside, not judged", _aside(audit)),
        SCRIPT,
    )


def _line(finding: Finding, picture: Source) -> str:
    pair = (
        f'<div class="pair text"><span class="faint">text</span><span>{escape(finding.text)}</span>'
        f'<span class="faint">read</span><span>{escape(finding.suggestion)}</span></div>'
        f'<div class="faint">{escape(finding.reason)}</div>'
    )
    values = {
        "file": finding.file,
        "text": finding.text,
        "suggestion": finding.suggestion,
        "score": f"{finding.score:.6f}",
    }
    right = (
        f'<span class="faint">{html.percent(finding.score)}</span>'
        + review.field()
        + review.choice("suggestion", finding.suggestion)
        + review.choice("UNREADABLE", "UNREADABLE")
        + review.choice("keep", "")
    )
    return html.row(picture, finding.row, pair, right, values)


def _leaks(audit: Audit) -> str:
    rows = [[x.row, x.part, x.other, x.other_part] for x in audit.leaks]
    return _card(["Line", "Part", "Other line", "Its part"], rows)


def _aside(audit: Audit) -> str:
    return _card(["Line", "Text", "Why"], [[x.row, x.text, x.aside] for x in audit.aside])


def _card(header: list[str], rows: list[list[str]]) -> str:
    return f'<div class="card prose">{html.table(header, rows)}</div>' if rows else ""
