"""Pages: what they share, and the report of an evaluation, self-contained and with its pictures.

Nothing is loaded from elsewhere and no script runs but one that `page` was given: styles are
inline, pictures are data URIs and charts are SVG. All text goes through `html.escape`. The pages
follow the reader's light or dark scheme; pictures stay on white.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from typing import Any

from PIL import Image

from penname import metrics
from penname.charts import coverage_chart, reliability_chart
from penname.errors import ImageError
from penname.line_image import Source, decode

PICTURE = (1280, 128)  # pixels; larger pictures are made smaller
LONG = (480, 9)  # a picture over so many pixels and times its height has a row of its own

HEADLINE = {
    "exact": "lines read without a mistake",
    "cer": "character edits per reference character",
    "wer": "word edits per reference word",
    "coverage_at_99": "of the lines can be accepted with 99 % of them exact",
}

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --text: #1c2430;
  --faint: #657083; --line: #e1e5eb; --accent: #2f5fd0; --fair: #a86400; --bad: #c62f3b; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151a; --card: #1b2027;
  --text: #e5e9ef; --faint: #97a2b2; --line: #2c333d; --accent: #7ba4ff; --fair: #e5a84b;
  --bad: #ff7f86; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 8px; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 40px 0 12px; }
h3 { font-size: 14px; margin: 0 0 8px; }
p { margin: 0 0 8px; }
.faint { color: var(--faint); font-size: 13px; }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); }
.wide { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; min-width: 0; }
.number { font-size: 30px; font-weight: 650; line-height: 1.2; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { color: var(--faint); font-weight: 500; font-size: 13px; text-align: left; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th:not(:first-child), td:not(:first-child) { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.prose th, .prose td { text-align: left !important; white-space: normal !important;
  overflow-wrap: anywhere; }
.lines { padding: 0; overflow: hidden; margin-top: 20px; }
.row { display: grid; grid-template-columns: minmax(0, 340px) minmax(0, 1fr) 128px; gap: 4px 22px;
  padding: 14px 18px; align-items: center; border-bottom: 1px solid var(--line); }
.row:last-child { border-bottom: 0; }
.long { grid-template-columns: minmax(0, 1fr) 128px; }
.long .picture { grid-column: 1 / -1; }
.picture { background: #fff; border-radius: 6px; padding: 6px; display: flex; min-height: 44px;
  border: 1px solid var(--line); }
.picture img { display: block; max-width: 100%; max-height: 84px; margin: auto; }
.picture span { margin: auto; color: #657083; font-size: 13px; }
.text { font-size: 19px; letter-spacing: 0.03em; white-space: pre-wrap; overflow-wrap: anywhere; }
.file { overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: auto 1fr; gap: 0 12px; align-items: baseline; }
.fair { color: var(--fair); text-decoration: underline dotted; text-underline-offset: 4px; }
.low, .wrong { color: var(--bad); text-decoration: underline; text-underline-offset: 4px; }
.error { color: var(--bad); }
.meter { height: 5px; border-radius: 3px; background: var(--line); margin-top: 4px; }
.meter i { display: block; height: 100%; border-radius: 3px; background: var(--accent); }
svg { display: block; width: 100%; height: auto; font-size: 12px; fill: var(--faint); }
svg .axis { stroke: var(--line); }
svg .guide { stroke: var(--faint); stroke-dasharray: 4 4; fill: none; }
svg .curve { stroke: var(--accent); stroke-width: 2.5; fill: none; stroke-linejoin: round; }
svg .dot { fill: var(--accent); fill-opacity: 0.75; }
@media (max-width: 640px) { main { padding: 24px 14px 40px; } .row { grid-template-columns: 1fr; }
  .number { font-size: 26px; } }
"""


def percent(share: float) -> str:
    """Return a share as people read it: 0.0364 is 3.64 %."""
    return f"{100 * share:.2f} %"


def between(low: float, high: float) -> str:
    """Return an interval of shares as people read it: 3.33 to 5.05 %, or a dash for 0 to 1."""
    if low <= 0 and high >= 1:
        return "-"
    return f"{100 * low:.2f} to {percent(high)}"


def shown(character: str) -> str:
    """Return a character of a confusion, those that cannot be seen in words."""
    return {"": "nothing", " ": "space"}.get(character, character)


def drawn(groups: int) -> str:
    """Return what intervals draw anew: of how many writers or pages the lines are decides it."""
    if groups >= metrics.ENOUGH:
        return f"{groups} writers or pages"
    return f"lines, so too narrow for {groups} writers or pages" if groups else "lines"


def report_page(report: Mapping[str, Any], pictures: Sequence[Source]) -> str:
    """Return the page of an evaluation.

    Args:
        report: what `penname.report.Report.to_json` returns.
        pictures: one for each of `report["worst"]`, in order.
    """
    facts = (
        f"{count(report['n'], 'line')} scored, {report['skipped']} skipped for want of a text, "
        f"{len(report['errors'])} unreadable. Intervals are 95 %, from a bootstrap over "
        f"{drawn(report['groups'])}."
    )
    return page(
        f"{report['model']} on {report['data']}",
        f'<p class="faint">{escape(facts)}</p>'
        + section("Scores", _cards(report))
        + section("Can the confidence be trusted?", _charts(report))
        + section("All scores", _scores(report))
        + section("Where it fails", _hard(report["hard"]))
        + section("Slices", _slices(chain(*report["by"].values())))
        + section("Most frequent confusions", _confusions(report["confusions"]))
        + section("Unreadable images", _errors(report["errors"]))
        + section("Worst predictions", _worst(report["worst"], pictures)),
    )


def page(title: str, body: str, script: str = "") -> str:
    """Return a self-contained page; `title` is plain text, `body` HTML, and one script may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        policy += f"; script-src 'sha256-{digest}'"
        body += f"<script>{script}</script>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def small(source: Source) -> bytes:
    """Return a picture as pages show it, a PNG, or nothing where it cannot be decoded."""
    try:
        picture = Image.fromarray(decode(source))
    except ImageError:
        return b""
    picture.thumbnail(PICTURE)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def section(title: str, body: str) -> str:
    """Return a part of a page under its heading, or nothing where there is no body."""
    return f"<h2>{title}</h2>{body}\n" if body else ""


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 line, 2 lines."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def row(
    source: Source,
    file: str,
    middle: str,
    right: str,
    values: Mapping[str, str] | None = None,
) -> str:
    """Return a picture with its file, and HTML beside it and at the right.

    `values` are kept for a script, as the row's data.
    """
    data = "".join(f' data-{name}="{escape(value)}"' for name, value in (values or {}).items())
    png = small(source)
    long = " long" if _is_long(png) else ""
    return (
        f'<div class="row{long}"{data}><div class="picture">{_picture(png)}</div><div>{middle}'
        f'<div class="faint file">{escape(file)}</div></div><div>{right}</div></div>\n'
    )


def meter(confidence: float, more: str = "") -> str:
    """Return a confidence in words, with more HTML after them, and as a bar."""
    return (
        f'<span class="faint">{100 * confidence:.1f} % sure{more}</span>'
        f'<div class="meter"><i style="width:{100 * confidence:.1f}%"></i></div>'
    )


def _is_long(png: bytes) -> bool:
    """Return whether a picture could not be read in a column beside its text."""
    if not png:
        return False
    with Image.open(io.BytesIO(png)) as picture:
        return picture.width > max(LONG[0], LONG[1] * picture.height)


def _picture(png: bytes) -> str:
    """Return an inlined PNG, or words where there is none."""
    if not png:
        return "<span>no picture</span>"
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="" loading="lazy">'


def _cards(report: Mapping[str, Any]) -> str:
    cards = "".join(
        f'<div class="card"><h3>{metrics.TITLES[name]}</h3>'
        f'<div class="number">{percent(report[name])}</div>'
        f'<div class="faint">{_interval(report, name)}</div>'
        f'<div class="faint">{words}</div></div>'
        for name, words in HEADLINE.items()
    )
    return f'<div class="grid">{cards}</div>'


def _interval(values: Mapping[str, Any], name: str) -> str:
    return between(*values[f"{name}_ci"])


def _scores(report: Mapping[str, Any]) -> str:
    rows = [[metrics.TITLES[n], percent(report[n]), _interval(report, n)] for n in metrics.TITLES]
    return f'<div class="card">{table(["Score", "Value", "95 % interval"], rows)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _hard(hard: Sequence[Mapping[str, Any]]) -> str:
    note = (
        '<p class="faint">Slices with the fewest exact lines, to be checked first. One is harder '
        "than the rest where its interval ends below the score of all lines; of few lines, all of "
        "them exact, an interval says nothing, and where intervals draw writers or pages, there is "
        "none of fewer than ten.</p>"
    )
    return _slices(hard) + note if hard else ""


def _slices(parts: Iterable[Mapping[str, Any]]) -> str:
    header = ["Lines with", "Lines", "Exact", "95 %", "CER", "95 %"]
    rows = ([f"{x['slice']}: {x['value']}", *_slice_cells(x)] for x in parts)
    return f'<div class="card">{table(header, rows)}</div>'


def _slice_cells(part: Mapping[str, Any]) -> list[str]:
    cells = [f"{part['n']:,}"]
    for name in ("exact", "cer"):
        cells += [percent(part[name]), _interval(part, name)]
    return cells


def _confusions(confusions: Sequence[Mapping[str, Any]]) -> str:
    """Return three tables side by side, to be read down and then across."""
    third = -(-len(confusions) // 3) or 1
    tables = ""
    for start in range(0, len(confusions), third):
        part = confusions[start : start + third]
        rows = [[shown(x["reference"]), shown(x["hypothesis"]), str(x["count"])] for x in part]
        tables += f'<div class="card">{table(["Written", "Read as", "Times"], rows)}</div>'
    return f'<div class="grid">{tables}</div>' if tables else ""


def _errors(errors: Sequence[Mapping[str, str]]) -> str:
    rows = [[x["file"], x["error"]] for x in errors]
    return f'<div class="card prose">{table(["File", "Reason"], rows)}</div>' if rows else ""


def _worst(worst: Sequence[Mapping[str, Any]], pictures: Sequence[Source]) -> str:
    rows = ""
    for line, source in zip(worst, pictures, strict=True):
        pair = (
            f'<div class="pair text"><span class="faint">written</span><span>{_diff(line, 0)}'
            f'</span><span class="faint">read</span><span>{_diff(line, 1)}</span></div>'
        )
        edits = f'<div class="faint">{count(line["edits"], "edit")}</div>'
        rows += row(source, line["file"], pair, edits + meter(line["confidence"]))
    return f'<div class="card lines">{rows}</div>' if rows else ""


def _diff(line: Mapping[str, Any], side: int) -> str:
    """Return the reference (side 0) or hypothesis (side 1), what differs in it marked."""
    marked = ""
    for operation, *pair in metrics.alignment(line["reference"], line["hypothesis"]):
        character = escape(pair[side])
        wrong = operation != "equal" and character
        marked += f'<span class="wrong">{character}</span>' if wrong else character
    return marked or '<span class="faint">nothing</span>'


def _charts(report: Mapping[str, Any]) -> str:
    accepted = (
        f"At {share} exact, {percent(report[name])} of the lines ({_interval(report, name)})."
        for name, share in (("coverage_at_99", "99 %"), ("coverage_at_995", "99.5 %"))
    )
    return (
        '<div class="grid wide"><div class="card"><h3>Exact lines among those accepted</h3>'
        f'{coverage_chart(report)}<p class="faint">Accepting only the surest lines: how many, '
        f"and how many of them are exact. The dashed line is 99 %. {' '.join(accepted)}</p></div>"
        f'<div class="card"><h3>Exact lines by confidence</h3>{reliability_chart(report)}'
        '<p class="faint">Up to ten groups of about equal size. On the diagonal, confidence is '
        f"the share of exact lines; the mean distance is {percent(report['ece'])} "
        f"({_interval(report, 'ece')}).</p></div></div>"
    )
