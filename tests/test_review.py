"""Pages on which lines are corrected, in a real browser: what is typed is what is saved."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from conftest import png

from penname.audit import Audit, Finding
from penname.audit_page import audit_page
from penname.ground_truth.corrections import Corrections
from penname.ground_truth.sources import read_sources
from penname.ground_truth.tables import SourceOptions
from penname.predictions_page import predictions_page
from penname.recognizer import Alternative, Prediction

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--virtual-time-budget=5000", "--dump-dom"),
]
QUOTED = 'O"BRIEN, ANNE'
EVIL = '"><script>alert(1)</script>'
# What a person does goes into it; downloads are caught, and `told` is written into the page.
DRIVER = """
(async () => {
const blobs = [], names = [];
URL.createObjectURL = blob => { blobs.push(blob); return "blob:"; };
HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
const fields = [...document.querySelectorAll(".row input")];
const type = (input, text) => { input.value = text; input.dispatchEvent(new Event("input")); };
const enter = input => input.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
const press = (row, words) => [...row.querySelectorAll("button")]
  .find(button => button.textContent === words).click();
const leaves = () => window.dispatchEvent(new Event("beforeunload", {cancelable: true}));
const seen = () => [...document.querySelectorAll(".row")].filter(row => row.offsetParent).length;
const told = {saved: {}};
%s
told.count = document.querySelector("#told").textContent;
for (const [i, name] of names.entries()) told.saved[name] = await blobs[i].text();
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify(told);
document.body.append(result);
})();
"""

pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium; install the package chromium")


def _browse(page: Path) -> str:
    """Return the page as it is once its script has run."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={page.parent / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.fixture
def drive(tmp_path: Path) -> Callable[[str, str], dict[str, Any]]:
    """Return a function of a page and the script of a person, which gives what was told."""

    def driven(page: str, person: str) -> dict[str, Any]:
        """Chromium lets no second script in, so this copy comes without its policy."""
        free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert free != page
        file = tmp_path / "page.html"
        file.write_text(free.replace("</body>", f"<script>{DRIVER % person}</script></body>"))
        found = re.search(r'<pre id="result">(.*?)</pre>', _browse(file), re.DOTALL)
        assert found, "the script of the test did not come to its end"
        told: dict[str, Any] = json.loads(unescape(found[1]))
        return told

    return driven


def _predictions_page() -> str:
    other = (Alternative("ANNA", 0.2), Alternative("", 0.1))
    return predictions_page(
        [
            (png("A"), Prediction("a.png", "ANNE", 0.75, alternatives=other)),
            (png("A"), Prediction("b.png", "BEA", 0.5, reason="doubtful")),
            (png("A"), Prediction("c.png", "", 0.25, reason="blank")),
            (b"junk", Prediction("d.png", "", 0.0, error="no image, none")),
            (png("A"), Prediction(EVIL, EVIL, 1.0)),
            (png("A"), Prediction("f.png", "FEE", 1.0)),
        ]
    )


def test_the_script_of_a_page_may_run(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(_predictions_page())
    assert ">0 of 5 checked<" in _browse(page)


def test_readings_are_checked_and_saved(
    drive: Callable[[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    told = drive(
        _predictions_page(),
        f"""
        told.asks = [leaves()];
        enter(fields[0]);
        told.next = fields.indexOf(document.activeElement);
        enter(fields[0]);
        press(fields[0].closest(".row"), "ANNA");
        type(fields[1], ' {QUOTED} ');
        enter(fields[1]);
        enter(fields[2]);
        told.asks.push(leaves());
        told.seen = [seen()];
        document.querySelector("#doubtful").checked = true;
        told.seen.push(seen());
        enter(fields[1]);
        told.last = fields.indexOf(document.activeElement);
        document.querySelector("#doubtful").checked = false;
        press(fields[4].closest(".row"), "UNREADABLE");
        document.querySelector("#table").click();
        document.querySelector("#truth").click();
        told.asks.push(leaves());
        """,
    )
    assert told["next"] == 1
    assert told["last"] == 2
    assert told["seen"] == [6, 2]
    assert told["asks"] == [True, False, True]  # an event that is not cancelled lets people go
    assert told["count"] == "4 of 5 checked"
    assert told["saved"]["checked.csv"] == (
        "file,text,confidence,error,reason,checked\n"
        "a.png,ANNA,0.750000,,,yes\n"
        'b.png,"O""BRIEN, ANNE",0.500000,,doubtful,yes\n'
        "c.png,EMPTY,0.250000,,blank,yes\n"
        'd.png,,0.000000,"no image, none",,\n'
        '"""><script>alert(1)</script>","""><script>alert(1)</script>",1.000000,,,\n'
        "f.png,UNREADABLE,1.000000,,,yes\n"
    )
    truth = tmp_path / "truth.csv"
    truth.write_text(told["saved"]["truth.csv"])
    lines = [(line.file, line.text) for line in read_sources([truth], SourceOptions())]
    assert lines == [
        ("a.png", "ANNA"),
        ("b.png", QUOTED),
        ("c.png", "EMPTY"),
        ("f.png", "UNREADABLE"),
    ]


def test_ground_truth_is_corrected_and_saved(
    drive: Callable[[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    findings = tuple(
        Finding(f"{name}.png", f"t.csv:{i}", name, "X", 0.5, "", i) for i, name in enumerate("ABC")
    )
    told = drive(
        audit_page(Audit("m", findings, (), ()), "t.csv", "", dict.fromkeys(range(3), png("A"))),
        f"""
        enter(fields[0]);
        told.next = fields.indexOf(document.activeElement);
        press(fields[1].closest(".row"), "suggestion");
        type(fields[2], '{QUOTED}');
        document.querySelector("#save").click();
        """,
    )
    assert told["next"] == 1
    assert told["count"] == "2 of 3 checked"
    reviewed = tmp_path / "reviewed.csv"
    reviewed.write_text(told["saved"]["reviewed.csv"])
    assert Corrections.read(reviewed).texts == {("B.png", "B"): "X", ("C.png", "C"): QUOTED}
