"""The command line: what lands on stdout, what on stderr, and the exit code."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png
from PIL import Image

from penname import __version__, network, predictions_page
from penname.cli import COMMANDS, TRAIN_EXTRA, main
from penname.commands import common, read
from penname.errors import ImageError, OptionError
from penname.inputs import expand
from penname.line_image import decode

if TYPE_CHECKING:
    from penname.model_folder import ModelFolder

TEXTS = {"line2.png": "CAFE", "line10.png": "BAD", "deep/line1.png": "HEAD"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of bar codes, with a damaged picture and files that are no pictures."""
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(png(text))
    (tmp_path / "damaged.jpg").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden" / "line3.png").write_bytes(png("A"))
    return tmp_path


def test_read_prints_a_table(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", str(folder), "--model", str(model.path)]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["file", "text", "confidence"]
    assert rows[1] == [str(folder / "damaged.jpg"), "unreadable"]
    assert [row[:2] for row in rows[2:]] == [
        [str(folder / name), TEXTS[name]] for name in ("deep/line1.png", "line2.png", "line10.png")
    ]
    assert all(0.5 < float(row[2]) < 1 for row in rows[2:])
    assert len({len(line) for line in out.splitlines()}) == 1
    assert f"{folder / 'damaged.jpg'}: cannot read the image: not an image" in err
    assert "3 read, 1 unreadable, with the model bars in " in err


def test_read_prints_one_json_object_per_image(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", str(folder), "--json", "--model", str(model.path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["", "HEAD", "CAFE", "BAD"]
    assert [set(line) - {"error"} for line in lines] == [
        {"file", "text", "confidence", "alternatives", "characters"}
    ] * 4
    assert ["error" in line for line in lines] == [True, False, False, False]


def test_read_and_evaluate_take_a_lexicon(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = folder / "names.csv"
    names.write_text("name,count\nCAFF,3\nhead,2\n", "utf-8")
    flags = ["--model", str(model.path), "--lexicon", str(names)]
    picture = str(folder / "line2.png")
    assert main(["read", picture, *flags]) == 0
    assert "CAFE" in capsys.readouterr().out
    assert main(["read", picture, *flags, "--lexicon-mode", "strict"]) == 0
    said = capsys.readouterr()
    assert re.search(r" CAFF +0\.0\d\d  doubtful\n", said.out)
    assert "bars (names.csv, strict)" in said.err
    assert main(["read", picture, *flags, "--quick"]) == 0
    assert "bars (names.csv, quick)" in capsys.readouterr().err
    assert main(["read", picture, *flags[:2], "--lexicon-mode", "strict"]) == 2
    assert "give --lexicon" in capsys.readouterr().err
    table = folder / "table.csv"
    table.write_text("file,text\nline2.png,CAFF\ndeep/line1.png,HEAD\n", "utf-8")
    for mode, exact in (("open", 0.5), ("strict", 1.0)):
        evaluate = ["evaluate", "--data", str(table), "--json", "--lexicon-mode", mode]
        assert main([*evaluate, *flags]) == 0
        assert json.loads(capsys.readouterr().out)["exact"] == exact
    names.write_text("DUPONT,5", "utf-8")
    assert main(["read", picture, *flags]) == 1
    assert f"{names}: line 1 is 'DUPONT,5'; give one name a line" in capsys.readouterr().err


def test_read_writes_csv_and_a_page_with_the_pictures(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, page = folder / "out.csv", folder / "out.html"
    files = ["--csv", str(table), "--html", str(page), "--model", str(model.path)]
    assert main(["read", str(folder), *files]) == 0
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["text"] for row in rows] == ["", "HEAD", "CAFE", "BAD"]
    assert rows[0]["error"]
    assert [row["reason"] for row in rows] == ["", "", "", ""]
    assert page.read_text("utf-8").count("data:image/png;base64,") == 3
    assert capsys.readouterr().out.count("CAFE") == 1


def test_a_page_keeps_small_pictures_of_the_pages_of_a_scan(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    page_of = predictions_page.predictions_page

    def noted(rows: list[Any]) -> str:
        shown.extend(source for source, _ in rows)
        return page_of(rows)

    monkeypatch.setattr(predictions_page, "predictions_page", noted)
    first, second = (Image.open(io.BytesIO(png(text))) for text in ("BEAD", "ACE"))
    first.save(tmp_path / "scan.tif", save_all=True, append_images=[second])
    (tmp_path / "line.png").write_bytes(png("FACE"))
    page = tmp_path / "out.html"
    assert main(["read", str(tmp_path), "--html", str(page), "--model", str(model.path)]) == 0
    assert [type(source) for source in shown] == [type(page), bytes, bytes]
    assert (decode(shown[1]) == decode(png("BEAD"))).all()
    assert page.read_text("utf-8").count("<img") == 3


def test_reading_nothing_at_all_fails(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", str(folder / "damaged.jpg"), "--model", str(model.path)]) == 1
    assert "0 read, 1 unreadable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["read", "no/such.jpg"], "no/such.jpg: no such file or folder", 1),
        (["read", "no/such*.jpg"], "nothing matches it as a pattern", 1),
        (["read", "{folder}/.hidden/..", "--model", "nix"], "nix: no such model", 1),
        (["read", "{folder}", "--model", "{model}", "--batch-size", "0"], "batch size is 0", 2),
        (["read", "{folder}", "--batch-size", "0", "--csv", "{folder}/notes.txt"], "is 0", 2),
        (["read", "{folder}", "--csv", "{folder}/no/t.csv"], "no/t.csv: there is no folder", 2),
        (["read", "{folder}/line2.png", "--html", "{folder}/line2.png"], "is read here", 2),
        (["evaluate", "--data", "{folder}", "--markdown", "{folder}/no/t.md"], "no folder", 2),
        (["audit", "--data", "{folder}/t.csv", "--csv", "{folder}/./t.csv"], "t.csv: no such", 1),
        (["read", "{folder}", "--csv", "{folder}"], "is a folder; name a file", 2),
        (["read", "{folder}", "--csv", "{folder}/o", "--html", "{folder}/o"], "written twice", 2),
        (["read", "{folder}/*", "--csv", "{folder}/notes.txt"], "notes.txt is read here", 2),
        (["read", "{folder}", "--lexicon", "{folder}/l", "--csv", "{folder}/l"], "read here", 2),
        (["evaluate", "--model", "{model}", "--data", "{folder}/no.csv"], "no.csv", 1),
        (["pack", "{folder}/no.csv", "--out", "{folder}/pack"], "no.csv", 1),
    ],
)
def test_an_error_is_one_line_on_stderr(
    words: list[str],
    message: str,
    code: int,
    model: ModelFolder,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([word.format(folder=folder, model=model.path) for word in words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    *_, last = err.splitlines()
    assert (folder / "notes.txt").read_text() == "not a picture"
    assert last.startswith("penname: error: ")
    assert message in last
    assert err.count("penname: error") == 1


@pytest.mark.parametrize("words", [[], ["read"], ["reed", "x.jpg"], ["read", "x.jpg", "--jsn"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2
    assert capsys.readouterr().out == ""


def test_the_usual_runtime_is_the_network_s() -> None:
    """Commands declare their flags before NumPy is imported, so they name it themselves."""
    assert common.RUNTIME == network.RUNTIME


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"penname {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    assert raised.value.code == 0
    assert COMMANDS[command] in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--pack", "p", "--out", "o"],
        ["export", "--checkpoint", "c", "--out", "o", "--name", "n"],
    ],
    ids=lambda words: words[0],
)
def test_a_missing_extra_says_how_to_install_it(words: list[str]) -> None:
    code = "import sys; sys.modules['torch'] = None; from penname.cli import main"
    run = [sys.executable, "-c", f"{code}; sys.exit(main({words}))"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = f"{words[0]} needs the train extra: pip install '.[train]' in penname's folder"
    assert done.stderr == f"penname: error: {told}\n"


def test_every_package_of_the_train_extra_is_known() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    packages = project["project"]["optional-dependencies"]["train"]
    names = {re.split(r"\W", package)[0].removeprefix("py") for package in packages}
    assert names == {name.removeprefix("py") for name in TRAIN_EXTRA}


def test_evaluate_scores_what_read_reads(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["image,text", "line2.png,CAFE", "line10.png,BAD", "deep/line1.png,HEED"]
    (folder / "truth.csv").write_text("\n".join(rows) + "\n")
    files = [folder / name for name in ("lines.csv", "report.html", "report.md")]
    flags = zip(("--predictions", "--html", "--markdown"), map(str, files), strict=True)
    words = ["evaluate", "--model", str(model.path), "--data", str(folder / "truth.csv")]
    assert main([*words, "--json", *(word for pair in flags for word in pair)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 3
    assert report["exact"] == pytest.approx(2 / 3)
    assert report["cer"] == pytest.approx(1 / 11)
    assert all(file.stat().st_size for file in files)
    assert main(words) == 0
    assert "bars on" in capsys.readouterr().out


def test_pack_reports_what_it_packed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "truth.csv").write_text("image,text\nline2.png,CAFE\nline10.png,BAD\n")
    words = ["pack", str(folder / "truth.csv"), "--workers", "1", "--json"]
    assert main([*words, "--out", str(folder / "pack")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["lines"] == 2
    assert report["alphabet"] == "ABCDEF"


def test_a_closed_pipe_is_no_traceback(model: ModelFolder, folder: Path) -> None:
    words = [sys.executable, "-m", "penname", "read", str(folder), "--model", str(model.path)]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    run.stdout.close()
    _, err = run.communicate()
    assert "damaged.jpg" in err
    assert not [sign for sign in ("error:", "Traceback", "BrokenPipe") if sign in err]


def test_a_table_cut_by_a_closed_pipe_is_said_to_be(model: ModelFolder, folder: Path) -> None:
    words = [sys.executable, "-m", "penname", "read", *[str(folder)] * 1000, "--json"]
    words += ["--model", str(model.path), "--csv", str(folder / "names.csv")]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert json.loads(run.stdout.readline())
    run.stdout.close()
    _, err = run.communicate()
    rows = list(csv.reader((folder / "names.csv").read_text("utf-8").splitlines()))[1:]
    assert f"names.csv has the first {len(rows):,} pictures alone" in err
    assert 0 < len(rows) < 4000


def test_json_is_utf8_wherever_it_goes(model: ModelFolder, folder: Path) -> None:
    (folder / "line2.png").rename(folder / "é.png")
    words = [sys.executable, "-m", "penname", "read", str(folder / "é.png"), "--json"]
    run = subprocess.run(
        [*words, "--model", str(model.path)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert json.loads(run.stdout)["file"] == str(folder / "é.png")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes stderr")
def test_with_stderr_closed_stdout_holds_data_alone(model: ModelFolder, folder: Path) -> None:
    words = [sys.executable, "-m", "penname", "read", str(folder / "line2.png"), "--json"]
    shell = shlex.join([*words, "--model", str(model.path)]) + " 2>&-"
    run = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    (line,) = run.stdout.splitlines()
    assert json.loads(line)["text"] == "CAFE"


def test_one_picture_is_read_at_once(model: ModelFolder, folder: Path) -> None:
    words = [sys.executable, "-m", "penname", "read", str(folder / "line2.png")]
    started = time.perf_counter()
    done = subprocess.run(
        [*words, "--model", str(model.path)], capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - started < 2  # 0.2 s; the bar leaves room for a busy machine
    assert "CAFE" in done.stdout


def test_patterns_folders_and_files_expand_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = [picture.file for picture in expand(["line*.png", "deep", "damaged.jpg"])]
    assert names == ["line2.png", "line10.png", "deep/line1.png", "damaged.jpg"]
    absolute = [picture.file for picture in expand([str(folder / "**" / "line1*.png")])]
    assert absolute == [str(folder / "deep/line1.png"), str(folder / "line10.png")]
    (folder / "empty").mkdir()
    (folder / "deep" / "folder.png").mkdir()
    everything = [picture.file for picture in expand(["**"])]
    assert sorted(everything) == sorted(set(everything))
    assert set(names) < set(everything)
    with pytest.raises(ImageError, match="no images in the folders that match"):
        list(expand(["empt*"]))


def test_pages_of_a_scan_are_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder := tmp_path / "scans").mkdir()
    first, *others = [Image.open(io.BytesIO(png(text))) for text in ("BEAD", "ACE", "JADE")]
    first.save(folder / "scan.tif", save_all=True, append_images=others)
    first.save(folder / "one.tiff")
    (folder / "damaged.tif").write_bytes(b"II*")
    Image.new("1", (2, 2)).save(folder / "small.tif", save_all=True, append_images=[first])
    (folder / "form.pdf").touch()
    pictures = list(expand([folder]))
    names = ["damaged.tif", "one.tiff", "scan.tif:1", "scan.tif:2", "scan.tif:3"]
    names += ["small.tif:1", "small.tif:2"]
    assert [picture.file for picture in pictures] == [str(folder / name) for name in names]
    found = [decode(picture.source) for picture in pictures[1:] if not picture.error]
    expected = [decode(png(text)) for text in ("BEAD", "BEAD", "ACE", "JADE", "BEAD")]
    assert "2 x 2 pixels" in pictures[5].error
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    with pytest.raises(ImageError, match="cannot read the image"):
        decode(pictures[0].source)
    assert "scans: 1 PDF files are not read, such as form.pdf; make images" in caplog.text


def test_files_without_pictures_leave_the_rest_to_be_read(
    folder: Path, model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"text": ["A"]}), folder / "deep" / "texts.parquet")
    assert main(["read", str(folder / "deep"), "--json", "--model", str(model.path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["HEAD", ""]
    assert "no column of images among text" in lines[1]["error"]


def test_parquet_rows_are_pictures(
    folder: Path, model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"bytes": png("BEAD"), "path": "a/b.png"}
    outside = {"bytes": None, "path": "line2.png"}
    rows = [named, {"bytes": png("ACE"), "path": None}, outside, None]
    pq.write_table(pa.table({"text": [None] * 4, "image": rows}), folder / "lines.parquet")
    pq.write_table(pa.table({"scan": [png("JADE")]}), folder / "bytes.parquet")
    paths = [str(folder / "lines.parquet"), str(folder / "bytes.parquet")]
    assert main(["read", *paths, "--json", "--model", str(model.path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["file"], line["text"]) for line in lines] == [
        ("a/b.png", "BEAD"),
        (f"{folder / 'lines.parquet'}:2", "ACE"),
        ("line2.png", "CAFE"),
        (f"{folder / 'lines.parquet'}:4", ""),
        (f"{folder / 'bytes.parquet'}:1", "JADE"),
    ]


def test_the_column_of_pictures_is_the_one_that_ground_truth_has(
    folder: Path, model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = {"md5": [b"0"], "Image": [{"bytes": png("BEAD"), "path": "b.png"}], "file": ["x"]}
    pq.write_table(pa.table(pictures), folder / "one.parquet")
    paths: dict[str, Any] = {"n": [1], "path": [str(folder / "line2.png")]}
    pq.write_table(pa.table(paths), folder / "other.parquet")
    paths["path"] = pa.array(paths["path"]).dictionary_encode()  # a category of a data frame
    pq.write_table(pa.table(paths), folder / "category.parquet")
    both = pa.table([[png("BEAD")], ["x"], [b"1"]], names=["scan", "file", "scan"])
    pq.write_table(both, folder / "both.parquet")
    read = {"one": "BEAD", "other": "CAFE", "category": "CAFE", "both": "BEAD"}
    for name, text in read.items():
        path = str(folder / f"{name}.parquet")
        assert main(["read", path, "--json", "--model", str(model.path)]) == 0
        assert json.loads(capsys.readouterr().out)["text"] == text


def test_parquet_without_pictures_is_named(
    folder: Path, model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"text": ["A"], "n": [1]}), folder / "texts.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1")
    for name, reason in {"texts": "no column of images among text, n", "broken": ""}.items():
        path = folder / f"{name}.parquet"
        assert main(["read", str(path), "--model", str(model.path)]) == 1
        assert f"penname: {path}: {reason}" in capsys.readouterr().err


def test_an_empty_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(tmp_path)]) == 1
    assert f"{tmp_path}: no images in this folder" in capsys.readouterr().err


def test_audit_writes_its_table_and_page_and_puts_corrections_over(
    model: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"1.png": "HEAD", "2.png": "CAGE", "3.png": "BED"}  # 2.png says FACE
    for name, text in texts.items():
        (tmp_path / name).write_bytes(png("FACE" if text == "CAGE" else text))
    data = tmp_path / "lines.csv"
    data.write_text("file,text\n" + "".join(f"{name},{text}\n" for name, text in texts.items()))
    out, page = tmp_path / "audit.csv", tmp_path / "audit.html"
    words = ["audit", "--data", str(data), "--model", str(model.path)]
    assert main([*words, "--csv", str(out), "--html", str(page)]) == 0
    shown, err = capsys.readouterr()
    assert shown.splitlines()[1].split()[1:4] == ["CAGE", "FACE", "lines.csv:3"]
    assert "3 lines judged with bars, 0 set aside" in err
    rows = list(csv.reader(out.read_text("utf-8").splitlines()))
    assert rows[0] == ["file", "text", "suggestion", "score"]
    assert rows[1][:3] == ["2.png", "CAGE", "FACE"]
    assert page.read_text("utf-8").count('<img src="data:image/png') == 3
    assert main([*words, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [x["file"] for x in values["suggestions"]] == [row[0] for row in rows[1:]]
    reviewed, corrected = tmp_path / "reviewed.csv", tmp_path / "corrected.csv"
    reviewed.write_text(f"file,text,correction\n2.png,CAGE,{rows[1][2]}\n3.png,BED,UNREADABLE\n")
    assert main([*words, "--apply", str(reviewed), "--out", str(corrected)]) == 0
    assert "set aside: lines.csv:4\n2 of 3 lines changed, 1 set aside" in capsys.readouterr().err
    read = [row["text"] for row in csv.DictReader(corrected.read_text("utf-8").splitlines())]
    assert read == ["HEAD", "FACE", "UNREADABLE"]


@pytest.mark.parametrize("command", [["evaluate", "--predictions"], ["audit", "--csv"]])
def test_ground_truth_in_a_folder_is_not_written_over(
    command: list[str], model: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_bytes(png("HEAD"))
    (table := tmp_path / "lines.csv").write_text("file,text\n1.png,HEAD\n")
    name, flag = command
    words = [name, "--data", str(tmp_path), "--model", str(model.path), flag]
    assert main([*words, str(table)]) == 2
    assert "lines.csv is read here; choose another file" in capsys.readouterr().err
    assert table.read_text() == "file,text\n1.png,HEAD\n"
    out, page = tmp_path / "out.csv", tmp_path / "page.html"
    assert main([*words, str(out), "--html", str(page)]) == 0  # what is new there is not in the way
    assert out.exists()
    assert page.read_text("utf-8").count("<img") == (name == "audit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--apply", "r.csv"], "--apply and --out go together"),
        (["--out", "o.csv"], "--apply and --out go together"),
        (["--cross-fit", "2"], "give --work"),
        (["--from", "names"], "are of --cross-fit"),
        (["--language", "names.csv"], "are of --cross-fit"),
        (["--epochs", "3"], "are of --cross-fit"),
        (["--cross-fit", "2", "--work", "w", "--model", "latin"], "no --model"),
        (["--apply", "r.csv", "--out", "o.csv", "--html", "o.html"], "--apply judges nothing"),
        (["--apply", "r.csv", "--out", "o.csv", "--json"], "--apply judges nothing"),
        (["--apply", "r.csv", "--out", "o.csv", "--epochs", "3"], "--apply judges nothing"),
    ],
)
def test_audit_flags_that_do_not_go_together_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--data", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


def test_an_audit_is_not_written_over_its_language(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (names := tmp_path / "names.csv").write_text("DUPONT\n")
    words = ["audit", "--data", str(folder), "--cross-fit", "2", "--work", str(tmp_path / "work")]
    assert main([*words, "--language", str(names), "--csv", str(names)]) == 2
    assert "names.csv is read here; choose another file" in capsys.readouterr().err
    assert names.read_text() == "DUPONT\n"


def test_evaluate_fails_when_nothing_could_be_read(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table := folder / "truth.csv").write_text("image,text\ndamaged.jpg,BAD\n")
    words = ["evaluate", "--model", str(model.path), "--data", str(table)]
    assert main(words) == 1
    assert "truth.csv:2: damaged.jpg: cannot read" in capsys.readouterr().err
    table.write_text("image,text\ndamaged.jpg,BAD\nline2.png,CAFE\n")
    assert main(words) == 0
    assert "truth.csv:2: damaged.jpg: cannot read" in capsys.readouterr().err


def test_all_slices_are_shown_when_asked_for(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table := folder / "truth.csv").write_text("image,text\nline2.png,CAFE\n")
    words = ["evaluate", "--model", str(model.path), "--data", str(table)]
    shown = []
    for more in ([], ["--slices"]):
        assert main([*words, *more]) == 0
        shown.append("\nlength" in capsys.readouterr().out)
    assert shown == [False, True]


def test_a_list_of_names_and_what_is_linked_to_are_not_written_over(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table := folder / "truth.csv").write_text("image,text\nline2.png,CAFE\n")
    (names := folder / "names.txt").write_text("CAFE\n")
    (link := folder / "link.csv").symlink_to(table)
    words = ["evaluate", "--model", str(model.path), "--data", str(table), "--lexicon", str(names)]
    for file in (names, link):
        assert main([*words, "--predictions", str(file)]) == 2
        assert f"{file} is read here" in capsys.readouterr().err
    linked = ["evaluate", "--model", str(model.path), "--data", str(link)]
    assert main([*linked, "--predictions", str(table)]) == 2
    assert names.read_text() == "CAFE\n"
    assert table.read_text() == "image,text\nline2.png,CAFE\n"
    nowhere = ["--predictions", os.devnull, "--html", os.devnull]
    assert main([*words, *nowhere]) == 0


def test_a_table_is_as_long_as_what_is_read(
    model: ModelFolder,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "TABLE_HEAD", 2)
    assert main(["read", str(folder), "--model", str(model.path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("name", ["A.PNG", "B.Tif", "C.PARQUET"])
def test_names_of_files_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    """As cameras and scanners write them; a TIFF has two pages, a Parquet file two rows."""
    picture, file = Image.open(io.BytesIO(png("BEAD"))), tmp_path / name
    if name == "B.Tif":
        picture.save(file, "TIFF", save_all=True, append_images=[picture])
    elif name == "C.PARQUET":
        pq.write_table(pa.table({"image": [png("BEAD")] * 2}), file)
    else:
        file.write_bytes(png("BEAD"))
    found = list(expand([tmp_path]))
    assert len(found) == (1 if name == "A.PNG" else 2)
    assert all((decode(each.source) == decode(png("BEAD"))).all() for each in found)


def test_a_link_that_leads_nowhere_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png("BEAD"))
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "3.png")
    (tmp_path / "4.png").symlink_to(tmp_path / "3.png")
    one, link = expand([tmp_path])
    assert (one.file, link.file) == (str(tmp_path / "1.png"), str(tmp_path / "2.png"))
    with pytest.raises(ImageError, match="No such file"):
        decode(link.source)


def test_parquet_images_are_found_by_their_type(tmp_path: Path) -> None:
    size = pa.struct([("width", pa.int32())])
    columns = {
        "size": pa.array([{"width": 3}, {"width": 4}], size),
        "scan": pa.array([png("BEAD"), None], pa.large_binary()),
    }
    pq.write_table(pa.table(columns), tmp_path / "scans.parquet")
    found = list(expand([tmp_path / "scans.parquet"]))
    assert [each.source for each in found] == [png("BEAD"), b""]


def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "o.csv")

    monkeypatch.setattr(read, "run", full)
    assert main(["read", "x.png"]) == 1
    assert capsys.readouterr().err == "penname: error: o.csv: No space left on device\n"


def test_audit_trains_as_it_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (names := tmp_path / "names.csv").write_text("name,count\nA,1\n")
    given = []

    def noted(_read: Any, work: Path, folds: int, **more: Any) -> list[Any]:
        given.append((work, folds, more))
        raise OptionError("enough")

    monkeypatch.setattr("penname.training.cross_fit.cross_fit", noted)
    words = ["audit", "--data", str(folder), "--cross-fit", "3", "--work", "w", "--epochs", "7"]
    assert main([*words, "--from", "names", "--language", str(names)]) == 2
    assert given == [(Path("w"), 3, {"epochs": 7, "start": "names", "language": names})]


@pytest.mark.parametrize("name", ["line2.png", "damaged.JPG", "new.tif", "table.parquet"])
@pytest.mark.parametrize("words", [["read", "--csv"], ["read", "--html"], ["evaluate", "--html"]])
def test_what_has_the_name_of_pictures_is_not_written_over(
    words: list[str],
    name: str,
    model: ModelFolder,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shell makes `--csv line2.png line10.png` of `--csv *.png`."""
    (table := folder / "truth.csv").write_text("image,text\nline10.png,BAD\n")
    (folder / "table.parquet").write_bytes(b"PAR1")
    before = {each: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    command, flag = words
    data = ["--data", str(table)] if command == "evaluate" else [str(folder / "line10.png")]
    assert main([command, flag, str(folder / name), *data, "--model", str(model.path)]) == 2
    assert f"{name} has the name of pictures" in capsys.readouterr().err
    assert {each: each.read_bytes() for each in folder.iterdir() if each.is_file()} == before


def test_another_name_of_what_is_read_is_not_written_over(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table := folder / "truth.csv").write_text("image,text\nline2.png,CAFE\n")
    (folder / "other.csv").hardlink_to(table)
    words = ["evaluate", "--model", str(model.path), "--data", str(table), "--predictions"]
    assert main([*words, str(folder / "other.csv")]) == 2
    assert "other.csv is read here" in capsys.readouterr().err


def test_an_empty_cell_is_no_folder(
    model: ModelFolder, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table := folder / "truth.csv").write_text("image,text\n,BAD\nline2.png,CAFE\n")
    assert main(["evaluate", "--model", str(model.path), "--data", str(table)]) == 0
    assert "truth.csv:2: : cannot read the image: it is empty" in capsys.readouterr().err
