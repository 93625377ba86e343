"""Review: what pages share on which a person corrects lines in a browser, without a server.

Each line has a field for its text. What is typed stays in the browser until a button of the page
writes it as a CSV; who leaves before that is asked.
"""

from __future__ import annotations

from html import escape

STYLE = """<style>
.row { grid-template-columns: minmax(0, 300px) minmax(0, 1fr) 285px; padding: 10px 18px; }
.long { grid-template-columns: 1fr; }
@media (max-width: 860px) { .row { grid-template-columns: 1fr; } }
.bar { position: sticky; top: 0; background: var(--ground); padding: 12px 0; z-index: 1; }
button, .row input { font: inherit; color: inherit; background: var(--card); padding: 4px 10px;
  border: 1px solid var(--line); border-radius: 6px; }
button { cursor: pointer; margin: 5px 4px 0 0; font-size: 13px; max-width: 100%;
  overflow-wrap: anywhere; text-align: left; }
.row input { width: 100%; margin-top: 6px; padding: 2px 10px; }
.row button { padding: 1px 9px; }
.row .faint button { border: 0; padding: 0; margin: 0; background: none; text-decoration: underline;
  text-decoration-color: var(--line); text-underline-offset: 3px; }
.row input:not(:placeholder-shown) { border-color: var(--accent); }
label { margin-left: 14px; }
main:has(#doubtful:checked) .row[data-reason=""] { display: none; }
</style>"""

# A page adds what its buttons save. `typed` is what a person says of a row, or empty.
SCRIPT = """
const field = row => row.querySelector("input");
const rows = [...document.querySelectorAll(".row")].filter(field);
const typed = row => field(row)?.value.trim() ?? "";
const done = () => rows.filter(typed);
let unsaved = false;
const told = () => { document.querySelector("#told").textContent =
  `${done().length} of ${rows.length} checked`; };
const put = (row, value) => { field(row).value = value; unsaved = true; told(); };
const cell = text => /[",\\r\\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
const save = (name, head, lines) => {
  const text = [head, ...lines].map(line => line.map(cell).join(",") + "\\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = name;
  link.click();
  unsaved = false;
};
for (const row of rows) {
  for (const button of row.querySelectorAll("button"))
    button.onclick = () => put(row, button.value);
  field(row).oninput = () => { unsaved = true; told(); };
  field(row).onkeydown = event => {
    if (event.key !== "Enter" || event.isComposing) return;
    if (!typed(row) && field(row).dataset.enter) put(row, field(row).dataset.enter);
    const next = rows.slice(rows.indexOf(row) + 1).find(other => other.offsetParent);
    if (next) field(next).focus();
  };
}
window.onbeforeunload = event => { if (unsaved) event.preventDefault(); };
told();
"""


def bar(*buttons: tuple[str, str], doubtful: int = 0) -> str:
    """Return what stays at the top: buttons of (id, words), and how many lines are checked.

    Where there are doubtful lines, they can be shown alone.
    """
    row = "".join(f'<button id="{name}">{escape(words)}</button> ' for name, words in buttons)
    row += '<span class="faint" id="told"></span>'
    if doubtful:
        row += (
            '<label class="faint"><input type="checkbox" id="doubtful"> '
            f"only what is doubtful ({doubtful:,})</label>"
        )
    return f'<div class="bar">{row}</div>'


def field(enter: str = "") -> str:
    """Return the field of a line; the key Enter goes to the next one.

    Enter puts the text `enter` into a field that is empty.
    """
    attributes = f'placeholder="correction" aria-label="correction" data-enter="{escape(enter)}"'
    return f"<input {attributes}>"


def choice(words: str, text: str) -> str:
    """Return a button that puts a text into the field of its line."""
    return f'<button value="{escape(text)}">{escape(words)}</button>'
