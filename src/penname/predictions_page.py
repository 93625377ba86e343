"""Predictions page: pictures beside what was read in them, to be checked in a browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from penname import html, review

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penname.line_image import Source
    from penname.recognizer import Prediction

SURE, FAIR = 0.95, 0.8  # confidence from which a character is unmarked, or marked lightly

SCRIPT = (
    review.SCRIPT
    + """
document.querySelector("#table").onclick = () => save("checked.csv",
  ["file", "text", "confidence", "error", "reason", "checked"],
  [...document.querySelectorAll(".row")].map(row => [row.dataset.file,
    typed(row) || row.dataset.text, row.dataset.confidence, row.dataset.error, row.dataset.reason,
    typed(row) ? "yes" : ""]));
document.querySelector("#truth").onclick = () => save("truth.csv",
  ["file", "text"], done().map(row => [row.dataset.file, typed(row)]));
"""
)


def predictions_page(rows: Sequence[tuple[Source, Prediction]]) -> str:
    """Return a page with each picture beside what was read in it, doubtful characters marked.

    A person checks and corrects readings on it, and saves all of them as a table, or those that
    were checked as ground truth.

    Args:
        rows: pictures with their predictions; one that could not be read shows its error.
    """
    unreadable = sum(bool(prediction.error) for _, prediction in rows)
    doubtful = sum(bool(prediction.reason) for _, prediction in rows)
    legend = (
        f'Confidence of a character: from {SURE:.0%} plain, <span class="fair">from {FAIR:.0%}'
        '</span>, <span class="low">below</span>. The bar is the confidence of the whole line. '
        "Type a correction or take another reading; Enter says that a reading is right, and goes "
        "on. The table has all lines, the ground truth those that you checked: save it in the "
        "folder in which you called penname read, and "
        "<code>penname pack truth.csv --out pack</code>."
    )
    lines = "".join(_prediction(source, prediction) for source, prediction in rows)
    return html.page(
        "Predictions",
        f'{review.STYLE}<p class="faint">{html.count(len(rows), "line")}, {unreadable} '
        f"unreadable. {legend}</p>"
        + review.bar(("table", "Save the table"), ("truth", "Save ground truth"), doubtful=doubtful)
        + f'<div class="card lines">{lines}</div>',
        SCRIPT,
    )


def _prediction(source: Source, prediction: Prediction) -> str:
    values = {
        "file": prediction.file,
        "text": prediction.text,
        "confidence": f"{prediction.confidence:.6f}",
        "error": prediction.error,
        "reason": prediction.reason,
    }
    if prediction.error:
        error = f'<div class="error">{escape(prediction.error)}</div>'
        return html.row(source, prediction.file, error, "", values)
    right = prediction.text or "EMPTY"
    reason = f" · {escape(prediction.reason)}" if prediction.reason else ""
    return html.row(
        source,
        prediction.file,
        f'<div class="text">{_marked(prediction)}</div>{_others(prediction)}',
        html.meter(prediction.confidence, reason)
        + review.field(enter=right)
        + review.choice("right", right)
        + review.choice("UNREADABLE", "UNREADABLE"),
        values,
    )


def _others(prediction: Prediction) -> str:
    others = [review.choice(x.text, x.text) for x in prediction.alternatives if x.text]
    return f'<div class="faint">or {" or ".join(others)}</div>' if others else ""


def _marked(prediction: Prediction) -> str:
    """Return the text with its doubtful characters marked."""
    if "".join(c.character for c in prediction.characters) != prediction.text:
        return escape(prediction.text)  # spans that do not spell the text
    return "".join(
        f'<span{_doubt(c.confidence)} title="{c.confidence:.1%}">{escape(c.character)}</span>'
        for c in prediction.characters
    )


def _doubt(confidence: float) -> str:
    if confidence >= SURE:
        return ""
    return ' class="fair"' if confidence >= FAIR else ' class="low"'
