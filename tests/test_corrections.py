"""Corrections: every one is used or refused, and a table written is the ground truth it was of."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from penname.errors import GroundTruthError
from penname.ground_truth.corrections import ROWS, Corrections, write_table
from penname.ground_truth.sources import GroundTruth, SourceOptions, read_sources

HEAD = "file,text,suggestion,score,correction\n"


def lines(number: int = 4) -> list[GroundTruth]:
    texts = ("ADA", "MARC", None, "EVA")
    splits = ("train", "", "test", "validation")
    return [
        GroundTruth(
            f"{i}.png", f"t:{i}", texts[i % 4], "s", "ab"[i % 2], bytes([i % 256]), splits[i % 4]
        )
        for i in range(number)
    ]


def reviewed(folder: Path, rows: str, head: str = HEAD) -> Path:
    file = folder / "reviewed.csv"
    file.write_text(head + rows, "utf-8")
    return file


def test_corrections_change_their_lines_alone_and_are_counted(tmp_path: Path) -> None:
    rows = '1.png,MARC,MARK,0.9,"MARK, LEE"\n0.png,ADA,IDA,0.5,\n3.png,EVA,,0.2,unreadable\n'
    corrections = Corrections.read(reviewed(tmp_path, rows))
    texts = [line.text for line in corrections.apply(lines())]
    assert texts == ["ADA", "MARK, LEE", None, "unreadable"]
    assert (corrections.changed, corrections.aside) == (2, ["t:3"])


def test_a_spreadsheet_may_save_a_review_its_own_way(tmp_path: Path) -> None:
    file = reviewed(tmp_path, "1.png;MARC;MARK, LEE\n", "\ufefffile;text;Correction\n")
    corrections = Corrections.read(file)
    assert [line.text for line in corrections.apply(lines())][1] == "MARK, LEE"


def test_of_two_columns_of_a_name_the_first_counts_and_a_number_is_a_text(tmp_path: Path) -> None:
    file = reviewed(tmp_path, "1.png,MARC,MARK,zz\n", "file,text,correction,Text\n")
    assert Corrections.read(file).texts == {("1.png", "MARC"): "MARK"}
    (other := tmp_path / "r.jsonl").write_text('{"file": "1.png", "text": "MARC", "correction": 5}')
    assert Corrections.read(other).texts == {("1.png", "MARC"): "5"}


def test_one_correction_of_lines_in_two_tables_is_refused(tmp_path: Path) -> None:
    same = [replace(line, place=place) for place in "xy" for line in lines(2)]
    corrections = Corrections.read(reviewed(tmp_path, "1.png,MARC,,,MARK\n"))
    with pytest.raises(GroundTruthError, match=r"1\.png with the text 'MARC' is in x and in y"):
        list(corrections.apply(same))


def test_a_correction_that_is_the_text_is_no_change(tmp_path: Path) -> None:
    corrections = Corrections.read(reviewed(tmp_path, "1.png,MARC,,,MARC\n"))
    assert [line.text for line in corrections.apply(lines())] == ["ADA", "MARC", None, "EVA"]
    assert corrections.changed == 0


def test_a_correction_finds_its_line_however_accents_are_encoded(tmp_path: Path) -> None:
    corrections = Corrections.read(reviewed(tmp_path, "1.png,ZOÉ,,,ZOE\n"))
    decomposed = replace(lines()[1], text=unicodedata.normalize("NFD", "ZOÉ"))
    assert [line.text for line in corrections.apply([decomposed])] == ["ZOE"]


def test_a_line_without_text_can_be_given_one(tmp_path: Path) -> None:
    corrections = Corrections.read(reviewed(tmp_path, "2.png,,,,ZOÉ\n"))
    assert [line.text for line in corrections.apply(lines())][2] == "ZOÉ"


@pytest.mark.parametrize("row", ["1.png,MARK,,,X\n", "9.png,MARC,,,X\n"])
def test_a_correction_of_no_line_is_an_error_and_writes_nothing(tmp_path: Path, row: str) -> None:
    corrections = Corrections.read(reviewed(tmp_path, row))
    with pytest.raises(GroundTruthError, match="1 corrections are of no line"):
        write_table(corrections.apply(lines()), tmp_path / "out.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["reviewed.csv"]


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        (
            "file,text\n",
            "1.png,MARC\n",
            "no column correction; give a CSV with file, text, correct",
        ),
        (HEAD, "", "reviewed.csv: no row; give a CSV"),
        ("", "", "reviewed.csv: no row; give a CSV"),
        (HEAD, "1.png,MARC,,0.9,DUPONT, JEAN\n", "reviewed.csv:2: 6 cells, where the header has 5"),
        (HEAD, '1.png,MARC,,0.9,"X\n2.png,A,,0.9,Y\n', "write a quotation mark in a text twice"),
        (HEAD, '1.png,MARC,,0.9,"X\n2.png,A,,0.9,Y"\n', "goes on below its line; close its quot"),
        (
            HEAD,
            "1.png,MARC,,,X\n1.png,MARC,,,Y\n",
            "reviewed.csv:3: 1.png is 'X' and 'Y'; keep one",
        ),
    ],
)
def test_a_table_that_is_none_or_says_two_things_is_refused(
    tmp_path: Path, head: str, rows: str, message: str
) -> None:
    with pytest.raises(GroundTruthError, match=message):
        Corrections.read(reviewed(tmp_path, rows, head))


def test_different_pictures_of_one_name_and_text_are_not_corrected_alike(tmp_path: Path) -> None:
    one, other = (replace(lines()[1], image=image, row=f"t:{image!r}") for image in (b"a", b"b"))
    corrections = Corrections.read(reviewed(tmp_path, "1.png,MARC,,,MARK\n"))
    assert [line.text for line in corrections.apply([one, one])] == ["MARK", "MARK"]
    with pytest.raises(GroundTruthError, match="t:b'a' and t:b'b' are different pictures, both"):
        list(Corrections.read(corrections.path).apply([one, other]))


def test_empty_cells_beyond_the_header_are_no_mistake(tmp_path: Path) -> None:
    corrections = Corrections.read(reviewed(tmp_path, "1.png,MARC,,0.9,MARK,,\n"))
    assert corrections.texts == {("1.png", "MARC"): "MARK"}


def test_a_parquet_written_is_read_as_the_same_lines(tmp_path: Path) -> None:
    given = lines(ROWS + 3)  # more than are written at once
    out = tmp_path / "out.parquet"
    assert write_table(iter(given), out) == len(given)
    read = list(read_sources([out], SourceOptions()))
    names = ("file", "text", "source", "group", "split", "image")
    for one, other in zip(given, read, strict=True):
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]


def test_a_csv_written_beside_its_pictures_finds_them(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"one")
    given = [GroundTruth("1.png", "t:1", "A,\nB", "s", "w", tmp_path / "1.png", "test")]
    write_table(given, tmp_path / "out.csv")
    (read,) = read_sources([tmp_path / "out.csv"], SourceOptions())
    assert (read.file, read.text, read.group, read.split) == ("1.png", "A, B", "w", "test")
    assert read.image == tmp_path / "1.png"
    write_table([read], tmp_path / "out.parquet")
    (again,) = read_sources([tmp_path / "out.parquet"], SourceOptions())
    assert again.image == b"one"


def test_a_csv_written_elsewhere_says_where_the_pictures_lie(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    picture = tmp_path / "train" / "1.png"
    picture.write_bytes(b"one")
    (tmp_path / "other").mkdir()
    write_table([GroundTruth("1.png", "t:1", "A", "s", "", picture)], tmp_path / "other" / "t.csv")
    (read,) = read_sources([tmp_path / "other" / "t.csv"], SourceOptions())
    assert read.file == "../train/1.png"
    assert isinstance(read.image, Path)
    assert read.image.read_bytes() == b"one"


def test_a_csv_written_through_a_link_says_where_the_pictures_lie(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "deep")
    (picture := tmp_path / "1.png").write_bytes(b"one")
    write_table([GroundTruth("1.png", "t:1", "A", "s", "", picture)], tmp_path / "link" / "t.csv")
    (read,) = read_sources([tmp_path / "link" / "t.csv"], SourceOptions())
    assert read.file == "../../1.png"
    assert read.image.read_bytes() == b"one"  # type: ignore[union-attr]


def test_a_table_is_not_written_over_another_nor_of_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match=r"as .parquet or .csv"):
        write_table(lines(), tmp_path / "out.xlsx")
    write_table([], tmp_path / "out.csv")
    with pytest.raises(GroundTruthError, match="exists"):
        write_table(lines(1), tmp_path / "out.csv")
    missing = GroundTruth("2.png", "t:2", "A", "s", "", tmp_path / "2.png")
    with pytest.raises(GroundTruthError, match=r"t:2: .*put the picture there"):
        write_table([missing], tmp_path / "out.parquet")
    with pytest.raises(GroundTruthError, match=r"t:2: no picture .*2.png; put it there"):
        write_table([missing], tmp_path / "other.csv")
    with pytest.raises(GroundTruthError, match=r"t:0: the picture is not a file; name --out"):
        write_table(lines(), tmp_path / "other.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
