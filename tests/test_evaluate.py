import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from penname import metrics
from penname.errors import GroundTruthError, OptionError
from penname.evaluate import EvaluateOptions, evaluate
from penname.ground_truth.sources import GroundTruth
from penname.line_image import Source
from penname.recognizer import Prediction
from penname.report import Report

BROKEN = "cannot read the image"


@dataclass
class FakeReader:
    """Reads each image, which is its own answer: text, tab, confidence; `!` is unreadable."""

    name: str = "fake"
    batches: list[int] = field(default_factory=list)

    def read(self, sources: Iterable[Source], *, batch_size: int) -> list[Prediction]:
        predictions = [self._one(source) for source in sources]
        self.batches.append(len(predictions))
        return predictions

    def _one(self, source: Source) -> Prediction:
        assert isinstance(source, bytes)
        if source == b"!":
            return Prediction("", "LEFTOVER", 0.5, error=BROKEN)  # neither may count
        text, confidence = source.decode().split("\t")
        return Prediction("", text, float(confidence))


def _line(
    number: int, reference: str | None, answer: str, source: str = "names", split: str = ""
) -> GroundTruth:
    image = answer.encode()
    return GroundTruth(f"{number}.png", f"t.csv:{number}", reference, source, "", image, split)


LINES = [
    _line(1, "ALEX", "AIEK\t0.4", "names", "test"),  # 2 edits
    _line(2, "ANNIE", "ANNIE\t0.99", "names", "train"),
    _line(3, "Zoé", "ZOE\t0.9", "german", "test"),  # 2 edits, case and accent
    _line(4, "JEAN-MARIE", "JEAN MARIE\t0.8", "names", "test"),  # 1 edit, one word for two
    _line(5, None, "NOBODY\t0.9"),
    _line(6, "EMPTY", "!"),  # 5 edits
    _line(7, "", "NOBODY\t0.9"),
    _line(8, "VAN DER BERGHE", "VAN BERGHE\t0.7", "names", "train"),  # 4 edits, one word of three
]
CHARACTERS = 4 + 5 + 3 + 10 + 5 + 14


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate(FakeReader(), LINES, data="t.csv")


def test_known_answers(report: Report) -> None:
    values = report.to_json()
    assert values["n"] == 6
    assert values["exact"] == values["correct_words"] == 1 / 6
    assert values["cer"] == (2 + 2 + 1 + 5 + 4) / CHARACTERS
    assert values["wer"] == (1 + 1 + 2 + 1 + 1) / (1 + 1 + 1 + 1 + 1 + 3)
    # position by position: A.E., ANNIE, Z.., JEAN.MARIE, nothing, "VAN " and then out of step
    matches = sum(a == b for a, b in zip("VAN DER BERGHE", "VAN BERGHE", strict=False))
    assert values["correct_characters"] == (2 + 5 + 0 + 1 + 9 + matches) / CHARACTERS
    assert values["exact_ignoring_case"] == 1 / 6
    assert values["exact_ignoring_accents"] == 1 / 6
    assert values["exact_ignoring_spaces"] == 2 / 6
    assert values["exact_ignoring_all"] == 3 / 6


def test_json_keys_are_the_contract(report: Report) -> None:
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    rates = [
        *("exact", "cer", "wer", "correct_characters", "correct_words"),
        *("exact_ignoring_case", "exact_ignoring_accents"),
        *("exact_ignoring_spaces", "exact_ignoring_all"),
    ]
    others = [
        *("model", "data", "n", "groups", "skipped", "skipped_lines", "errors"),
        *("by", "hard", "confusions", "worst", "reliability", "coverage"),
    ]
    rates += ["ece", "coverage_at_99", "coverage_at_995"]
    assert set(values) == {*rates, *(f"{name}_ci" for name in rates), *others}
    for name in rates:
        low, high = values[f"{name}_ci"]
        assert low <= values[name] <= high
    assert (values["model"], values["data"]) == ("fake", "t.csv")


def test_intervals_are_drawn_from_writers_where_there_are_enough() -> None:
    """Twelve writers of ten lines, read all right or all wrong: twelve facts, not 120."""
    lines = [
        replace(_line(10 * i + j, "AB", "AB\t0.9" if i % 3 else "XY\t0.2"), group=f"w{i}")
        for i in range(12)
        for j in range(10)
    ]
    options = EvaluateOptions(resamples=4000)
    report = evaluate(FakeReader(), lines, data="t.csv", options=options)
    alone = evaluate(FakeReader(), [replace(x, group="") for x in lines], options=options)
    assert (report.groups, alone.groups) == (12, 0)
    assert report.rates["cer"].value == alone.rates["cer"].value == 1 / 3
    for rates, n in ((report.rates, 12), (alone.rates, 120)):
        margin = 1.96 * np.sqrt(1 / 3 * 2 / 3 / n)  # of a coin that falls so in a third
        for rate in (rates["cer"], rates["exact"]):
            assert rate.high - rate.low == pytest.approx(2 * margin, rel=0.1)
    assert report.trust["ece"].high - report.trust["ece"].low > 1.5 * (
        alone.trust["ece"].high - alone.trust["ece"].low
    )
    assert "0 unreadable; intervals over 12 writers or pages" in report.table()
    assert "from a bootstrap over 12 writers or pages." in report.to_html()
    assert "from a bootstrap over lines." in alone.to_html()


def test_of_few_writers_the_report_says_that_lines_were_drawn() -> None:
    """Lines without a writer count for none."""
    lines = [replace(_line(i, "AB", "AB\t0.9"), group=f"w{i % 9}") for i in range(90)]
    lines += [_line(90 + i, "AB", "XY\t0.9") for i in range(10)]
    report = evaluate(FakeReader(), lines)
    assert report.groups == report.to_json()["groups"] == 9
    assert report.rates["exact"].high - report.rates["exact"].low < 0.15  # 90 % of 100
    assert "intervals over lines, so too narrow for 9 writers or pages" in report.table()


def test_a_slice_of_few_writers_has_an_interval_that_says_nothing() -> None:
    lines = [replace(_line(i, "AB", "AB\t0.9"), group=f"w{i % 10}") for i in range(90)]
    lines += [replace(_line(i, "AZ", "A\t0.9"), group=f"w{i % 9}") for i in range(18)]
    report = evaluate(FakeReader(), lines)
    by = report.to_json()["by"]["letter"]
    found = {x["value"]: (x["n"], x["exact_ci"], x["cer_ci"]) for x in by}
    assert found["Z"] == (18, [0.0, 1.0], [0.0, 1.0])
    assert found["B"] == (90, [1.0, 1.0], [0.0, 0.0])
    n, (low, high), _ = found["A"]
    assert n == 108
    assert 0.6 < low < 90 / 108 < high < 0.95
    assert re.search(r"letter +Z +18 +0\.00 % +- +50\.00 % +-", report.table(slices=True))
    cells = ("letter: Z", "18", "0.00 %", "-", "50.00 %", "-")
    assert "".join(f"<td>{cell}</td>" for cell in cells) in report.to_html()


def test_rows_without_text_are_skipped_and_named(report: Report) -> None:
    values = report.to_json()
    assert values["skipped"] == 2
    assert values["skipped_lines"] == [
        {"file": "5.png", "row": "t.csv:5"},
        {"file": "7.png", "row": "t.csv:7"},
    ]


def test_unreadable_images_are_scored_as_empty_and_named(report: Report) -> None:
    assert report.to_json()["errors"] == [{"file": "6.png", "row": "t.csv:6", "error": BROKEN}]
    line = report.lines[4]
    assert (line.file, line.hypothesis, line.confidence, line.edits) == ("6.png", "", 0.0, 5)
    assert report.worst[0] == line


def test_slices(report: Report) -> None:
    by = report.to_json()["by"]
    assert list(by) == ["source", "split", "length", "letter", "signs"]  # no picture is one
    assert [(x["value"], x["n"]) for x in by["source"]] == [("german", 1), ("names", 5)]
    lengths = [(x["value"], x["n"]) for x in by["length"]]
    assert lengths == [("1-4", 2), ("5-8", 2), ("9-12", 1), ("13+", 1)]
    assert [(x["value"], x["n"]) for x in by["split"]] == [("test", 3), ("train", 2)]  # "" left out
    test = by["split"][0]
    assert test["slice"] == "split"
    assert (test["exact"], test["cer"]) == (0.0, (2 + 2 + 1) / (4 + 3 + 10))
    assert test["cer_ci"][0] <= test["cer"] <= test["cer_ci"][1]


def test_pictures_that_can_be_seen_are_sliced_by_their_look() -> None:
    class Blind(FakeReader):
        def _one(self, source: Source) -> Prediction:
            assert isinstance(source, np.ndarray)  # decoded, and so decoded once
            return Prediction("", "A", 0.9)

    def picture(width: int) -> GroundTruth:
        array = np.full((20, width), 255, np.uint8)
        array[5:15, 5:8] = 0
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        text = "A" if width == 40 else "B"
        return GroundTruth("a.png", "t:1", text, "", "", stream.getvalue())

    report = evaluate(Blind(), [picture(width) for width in (40, 60, 60)])
    by = report.to_json()["by"]
    assert [(x["value"], x["n"], x["exact"]) for x in by["picture width"]] == [
        ("40", 1, 1.0), ("60", 2, 0.0)
    ]  # fmt: skip
    assert [(x["value"], x["n"]) for x in by["printed label"]] == [("no", 3)]


def test_hard_slices_have_lines_enough_and_come_worst_first() -> None:
    """Of 100 lines, those with Q are read half of the time, with X nine of ten, with Z never."""
    answers = ["Q"] * 30 + ["x"] * 30 + ["X"] * 27 + ["y"] * 3 + ["z"] * 10
    references = ["Q"] * 60 + ["X"] * 30 + ["Z"] * 10
    pairs = zip(references, answers, strict=True)
    lines = [_line(i, text, f"{answer}\t0.9") for i, (text, answer) in enumerate(pairs)]
    report = evaluate(FakeReader(), lines)
    letters = [(x.value, x.rates["exact"].value) for x in report.hard if x.name == "letter"]
    assert letters == [("Q", 0.5)]  # Z has 10 lines, X is read better than the rest
    assert "letter      Q" in report.table()
    assert "letter  Z" not in " ".join(report.table().split())
    assert "letter Z" in " ".join(report.table(slices=True).split())


def test_confusions_leave_unreadable_images_out(report: Report) -> None:
    confusions = report.to_json()["confusions"]
    assert {"reference": "L", "hypothesis": "I", "count": 1} in confusions
    assert {"reference": "-", "hypothesis": " ", "count": 1} in confusions
    assert {"reference": "D", "hypothesis": "", "count": 1} in confusions
    assert sum(x["count"] for x in confusions) == 2 + 2 + 1 + 4


def test_confusions_come_most_frequent_first() -> None:
    lines = [_line(i, "AB", answer) for i, answer in enumerate(["AX\t1", "AX\t1", "YB\t1"])]
    confusions = evaluate(FakeReader(), lines).to_json()["confusions"]
    assert [tuple(x.values()) for x in confusions] == [("B", "X", 2), ("A", "Y", 1)]


def test_worst_are_sorted_by_edits_then_the_surest_first(report: Report) -> None:
    worst = report.to_json()["worst"]
    assert [x["file"] for x in worst] == ["6.png", "8.png", "3.png", "1.png", "4.png"]
    assert worst[2] == {
        "file": "3.png",
        "reference": "Zoé",
        "hypothesis": "ZOE",
        "confidence": 0.9,
        "edits": 2,
    }
    assert report.pictures == tuple(LINES[int(x["file"][0]) - 1].image for x in worst)


def test_chunks_change_nothing() -> None:
    lines = [_line(i, "ABCD", f"{'ABCD'[: i % 5]}\t0.{i % 7}") for i in range(150)]
    reader = FakeReader()
    small = evaluate(reader, iter(lines), options=EvaluateOptions(batch_size=1))
    assert (len(reader.batches), sum(reader.batches)) == (5, 150)  # 32 batches a chunk
    large = evaluate(FakeReader(), lines, options=EvaluateOptions(batch_size=64))
    assert small.to_json() == large.to_json()
    assert small.pictures == large.pictures
    assert len(small.worst) == 50


def test_texts_are_compared_in_nfc_with_single_spaces() -> None:
    line = _line(1, " JEAN  Zoe\u0301 ", "JEAN Zoé\t1")
    report = evaluate(FakeReader(), [line])
    assert report.rates["exact"].value == 1.0
    assert report.lines[0].reference == "JEAN Zoé"


def test_raw_labels_are_scored_as_they_are() -> None:
    lines = [_line(1, "UNREADABLE", "MARTIN\t1"), _line(2, "empty", "EMPTY\t1")]
    report = evaluate(FakeReader(), lines)
    assert report.to_json()["n"] == 2
    assert report.rates["exact"].value == 0.0


def test_the_seed_decides_the_intervals() -> None:
    lines = [_line(i, "ABCD", f"{'ABCD'[: i % 5]}\t1") for i in range(40)]
    first, again, other = (
        evaluate(FakeReader(), lines, options=EvaluateOptions(seed=s, resamples=20)).rates["cer"]
        for s in (1, 1, 2)
    )
    assert first == again != other
    assert first.value == other.value


def test_ground_truth_without_any_text_is_an_error() -> None:
    with pytest.raises(GroundTruthError, match=r"t\.csv has no row with a text \(2 without\)"):
        evaluate(FakeReader(), [LINES[4], LINES[6]], data="t.csv")


def test_a_reader_that_loses_a_line_is_a_bug_that_shows() -> None:
    class Careless(FakeReader):
        def read(self, sources: Iterable[Source], *, batch_size: int) -> list[Prediction]:
            return super().read(sources, batch_size=batch_size)[1:]

    with pytest.raises(ValueError, match="shorter"):
        evaluate(Careless(), LINES)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 0},
        {"resamples": 0},
        {"seed": -1},
        {"batch_size": 10**20},
        {"resamples": 10**9},
    ],
)
def test_options_are_checked(values: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="at least"):
        replace(EvaluateOptions(), **values)


def test_calibration_and_coverage(report: Report) -> None:
    values = report.to_json()
    assert values["coverage_at_99"] == 1 / 6  # only ANNIE, the surest, is right
    confidences = [0.4, 0.99, 0.9, 0.8, 0.0, 0.7]
    correct = [0, 1, 0, 0, 0, 0]
    bins = metrics.reliability(confidences, correct)
    assert values["coverage_at_995"] == 1 / 6
    assert values["ece"] == metrics.expected_calibration_error(bins)
    assert sum(x["n"] for x in values["reliability"]) == 6
    assert values["coverage"][-1] == pytest.approx([0.0, 1.0, 1 / 6])


def test_long_coverage_curves_are_thinned_and_keep_their_ends() -> None:
    lines = [_line(i, "A", f"A\t{i / 1000}") for i in range(1000)]
    curve = evaluate(FakeReader(), lines).to_json()["coverage"]
    assert len(curve) == 200
    assert curve[0] == [0.999, 0.001, 1.0]
    assert curve[-1] == [0.0, 1.0, 1.0]


def test_predictions_table(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    report.write_predictions(path)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["1.png", "2.png", "3.png", "4.png", "6.png", "8.png"]
    assert rows[2] == {
        "file": "3.png",
        "reference": "Zoé",
        "hypothesis": "ZOE",
        "confidence": "0.900000",
    }
    pairs = [(row["reference"], row["hypothesis"]) for row in rows]
    assert report.rates["cer"].value == sum(metrics.cer(*x)[0] for x in pairs) / CHARACTERS


def test_plain_table_names_every_score(report: Report) -> None:
    table = report.table()
    assert "fake on t.csv: 6 lines, 2 skipped for want of a text, 1 unreadable" in table
    for title in metrics.TITLES.values():
        assert title in table
    assert f"{'Exact match':37}16.67 %" in table
    assert re.search(r"Lines accepted at 99.5 % exact +16.67 % +0.00 to 50.00 %", table)


def test_markdown_tables_hold_any_character() -> None:
    report = evaluate(FakeReader(), [_line(1, "A|B", "A B\t1")], data="t.csv")
    rows = report.to_markdown().splitlines()
    assert rows[0] == "# fake on t.csv"
    assert r"| \| | space | 1 |" in rows
    assert "| Exact match | 0.00 % | 0.00 to 0.00 % |" in rows


def test_one_in_198_is_more_than_half_a_percent() -> None:
    lines = [_line(i, "A", "A\t0.9" if i else "B\t0.9") for i in range(198)]
    values = evaluate(FakeReader(), lines).to_json()
    assert (values["coverage_at_99"], values["coverage_at_995"]) == (1.0, 0.0)


def test_accents_may_be_encoded_either_way() -> None:
    values = evaluate(FakeReader(), [_line(1, "Zo\u00e9", "Zoe\u0301\t0.9")]).to_json()
    assert (values["exact"], values["cer"]) == (1.0, 0.0)


def test_hard_slices_have_enough_lines_and_are_the_worst() -> None:
    """Nine sources of 20 lines, each with one more wrong, one of 19 and one without a mistake."""
    lines = []
    for source in range(1, 10):
        answers = ["B\t0.9"] * (source + 5) + ["A\t0.9"] * (15 - source)
        lines += [_line(0, "A", answer, f"s{source}") for answer in answers]
    lines += [_line(0, "A", "B\t0.9", "few")] * 19 + [_line(0, "A", "A\t0.9", "good")] * 300
    hard = evaluate(FakeReader(), lines).hard
    assert [x.value for x in hard] == [f"s{source}" for source in range(9, 1, -1)]
