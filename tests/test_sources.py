from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penname.errors import GroundTruthError
from penname.ground_truth.sources import (
    GroundTruth,
    GroupedSourceOptions,
    SourceOptions,
    count_sources,
    open_sources,
    read_sources,
)

if TYPE_CHECKING:
    from pathlib import Path


def read(*paths: Path, **options: str) -> list[GroundTruth]:
    return list(read_sources(paths, GroupedSourceOptions(**options)))


def write(path: Path, text: str | bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("tables", "images"),
    [
        ("", "train_v2/train"),
        ("", "train_v2"),
        ("", "train"),
        ("", "."),
        ("train_v2", "train_v2/train"),
        ("train_v2", "train_v2"),
        ("train", "train"),
    ],
)
def test_kaggle_layouts(tmp_path: Path, tables: str, images: str) -> None:
    table = "FILENAME,IDENTITY\nTRAIN_00001.jpg,BALTHAZAR\nTRAIN_00002.jpg,\n"
    write(tmp_path / tables / "written_name_train_v2.csv", table)
    paths = [write(tmp_path / images / f"TRAIN_0000{i}.jpg") for i in (1, 2)]
    first, second = read(tmp_path)
    assert first == GroundTruth(
        file="TRAIN_00001.jpg",
        row="written_name_train_v2.csv:2",
        text="BALTHAZAR",
        source="written_name_train_v2",
        group="",
        image=paths[0],
        split="train",
        place=str(tmp_path / tables / "written_name_train_v2.csv"),
    )
    assert (second.text, second.image) == ("", paths[1])


def test_kaggle_tables_bring_their_splits(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        row = f"FILENAME,IDENTITY\n{split.upper()}_1.jpg,A\n"
        write(tmp_path / f"written_name_{split}_v2.csv", row)
        write(tmp_path / f"{split}_v2" / split / f"{split.upper()}_1.jpg")
    lines = read(tmp_path)
    assert [line.split for line in lines] == ["train", "validation", "test"]
    assert all(isinstance(line.image, type(tmp_path)) and line.image.exists() for line in lines)
    (alone,) = read(tmp_path / "test_v2")  # its table lies above it
    assert alone == lines[2]
    assert read(tmp_path / "written_name_test_v2.csv") == [lines[2]]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("t.csv", '\ufefffile,text\na.png,Zoé\nsub/b.png,"x, y"\n'),
        ("t.csv", "text;file\nZoé;a.png\nx, y;sub/b.png\n"),
        ("t.tsv", "file_name\tlabel\na.png\tZoé\nsub/b.png\tx, y\n"),
        (
            "t.jsonl",
            '{"image": "a.png", "text": "Zoé"}\n\n{"image": "sub/b.png", "text": "x, y"}\n',
        ),
    ],
)
def test_tables(tmp_path: Path, name: str, table: str) -> None:
    lines = read(write(tmp_path / name, table))
    assert [line.text for line in lines] == ["Zoé", "x, y"]
    assert [line.image for line in lines] == [tmp_path / "a.png", tmp_path / "sub/b.png"]
    rows = ["t.jsonl:1", "t.jsonl:3"] if name == "t.jsonl" else [f"{name}:2", f"{name}:3"]
    assert [line.row for line in lines] == rows
    assert lines == read(tmp_path)  # the folder of the table will do


def test_columns_without_a_name_are_not_taken_for_others(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", ",file,text\n0,1.png,A\n1,2.png,B\n")  # as pandas writes it
    assert [(line.file, line.text) for line in read(table)] == [("1.png", "A"), ("2.png", "B")]
    write(table, "file,text,\n1.png,A,\n2.png,B,,\n")
    assert [(line.file, line.text) for line in read(table)] == [("1.png", "A"), ("2.png", "B")]


def test_columns_by_option(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "scan,text,name,hand\n1.png,no,A,w1\n")
    (line,) = read(table, image_column="scan", text_column="name", group_column="hand")
    assert (line.file, line.text, line.group) == ("1.png", "A", "w1")


def test_group_columns_are_found_in_capitals_too(tmp_path: Path) -> None:
    lines = read(write(tmp_path / "t.csv", "FILE,Text,PAGE,Writer\n1.png,A,p1,w1\n2.png,B,p2,\n"))
    assert [line.group for line in lines] == ["w1", "p2"]


def test_group_is_the_writer_else_the_page(tmp_path: Path) -> None:
    rows = "file,text,page,writer,split,source\n1.png,A,p1,w1,val,s\n2.png,B,p2,,,\n3.png,C,,,,\n"
    lines = read(write(tmp_path / "t.csv", rows))
    assert [line.group for line in lines] == ["w1", "p2", ""]
    assert [line.split for line in lines] == ["validation", "", ""]
    assert [line.source for line in lines] == ["s", "t", "t"]


def test_a_writer_may_be_number_zero_and_no_writer_not_a_number(tmp_path: Path) -> None:
    rows = '{"file": "1", "text": "A", "writer": 0, "split": NaN, "source": 0}\n'
    rows += '{"file": "2", "text": "B", "writer": NaN, "page": "p"}\n'
    lines = read(write(tmp_path / "t.jsonl", rows))
    assert [line.group for line in lines] == ["0", "p"]
    assert [line.source for line in lines] == ["0", "t"]
    columns = {"image": [b"a", b"b"], "text": ["A", "B"], "writer": [7.0, float("nan")]}
    pq.write_table(pa.table(columns | {"split": [float("nan")] * 2}), tmp_path / "x.parquet")
    assert [line.group for line in read(tmp_path / "x.parquet")] == ["7", ""]  # as without gaps


def test_columns_of_splits_and_sources_are_found_in_capitals_too(tmp_path: Path) -> None:
    (line,) = read(write(tmp_path / "t.csv", "File,Text,Split,Source\n1.png,A,Test,s\n"))
    assert (line.split, line.source) == ("test", "s")
    columns = {"Image": [b"a"], "Text": ["A"], "Split": ["val"], "SOURCE": ["s"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    (line,) = read(tmp_path / "x.parquet")
    assert (line.split, line.source) == ("validation", "s")


def test_rows_of_jsonl_may_lack_what_others_have(tmp_path: Path) -> None:
    rows = '{"file": "1"}\n{"file": "2", "text": "B", "writer": "w"}\n'
    lines = read(write(tmp_path / "t.jsonl", rows))
    assert [(line.text, line.group) for line in lines] == [(None, ""), ("B", "w")]


def test_not_a_number_is_no_text(tmp_path: Path) -> None:
    rows = '{"file": "1", "text": NaN}\n{"file": "2", "text": null}\n{"file": "3", "text": 12}\n'
    assert [line.text for line in read(write(tmp_path / "t.jsonl", rows))] == [None, None, "12"]


def test_a_whole_number_is_one_in_a_column_with_gaps(tmp_path: Path) -> None:
    columns = {"image": [b"a", b"b", b"c"], "text": pa.array([12.0, None, 0.5])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert [line.text for line in read(tmp_path / "t.parquet")] == ["12", None, "0.5"]


def test_a_table_below_a_folder_of_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(b"")
    assert [line.text for line in read(tmp_path)] == [None]
    write(tmp_path / "train" / "metadata.csv", "file_name,text\n1.png,A\n")
    with pytest.raises(GroundTruthError, match=r"train/metadata\.csv lies below it; give"):
        read(tmp_path)
    assert [line.text for line in read(tmp_path / "train")] == ["A"]


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"on disk")
    images = [{"bytes": b"one", "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    columns: dict[str, Any] = {"image": images, "text": ["A", None, "C"]}
    columns |= {"writer": ["w", None, None], "page": ["p", "p", None], "source": ["s", "s", None]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    lines = read(tmp_path / "x.parquet")
    assert [line.file for line in lines] == ["a.png", "b.png", "x.parquet:3"]
    assert [line.image for line in lines] == [b"one", tmp_path / "b.png", b""]
    assert [line.text for line in lines] == ["A", None, "C"]
    assert [line.group for line in lines] == ["w", "p", ""]
    assert [line.source for line in lines] == ["s", "s", "x"]
    assert lines[2].row == "x.parquet:3"


def test_the_pass_over_texts_leaves_the_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x" * 99], "text": ["A"]}), tmp_path / "x.parquet")
    (line,) = read_sources([tmp_path / "x.parquet"], SourceOptions(), images=False)
    assert (line.text, line.image) == ("A", b"")


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_texts_that_a_model_has_read_are_told_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"file": ["1.png"], "text": ["A"]}
    for extra in ({}, {"Confidence": [0.5]}):
        caplog.clear()
        columns = rows | extra
        if name == "r.csv":
            cells = (",".join(columns), ",".join(str(each[0]) for each in columns.values()))
            write(tmp_path / name, "\n".join(cells))
        else:
            pq.write_table(pa.table(columns), tmp_path / name)
        list(read_sources([tmp_path / name], SourceOptions(), images=False))
        assert [line.text for line in read(tmp_path / name)] == ["A"]
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == len(extra)
        assert all(f"{name}: a column confidence, so a model read" in each for each in told)


def test_a_person_s_column_beside_what_a_model_has_read_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write(tmp_path / "r.csv", "file,text,confidence,checked\n1.png,A,0.5,B\n")
    assert [line.text for line in read(table, text_column="checked")] == ["B"]
    assert not caplog.records


def test_gt_txt_folder(tmp_path: Path) -> None:
    for name in ("1.png", "1.bin.png", "2.bin.png", "2.nrm.png", "sub/3.jpg", "sub/alone.tif"):
        write(tmp_path / "set" / name)
    for name in ("1", "2", "sub/3", "sub/without"):
        write(tmp_path / "set" / f"{name}.gt.txt", f"text {name}\n")
    lines = read(tmp_path / "set")
    files = ["1.png", "2.nrm.png", "sub/3.jpg", "sub/alone.tif", "sub/without.png"]
    assert [line.file for line in lines] == files
    texts = [line.text and line.text.strip() for line in lines]
    assert texts == ["text 1", "text 2", "text sub/3", None, "text sub/without"]
    assert lines[0].row.endswith("1.gt.txt")
    assert {line.source for line in lines} == {"set"}
    assert [line.group for line in lines] == ["", "", "sub", "sub", "sub"]


def test_a_folder_of_images_has_no_texts(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "1.JPG")
    (line,) = read(tmp_path)
    assert (line.file, line.text) == ("deep/1.JPG", None)


def test_images_of_one_stem_are_two_lines_and_hidden_files_none(tmp_path: Path) -> None:
    for name in ("1.jpg", "1.png", "1.bin.png", ".2.png", ".cache/3.png"):
        write(tmp_path / "set" / name)
    assert [line.file for line in read(tmp_path / "set")] == ["1.jpg", "1.png"]


def test_hidden_texts_do_not_make_a_table_folder_one_of_lines(tmp_path: Path) -> None:
    """A Mac writes `._1.gt.txt` on foreign disks, Jupyter a folder of old versions."""
    write(tmp_path / "set" / "t.csv", "file,text\n1.png,A\n")
    for name in ("1.png", "._1.gt.txt", ".ipynb_checkpoints/1.gt.txt"):
        write(tmp_path / "set" / name)
    assert [line.text for line in read(tmp_path / "set")] == ["A"]


def test_counts_are_those_of_the_lines(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "file,text\n" + "1.png,A\n" * 9)
    pq.write_table(pa.table({"image": [b"x"] * 5, "text": ["A"] * 5}), tmp_path / "x.parquet")
    write(tmp_path / "lines" / "1.gt.txt", "A")
    write(tmp_path / "lines" / "1.png")
    paths = [table, tmp_path / "x.parquet", tmp_path / "lines"]
    assert count_sources(paths, SourceOptions()) == 10 + 5 + 1  # a header counts: it is about
    assert len(read(*paths)) == 9 + 5 + 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            "scan,name\n1,2\n",
            r"t\.csv: no column for the image .* 'scan', 'name'.*--image",
        ),
        ("t.csv", "file,name\n1,2\n", r"no column for the text .*--text-column"),
        (
            "t.jsonl",
            '{"file": "1", "text": "A"}\n{oops\n',
            r"t\.jsonl: after line 1: .*; each line is to be a JSON object",
        ),
        ("t.jsonl", "[1]\n", r"t\.jsonl: after line 0: .*; each line is to be a JSON object"),
        ("t.csv", b"file,text\n1.png,Zo\xe9\n", r"t\.csv: after line 0: .*UTF-8"),
        ("t.csv", "file,text,split\n1.png,A,night\n", r"t\.csv:2: split is 'night'; use train"),
        (
            "t.csv",
            "file,text\n1.png,A\n2.png,DUPONT, JEAN\n",
            r"t\.csv:3: 3 cells, where the header has 2; put quotation marks",
        ),
        (
            "t.tsv",
            'file\ttext\n1.png\t"FRA\n2.png\tPAUL"\n',
            r"t\.tsv:2: 'FRA.*' goes on below its line; close its quotation mark",
        ),
        ("t.tsv", 'file\ttext\n1.png\t"FRA\n2.png\tPAUL\n', "unexpected end of data; write a quot"),
        ("x.parquet", b"PAR1 no", r"x\.parquet: not a Parquet file"),
        ("x.gt.txt", b"\xff", r"x\.gt\.txt: .*save it as UTF-8"),
        ("t.xlsx", b"", r"no ground truth recognised; give the Kaggle"),
        ("manifest.json", "{}", "is a pack already"),
    ],
)
def test_errors_name_the_place_and_the_remedy(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    write(tmp_path / name, content)
    with pytest.raises(GroundTruthError, match=message):
        read(tmp_path)


def test_more_errors(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", json.dumps("file,text"))
    with pytest.raises(GroundTruthError, match="no such file or folder"):
        read(tmp_path / "gone")
    with pytest.raises(GroundTruthError, match="not a table; give"):
        read(table.rename(tmp_path / "t.txt"))
    pq.write_table(pa.table({"image": [7], "text": ["A"]}), tmp_path / "x.parquet")
    with pytest.raises(
        GroundTruthError, match=r"x\.parquet:1: the image is of type int, not .*--image-column"
    ):
        read(tmp_path / "x.parquet")
    table = write(tmp_path / "u.csv", "file,text\n1,A\n")
    with pytest.raises(GroundTruthError, match="no column 'Text'; it has 'file', 'text'"):
        read(table, text_column="Text")


def test_a_damaged_parquet_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    images = [bytes(range(256)) * 20] * 50
    pq.write_table(pa.table({"image": images, "text": ["A"] * 50}), path, compression="zstd")
    damaged = bytearray(path.read_bytes())
    damaged[20:200] = bytes(180)
    path.write_bytes(damaged)
    with pytest.raises(GroundTruthError, match=r"x\.parquet: damaged"):
        read(path)


def test_rows_without_a_picture_in_two_tables_are_not_of_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", f"file,text\n{name}.png,A\n,B\n")
    found = [(line.file, line.row, line.image) for line in read(tmp_path)]
    assert [(file, row) for file, row, _ in found] == [
        *(("a.png", "a.csv:2"), ("", "a.csv:3"), ("b.png", "b.csv:2"), ("", "b.csv:3"))
    ]
    assert found[1][2] == found[3][2] == b""


def test_two_tables_of_one_picture_in_a_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "names.csv", "file,text\n1.png,A\n2.png,B\n")
    write(tmp_path / ".hidden.csv", "file,text\n1.png,A\n")
    write(tmp_path / "others.csv", "file,text\n3.png,A\n")
    assert [line.file for line in read(tmp_path)] == ["1.png", "2.png", "3.png"]
    write(tmp_path / "others.csv", "file,text\n3.png,A\n2.png,C\n")
    with pytest.raises(GroundTruthError, match=r"names.csv and .*others.csv are both of 2.png"):
        read(tmp_path)


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    write(tmp_path / os.fsdecode(b"No\xebl") / "a.png")
    (line,) = read(tmp_path)
    assert (line.file, line.group) == ("No\\udcebl/a.png", "No\\udcebl")
    assert isinstance(line.image, type(tmp_path))
    assert line.image.is_file()


def test_sources_are_opened_before_any_line_is_read(tmp_path: Path) -> None:
    good = write(tmp_path / "t.csv", "file,text\n1.png,A\n")
    with pytest.raises(GroundTruthError):
        open_sources([good, tmp_path / "gone"], SourceOptions())


def test_of_two_columns_of_a_name_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,text,writer,Writer\n1.png,A,w,x\n")
    (line,) = read_sources([tmp_path / "t.csv"], SourceOptions())
    assert line.group == "w"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"file": "1.png", "text": "A\\ud800"}', "after line 1: .*surrogates not allowed"),
        ("[[1, 2]]", "row 2 is no object with columns"),
    ],
)
def test_rows_of_json_that_are_no_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    (file := tmp_path / "t.jsonl").write_text(f'{{"file": "0.png", "text": "B"}}\n{row}\n')
    with pytest.raises(GroundTruthError, match=message):
        list(read_sources([file], SourceOptions()))


def test_a_whole_character_in_two_halves_is_one(tmp_path: Path) -> None:
    (file := tmp_path / "t.jsonl").write_text('{"file": "0.png", "text": "\\ud83d\\ude00"}')
    (line,) = read_sources([file], SourceOptions())
    assert line.text == "\U0001f600"


def test_a_date_beyond_all_calendars_is_named(tmp_path: Path) -> None:
    when = pa.array([2**61], pa.int64()).cast(pa.timestamp("ms"))
    columns = {"image": [b"x"], "text": ["A"], "writer": when}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(GroundTruthError, match=r"t\.parquet: damaged: "):
        list(read_sources([tmp_path / "t.parquet"], SourceOptions()))
