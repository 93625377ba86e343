import base64
import io
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from penname import html
from penname.charts import coverage_chart
from penname.evaluate import evaluate
from penname.ground_truth.sources import GroundTruth
from penname.line_image import Source
from penname.predictions_page import predictions_page
from penname.recognizer import Alternative, Character, Prediction

EVIL = "<script>alert('1')</script>&\""
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Parses a page, checks that its tags are closed in order, and keeps what is in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def _png(width: int = 40, height: int = 20, ink: int = 0) -> bytes:
    array = np.full((height, width), 255, dtype=np.uint8)
    array[5:10, 5:30] = ink
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def _pictures(page: Page) -> list[np.ndarray]:
    """Return the inlined pictures, decoded."""
    sources = [value or "" for name, value in page.attributes if name == "src"]
    start = "data:image/png;base64,"
    assert all(source.startswith(start) for source in sources)
    encoded = (base64.b64decode(source.removeprefix(start)) for source in sources)
    return [np.asarray(Image.open(io.BytesIO(data))) for data in encoded]


def _characters(*pairs: tuple[str, float]) -> tuple[Character, ...]:
    return tuple(Character(c, 0, 1, confidence) for c, confidence in pairs)


class FakeReader:
    name = EVIL

    def read(self, sources: Iterable[Source], *, batch_size: int) -> list[Prediction]:
        texts = [EVIL, "ANNE", "M RIE", ""]
        return [
            Prediction("", text, 0.9 - i / 10, error="" if text else f"cannot: {EVIL}")
            for i, (text, _) in enumerate(zip(texts, sources, strict=True))
        ]


def _report_page() -> str:
    def line(file: str, text: str, image: bytes) -> GroundTruth:
        return GroundTruth(file, "t:1", text, f"source {EVIL}", "", image, "test")

    lines = [
        line(f"{EVIL}.png", "A<b>", _png()),
        line("anne.png", "ANNE", _png()),
        line("marie.png", "MARIE", _png(60)),
        line("broken.png", "LÉA", b"junk"),
    ]
    return evaluate(FakeReader(), lines, data=f"{EVIL}.csv").to_html()


def _predictions_page() -> str:
    doubtful = _characters(("L", 0.99), ("<", 0.9), ("A", 0.3))
    return predictions_page(
        [
            (_png(), Prediction("lea.png", "L<A", 0.87, doubtful, (Alternative(EVIL, 0.1),))),
            (_png(50), Prediction(EVIL, EVIL, 1.0, doubtful, reason=f"look {EVIL}")),
            (b"junk", Prediction("junk.png", "", 0.0, error=f"cannot read: {EVIL}")),
        ]
    )


@pytest.mark.parametrize(
    ("page", "scripts"), [(_report_page(), 0), (_predictions_page(), 1)], ids=["report", "read"]
)
def test_pages_are_self_contained_and_escaped(page: str, scripts: int) -> None:
    parsed = Page(page)
    assert parsed.tags.count("script") == scripts
    assert page.count("script-src 'sha256-") == scripts
    assert "b" not in parsed.tags
    assert EVIL in parsed.text
    assert not re.search(r"https?://|//\w|url\(|@import|<link|javascript:", _without_data(page))
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "prefers-color-scheme: dark" in page


def _without_data(page: str) -> str:
    return re.sub(r'"data:image/png;base64,[A-Za-z0-9+/=]*"', "", page)


def test_a_long_line_has_a_row_of_its_own() -> None:
    sizes = {(700, 64): True, (480, 30): False, (560, 64): False, (9000, 128): True}
    for (width, height), is_long in sizes.items():
        page = predictions_page([(_png(width, height), Prediction("1.png", "A", 0.9))])
        assert ('<div class="row long"' in page) == is_long
        (picture,) = _pictures(Page(page))
        assert picture.shape[1] == min(width, 1280)


def test_predictions_page_shows_pictures_beside_texts() -> None:
    page = Page(_predictions_page())
    assert [picture.shape for picture in _pictures(page)] == [(20, 40), (20, 50)]
    assert "no picture" in page.text
    assert "3 lines, 1 unreadable" in page.text
    assert f"or {EVIL}" in page.text
    assert f"cannot read: {EVIL}" in page.text
    assert f"100.0 % sure · look {EVIL}" in page.text
    assert "87.0 % sure" in page.text
    assert page.text.count("sure") == 2  # nothing is said of the unreadable one


def test_doubtful_characters_are_marked() -> None:
    page = _predictions_page()
    assert '<span title="99.0%">L</span>' in page
    assert '<span class="fair" title="90.0%">&lt;</span>' in page
    assert '<span class="low" title="30.0%">A</span>' in page


def test_characters_of_another_text_are_not_shown() -> None:
    other = Prediction("a.png", "MARIE", 0.9, _characters(("M", 0.1), ("A", 0.9)))
    page = predictions_page([(_png(), other)])
    assert '<div class="text">MARIE</div>' in page
    assert "1 line, 0 unreadable" in page


def test_report_page_says_what_the_report_says() -> None:
    page = Page(_report_page())
    for expected in [
        "4 lines scored, 0 skipped for want of a text, 1 unreadable",
        "Exact match25.00 %",
        "Exact, ignoring accents25.00 %",
        "Lines accepted at 99.5 % exact0.00 %",
        "length: 1-4333.33 %",
        f"source {EVIL}",
        "broken.png",
        f"cannot: {EVIL}",
        "writtenMARIE",
        "readM RIE",
        "readnothing",
    ]:
        assert expected in page.text
    assert page.tags.count("svg") == 2


def test_the_coverage_curve_has_room_for_its_lowest_point() -> None:
    """The surest line may be wrong, and then fewer lines are less exact than all."""
    curve = [[0.9, 0.01, 0.0], [0.8, 0.5, 0.5], [0.1, 1.0, 0.95]]
    chart = coverage_chart({"coverage": curve, "coverage_at_99": 0.0})
    (points,) = re.findall('points="(.*?)"', chart)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights == pytest.approx([230, 230 - 0.5 * 212, 230 - 0.95 * 212], abs=0.05)


def test_report_page_shows_the_pictures_of_the_worst_in_order() -> None:
    shapes = [picture.shape for picture in _pictures(Page(_report_page()))]
    assert shapes == [(20, 40), (20, 60)]  # the evil name, then MARIE; junk has no picture


def test_differences_are_marked_on_both_sides() -> None:
    page = _report_page()
    assert 'M<span class="wrong">A</span>RIE' in page
    assert 'M<span class="wrong"> </span>RIE' in page


def test_differences_are_escaped_where_the_texts_agree() -> None:
    class Markup(FakeReader):
        def read(self, sources: Iterable[Source], *, batch_size: int) -> list[Prediction]:
            return [Prediction("", "<b>X", 1.0) for _ in sources]

    lines = [GroundTruth("a.png", "t:1", "<b>Y", "names", "", _png())]
    page = Page(evaluate(Markup(), lines, data="t").to_html())
    assert "b" not in page.tags
    assert "written<b>Yread<b>X" in page.text


def test_report_page_of_a_perfect_reader() -> None:
    class Perfect(FakeReader):
        def read(self, sources: Iterable[Source], *, batch_size: int) -> list[Prediction]:
            return [Prediction("", "ANNE", 1.0) for _ in sources]

    lines = [GroundTruth("a.png", "t:1", "ANNE", "names", "", Path("a.png"))]
    page = Page(evaluate(Perfect(), lines, data="t").to_html())
    assert "100.00 %" in page.text
    for title in ("Worst predictions", "Unreadable images", "Most frequent confusions"):
        assert title not in page.text  # nothing to show


def test_large_pictures_are_made_smaller() -> None:
    page = Page(predictions_page([(_png(3000, 300), Prediction("a", "A", 1.0))]))
    assert [picture.shape for picture in _pictures(page)] == [(128, 1280)]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0364, "3.64 %"), (1.0, "100.00 %"), (0.9996, "99.96 %"), (0, "0.00 %")]
)
def test_percent(share: float, text: str) -> None:
    assert html.percent(share) == text


def test_characters_that_cannot_be_seen_are_named() -> None:
    assert [html.shown(c) for c in ("", " ", "A")] == ["nothing", "space", "A"]
