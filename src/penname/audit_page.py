"""Audit page: suspicious ground truth with its pictures, to be corrected in a browser.

The page is one file without a server. What is typed on it stays in the browser until its button
writes the corrections as a CSV, which `penname audit --apply` puts over the ground truth.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from penname import html

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penname.audit import Audit, Finding
    from penname.line_image import Source

LINES = 500  # shown; the CSV has all

STYLE = """<style>
.row { grid-template-columns: minmax(0, 300px) minmax(0, 1fr) 285px; }
.bar { position: sticky; top: 0; background: var(--ground); padding: 12px 0; z-index: 1; }
button, input { font: inherit; color: inherit; background: var(--card); padding: 4px 10px;
  border: 1px solid var(--line); border-radius: 6px; }
button { cursor: pointer; margin: 6px 4px 0 0; font-size: 13px; }
input { width: 100%; }
input:not(:placeholder-shown) { border-color: var(--accent); }
</style>"""

SCRIPT = """
const rows = [...document.querySelectorAll(".row")];
const field = row => row.querySelector("input");
const done = () => rows.filter(row => field(row).value.trim());
const told = () => { document.querySelector("#told").textContent =
  `${done().length} of ${rows.length} corrected`; };
const cell = text => /[",\\r\\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
for (const row of rows) {
  for (const button of row.querySelectorAll("button"))
    button.onclick = () => { field(row).value = button.value; told(); };
  field(row).oninput = told;
}
document.querySelector("#save").onclick = () => {
  const lines = done().map(row => [row.dataset.file, row.dataset.text, row.dataset.suggestion,
    row.dataset.score, field(row).value.trim()].map(cell).join(","));
  const head = "file,text,suggestion,score,correction";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[head, ...lines, ""].join("\\n")], {type: "text/csv"}));
  link.download = "reviewed.csv";
  link.click();
};
told();
"""


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
        f'{STYLE}<p class="faint">{escape(facts)}<code>{escape(apply)}</code></p>'
        '<div class="bar"><button id="save">Save corrections</button> '
        f'<span class="faint" id="told"></span></div><div class="card lines">{lines}</div>'
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
    review = (
        f'<span class="faint">{html.percent(finding.score)}</span>'
        '<input placeholder="correction" aria-label="correction">'
        f'<button value="{escape(finding.suggestion)}">suggestion</button>'
        '<button value="UNREADABLE">UNREADABLE</button><button value="">keep</button>'
    )
    values = {
        "file": finding.file,
        "text": finding.text,
        "suggestion": finding.suggestion,
        "score": f"{finding.score:.6f}",
    }
    data = "".join(f' data-{name}="{escape(value)}"' for name, value in values.items())
    row = html.row(picture, finding.row, pair, review)
    return row.replace('<div class="row"', f'<div class="row"{data}', 1)


def _leaks(audit: Audit) -> str:
    rows = [[x.row, x.part, x.other, x.other_part] for x in audit.leaks]
    return _card(["Line", "Part", "Other line", "Its part"], rows)


def _aside(audit: Audit) -> str:
    return _card(["Line", "Text", "Why"], [[x.row, x.text, x.aside] for x in audit.aside])


def _card(header: list[str], rows: list[list[str]]) -> str:
    return f'<div class="card prose">{html.table(header, rows)}</div>' if rows else ""
