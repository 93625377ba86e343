from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import pickle
import signal
import stat
import struct
import subprocess
import sys
import zlib
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from penname.alphabet import Alphabet
from penname.errors import GroundTruthError, OptionError, PackError
from penname.ground_truth import pack_folder
from penname.ground_truth.pack import PackOptions, PackReport, draw_split, write_pack
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec, decode, line_image

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = ImageSpec(height=16, max_width=160, trim="sides")
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
SERIAL = PackOptions(workers=1)
NAMES = ("ANNA", "BEN", "CLARA", "DO")


def png(seed: int, width: int = 80, kind: str = "PNG") -> bytes:
    """Return an image of dark bars at places that depend on the seed."""
    picture = np.full((20, width), 255, dtype=np.uint8)
    picture[4:16, np.random.default_rng(seed).integers(2, width - 2, 12)] = 0
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def table(
    folder: Path, texts: list[str | None], groups: list[str] | None = None, name: str = "x"
) -> Path:
    """Write a Parquet file of lines with these texts."""
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(texts))]
    columns = {"image": images, "text": pa.array(texts, pa.string())}
    columns |= {"writer": groups or [""] * len(texts)}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def names(count: int) -> list[str | None]:
    return [NAMES[i % len(NAMES)] for i in range(count)]


def packed(source: Path, out: Path, options: PackOptions = SERIAL) -> PackReport:
    return write_pack([source], out, options, SPEC, progress=False, now=NOW)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_pack_holds_the_line_images_and_texts_of_its_source(tmp_path: Path) -> None:
    report = packed(table(tmp_path, names(50)), tmp_path / "pack")
    pack = Pack.open(tmp_path / "pack", verify=True)
    assert len(pack) == report.lines == 50
    for i in range(50):
        np.testing.assert_array_equal(pack.image(i), line_image(decode(png(i)), SPEC))
    assert pack.texts == names(50)
    assert pack.files == pack.ids == [f"{i}.png" for i in range(50)]
    assert set(pack.sources) == {"x"}
    assert pack.alphabet == Alphabet("ABCDELNOR")
    assert pack.spec == SPEC
    assert pack.widths.tolist() == [pack.image(i).shape[1] for i in range(50)]
    assert pack.offsets[1:].tolist() == (16 * np.cumsum(pack.widths)[:-1]).tolist()
    assert (
        pack.pixels.size == 16 * pack.widths.sum() == (tmp_path / "pack/pixels.bin").stat().st_size
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")
    folder.mkdir()
    (folder / "1.png").write_bytes(png(1))
    source = folder / os.fsdecode(b"\xe9criture.csv")
    source.write_text("file,text\n1.png,A\ngone.png,B\n", "utf-8")
    assert packed(source, tmp_path / "p").lines == 1
    assert Pack.open(tmp_path / "p").sources == ["\\udce9criture"]
    (rejected,) = rows(tmp_path / "p" / "rejected.csv")
    assert rejected["row"] == "\\udce9criture.csv:3"


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = names(700)  # three chunks
    texts[300], texts[600] = None, "EMPTY"
    source = table(tmp_path, texts)
    for workers in (1, 2):
        options = replace(SERIAL, workers=workers, case="upper")
        assert packed(source, tmp_path / str(workers), options).lines == 698
    files = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("1", "2")]
    manifests = [json.loads(file.pop("manifest.json")) for file in files]
    assert files[0] == files[1]
    assert [manifest["options"].pop("workers") for manifest in manifests] == [1, 2]
    assert manifests[0] == manifests[1]


def test_splits_are_drawn_by_group_and_not_by_order(tmp_path: Path) -> None:
    groups = [f"writer {i % 100}" for i in range(400)]
    options = replace(SERIAL, validation=0.2, test=0.1, seed=7)
    packed(table(tmp_path, names(400), groups), tmp_path / "a", options)
    packed(table(tmp_path, names(400), groups[::-1], "y"), tmp_path / "b", options)
    a, b = Pack.open(tmp_path / "a"), Pack.open(tmp_path / "b")
    split_of = dict(zip(a.groups, a.splits, strict=True))
    assert split_of == dict(zip(b.groups, b.splits, strict=True))
    assert [split_of[group] for group in a.groups] == a.splits  # no group is in two splits
    assert 8 <= Counter(split_of.values())["validation"] <= 32  # 20 +- 3 standard deviations
    assert 1 <= Counter(split_of.values())["test"] <= 19
    other = [draw_split(group, replace(options, seed=8)) for group in groups]
    assert other != [split_of[group] for group in groups]
    together = np.concatenate([a.indices(split) for split in ("train", "validation", "test")])
    assert sorted(together.tolist()) == list(range(400))


def test_the_draw_is_fixed() -> None:
    """A new version of penname must not move lines from the test into the training."""
    drawn = [draw_split(str(i), PackOptions(validation=0.25, test=0.25)) for i in range(12)]
    assert " ".join(split[:2] for split in drawn) == "tr te tr va tr tr te tr tr tr te te"


def test_a_split_that_the_source_brings_stays(tmp_path: Path) -> None:
    lines = ["file,text,split"]
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        lines.append(f"{i}.png,ANNA,{('train', 'val', 'test')[i % 3]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    report = packed(tmp_path / "t.csv", tmp_path / "pack", replace(SERIAL, validation=1.0))
    assert report.splits == {"train": 10, "validation": 10, "test": 10, "unlabelled": 0}


def test_cleaning_is_counted_and_listed(tmp_path: Path) -> None:
    texts = ["ANNA", None, "", "EMPTY", "zoé", "d’or", "A€", "A" * 30, "BEN  B"]
    options = replace(SERIAL, case="upper", accents="strip", alphabet=" 'ABDENORZ")
    report = packed(table(tmp_path, texts), tmp_path / "pack", options)
    assert Pack.open(tmp_path / "pack").texts == ["ANNA", "ZOE", "D'OR", "BEN B"]
    assert report.cleaning == {
        "missing-text": 2,
        "marker": 1,
        "unicode": 1,
        "case": 2,
        "accents": 1,
        "punctuation": 1,
        "characters": 1,
        "unreadable-image": 0,
        "too-narrow": 1,
    }
    rejected = rows(tmp_path / "pack/rejected.csv")
    assert {(row["file"], row["rule"], row["text"]) for row in rejected} == {
        ("1.png", "missing-text", ""),
        ("2.png", "missing-text", ""),
        ("3.png", "marker", "EMPTY"),
        ("6.png", "characters", "A€"),
        ("7.png", "too-narrow", "A" * 30),
    }
    assert {row["row"] for row in rejected} == {f"x.parquet:{i}" for i in (2, 3, 4, 7, 8)}
    changed = rows(tmp_path / "pack/changed.csv")
    assert [(row["rules"], row["before"], row["after"]) for row in changed] == [
        ("case accents", "zoé", "ZOE"),
        ("case punctuation", "d’or", "D'OR"),
        ("unicode", "BEN  B", "BEN B"),
    ]


def test_too_narrow_counts_the_frames_of_the_canvas(tmp_path: Path) -> None:
    source = table(tmp_path, ["AB" * 8, "AB" * 8 + "A"])  # 16 and 17 frames
    canvas = {SPEC.canvas_width(line_image(decode(png(i)), SPEC).shape[1]) for i in (0, 1)}
    assert canvas == {64}  # 16 frames of 4 pixels
    packed(source, tmp_path / "pack")
    assert Pack.open(tmp_path / "pack").texts == ["AB" * 8]
    packed(source, tmp_path / "finer", replace(SERIAL, stride=2))
    assert len(Pack.open(tmp_path / "finer")) == 2


def test_lines_without_text_can_be_kept(tmp_path: Path) -> None:
    source = table(tmp_path, ["ANNA", None, "EMPTY", None])
    report = packed(source, tmp_path / "pack", replace(SERIAL, keep_unlabelled=True))
    pack = Pack.open(tmp_path / "pack")
    assert pack.texts == ["ANNA", "", ""]
    assert pack.indices("unlabelled").tolist() == [1, 2]
    assert report.cleaning["missing-text"] == 0
    with pytest.raises(GroundTruthError, match=r"none of 1 lines has a text.* or --alphabet"):
        packed(table(tmp_path, [None], name="none"), tmp_path / "none", SERIAL)


def test_scans_that_are_kept_without_texts_need_no_column_of_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [png(0), png(1)]}), tmp_path / "scans.parquet")
    options = replace(SERIAL, keep_unlabelled=True, alphabet="AN")
    packed(tmp_path / "scans.parquet", tmp_path / "pack", options)
    assert Pack.open(tmp_path / "pack").texts == ["", ""]
    with pytest.raises(GroundTruthError, match="no column for the text"):
        packed(tmp_path / "scans.parquet", tmp_path / "other", SERIAL)


def test_ids_are_unique(tmp_path: Path) -> None:
    sources = [table(tmp_path, names(2), name=name) for name in ("x", "y", "z")]
    write_pack(sources, tmp_path / "pack", SERIAL, SPEC, progress=False)
    ids = Pack.open(tmp_path / "pack").ids
    assert ids == ["0.png", "1.png", "0.png#2", "1.png#2", "0.png#3", "1.png#3"]


def test_an_id_given_to_a_double_is_not_given_again(tmp_path: Path) -> None:
    with writer(tmp_path / "pack") as pack:
        for file in ("f", "f#2", "f", "f", "f#2"):
            add(pack, "A", file=file)
    assert Pack.open(tmp_path / "pack").ids == ["f", "f#2", "f#3", "f#4", "f#2#2"]


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc


def tiny(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (1, 1), seed % 256).save(stream, "PNG")
    return stream.getvalue()


CORRUPT: dict[str, Callable[[int], bytes | None]] = {
    "truncated": lambda i: png(i)[: len(png(i)) // 2],
    "zero bytes": lambda i: b"",
    "text": lambda i: b"Please find the scans attached.\n" * (1 + i % 7),
    "absurd size": lambda i: png_header(60_000, 60_000) + png(i)[33:],
    "missing file": lambda i: None,
    "one pixel": tiny,
    "random bytes": lambda i: np.random.default_rng(i).bytes(1000),
    "cut JPEG header": lambda i: png(i, kind="JPEG")[:100],
    "garbage after signature": lambda i: png(i)[:33] + b"garbage" * 30,
    "GIF header only": lambda i: b"GIF89a\x50\x00\x14\x00\xf7\x00\x00",
    "error page": lambda i: b"<!DOCTYPE html><title>404 Not Found</title>",
    "empty picture": lambda i: png_header(80, 20) + b"\x00\x00\x00\x00IEND\xaeB`\x82",
}


@pytest.mark.parametrize("workers", [1, 2])
def test_corrupt_images_are_named_and_no_other_line_is_lost(tmp_path: Path, workers: int) -> None:
    lines, bad, kinds = ["file,text"], [], list(CORRUPT)
    for i in range(2000):
        path = tmp_path / f"{i}.jpg"
        content: bytes | None = png(i)  # a wrong suffix is no harm
        if i % 20 == 7:
            bad.append(path.name)
            content = CORRUPT[kinds[len(bad) % len(kinds)]](i)
        if content is not None:
            path.write_bytes(content)
        lines.append(f"{path.name},{NAMES[i % 4]}")
    (tmp_path / bad[50]).unlink(missing_ok=True)
    (tmp_path / bad[50]).mkdir()  # a folder where a file should be
    (tmp_path / "t.csv").write_text("\n".join(lines))
    packed(tmp_path / "t.csv", tmp_path / "pack", replace(SERIAL, workers=workers))
    rejected = rows(tmp_path / "pack/rejected.csv")
    assert [row["file"] for row in rejected] == bad
    assert len(bad) == 100
    assert {row["rule"] for row in rejected} == {"unreadable-image"}
    assert all(row["note"] and row["row"].startswith("t.csv:") for row in rejected)
    pack = Pack.open(tmp_path / "pack", verify=True)
    good = [i for i in range(2000) if i % 20 != 7]
    assert pack.files == [f"{i}.jpg" for i in good]
    for k, i in enumerate(good[::100]):
        np.testing.assert_array_equal(pack.image(100 * k), line_image(decode(png(i)), SPEC))


def test_a_file_name_that_no_system_takes_is_one_rejected_line(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    table_ = tmp_path / "t.csv"
    table_.write_text(f"file,text\n{'x' * 5000},ANNA\n1.png,BEN\n,BEN\na\0b,BEN\n")
    packed(table_, tmp_path / "pack")
    assert Pack.open(tmp_path / "pack").files == ["1.png"]
    assert len(rows(tmp_path / "pack/rejected.csv")) == 3


def test_an_exception_midway_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "pack"
    with pytest.raises(KeyboardInterrupt), writer(out) as pack:  # noqa: PT012
        add(pack, "A")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


class Dying(ThreadPoolExecutor):
    """A pool whose workers are killed, as the system does when memory runs out."""

    def submit(self, *_arguments: Any, **_more: Any) -> Any:
        future: Future[None] = Future()
        future.set_exception(BrokenProcessPool("gone"))
        return future


def test_a_worker_that_dies_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penname.ground_truth.workers.ProcessPoolExecutor", lambda *_: Dying(1))
    with pytest.raises(PackError, match=r"died near x\.parquet:1, .*fewer --workers"):
        packed(table(tmp_path, names(3)), tmp_path / "pack", replace(SERIAL, workers=2))
    assert not (tmp_path / "pack").exists()


KILLED = """
import sys, time
from pathlib import Path
from penname.ground_truth.pack import PackOptions, write_pack
from penname.ground_truth import pack
from penname.line_image import ImageSpec

def slow(*arguments):
    print("started", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    pack._store = slow
    spec = ImageSpec(height=16, max_width=160)
    write_pack([Path(sys.argv[1])], Path(sys.argv[2]), PackOptions(workers=2), spec, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_a_killed_run_leaves_no_pack_no_workers_and_no_hindrance(tmp_path: Path) -> None:
    source, out = table(tmp_path, names(600)), tmp_path / "out" / "pack"
    (tmp_path / "run.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "run.py"), str(source), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()  # ends when the last worker has closed it
    assert process.returncode == -signal.SIGKILL
    (left,) = out.parent.iterdir()
    for path in (out, left):
        with pytest.raises(PackError, match="is not a pack"):
            Pack.open(path)
    packed(source, out)
    assert [path.name for path in out.parent.iterdir()] == ["pack"]
    assert len(Pack.open(out, verify=True)) == 600


@pytest.mark.parametrize("name", ["pixels.bin", "index.arrow", "rejected.csv", "changed.csv"])
def test_damage_is_found_and_named(tmp_path: Path, name: str) -> None:
    packed(table(tmp_path, names(10)), tmp_path / "pack")
    path = tmp_path / "pack" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackError, match=f"{name} is damaged"):
        Pack.open(tmp_path / "pack", verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(PackError, match=rf"{name} has {len(content) - 1} bytes"):
        Pack.open(tmp_path / "pack")
    path.unlink()
    with pytest.raises(PackError, match=f"{name} is missing"):
        Pack.open(tmp_path / "pack")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2, this penname reads penname-pack version 1"),
        ({"format": "other"}, "is other version 1"),
        ({"alphabet": "AA"}, "damaged pack"),
        ({"image": {"hight": 3}}, "damaged pack.*hight"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    packed(table(tmp_path, names(3)), tmp_path / "pack")
    path = tmp_path / "pack/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(PackError, match=message):
        Pack.open(tmp_path / "pack")
    path.write_text("{")
    with pytest.raises(PackError, match=r"manifest\.json is damaged"):
        Pack.open(tmp_path / "pack")


def test_the_manifest_tells_how_the_pack_was_made(tmp_path: Path) -> None:
    packed(table(tmp_path, names(20)), tmp_path / "pack", replace(SERIAL, seed=3))
    manifest = Pack.open(tmp_path / "pack").manifest
    assert manifest["created"] == "2026-10-01T12:00:00+00:00"
    assert manifest["options"]["seed"] == 3
    assert manifest["image"]["height"] == 16
    assert manifest["lines"] == sum(manifest["splits"].values()) == 20
    assert manifest["sources"] == {"x": 20}


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    source, out = table(tmp_path, names(3)), tmp_path / "pack"
    out.mkdir()
    packed(source, out)  # an empty folder is free
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(PackError, match=r"pack exists already; remove it"):
        packed(source, out)
    assert (out / "manifest.json").read_bytes() == before


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "pack"
    with pytest.raises(PackError, match="exists already"), writer(out) as pack:  # noqa: PT012
        add(pack, "A")
        out.mkdir()
        (out / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["pack", "mine"]


def test_a_pack_without_lines_is_an_error(tmp_path: Path) -> None:
    source = table(tmp_path, ["EMPTY", "A"])
    first = r"\(marker 1, characters 1; the first: .*: the text is 'EMPTY'\)"
    with pytest.raises(PackError, match=f"no line was left to pack {first}"):
        packed(source, tmp_path / "pack", replace(SERIAL, alphabet="B"))
    assert not (tmp_path / "pack").exists()


def test_a_pack_travels_to_a_worker_as_its_path(tmp_path: Path) -> None:
    packed(table(tmp_path, names(10)), tmp_path / "pack")
    pack = Pack.open(tmp_path / "pack")
    sent = pickle.dumps(pack)
    assert len(sent) < 500
    np.testing.assert_array_equal(pickle.loads(sent).pixels, pack.pixels)


def writer(out: Path) -> PackWriter:
    return PackWriter(out, Alphabet("AB"), SPEC, {"made": "here"}, now=NOW)


def add(
    pack: PackWriter, text: str, *, height: int = 16, split: str = "train", file: str = "f"
) -> None:
    pack.add(np.zeros((height, 5), np.uint8), text, file=file, source="s", split=split)


def test_the_writer_takes_line_images_directly(tmp_path: Path) -> None:
    image = np.arange(16 * 9, dtype=np.uint8).reshape(16, 9)
    with writer(tmp_path / "pack") as pack:
        for i in range(5000):  # more than one batch of the index
            view = image[:, i % 3 :: 2]  # not contiguous
            pack.add(view, "AB", file=f"{i}", source="drawn", group="g", split="train")
    opened = Pack.open(tmp_path / "pack", verify=True)
    assert len(opened) == 5000
    assert opened.manifest["options"] == {"made": "here"}
    for i in (0, 1, 4096, 4999):
        np.testing.assert_array_equal(opened.image(i), image[:, i % 3 :: 2])


@pytest.mark.parametrize(
    ("text", "height", "split", "message"),
    [
        ("A", 15, "train", r"uint8 \(16, w\), not uint8 \(15, 5\)"),
        ("C", 16, "train", "has 'C', which the alphabet lacks"),
        ("A", 16, "dev", "split is 'dev'"),
        ("", 16, "train", "only unlabelled has no text"),
        ("A", 16, "unlabelled", "only unlabelled has no text"),
    ],
)
def test_the_writer_refuses_what_does_not_belong(
    tmp_path: Path, text: str, height: int, split: str, message: str
) -> None:
    with pytest.raises(PackError, match=message), writer(tmp_path / "pack") as pack:
        add(pack, text, height=height, split=split)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values", [{"validation": 0.6, "test": 0.5}, {"test": -0.1}, {"stride": 0}, {"workers": -1}]
)
def test_impossible_options_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(values))):
        PackOptions(**values)


def test_the_report_is_for_people_and_programs(tmp_path: Path) -> None:
    report = packed(table(tmp_path, [*names(20), None]), tmp_path / "pack")
    assert json.loads(json.dumps(report.to_json()))["lines"] == 20
    text = report.table()
    assert "dropped missing-text" in text
    assert "ABCDELNOR" in text


def test_progress_is_logged_where_there_is_no_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penname.ground_truth.pack.LOG_SECONDS", 0.0)
    caplog.set_level("INFO")
    source = table(tmp_path, names(3))
    write_pack([source], tmp_path / "pack", SERIAL, SPEC, progress=True)
    assert "packed 2 of about 3 lines" in caplog.text


def test_a_line_without_a_group_keeps_its_split_wherever_it_stands(tmp_path: Path) -> None:
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(60)]
    splits = []
    for name, order in (("forth", 1), ("back", -1)):
        lines = pa.table({"image": images[::order], "text": names(60)})
        pq.write_table(lines, tmp_path / f"{name}.parquet")
        half = replace(SERIAL, validation=0.5)
        packed(tmp_path / f"{name}.parquet", tmp_path / name, half)
        pack = Pack.open(tmp_path / name)
        splits.append(dict(zip(pack.files, pack.splits, strict=True)))
    assert splits[0] == splits[1]
    assert 15 < list(splits[0].values()).count("validation") < 45


def test_a_blank_picture_is_set_aside(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (80, 20), 255).save(stream, "PNG")
    pictures = pa.table({"image": [png(0), stream.getvalue()], "text": ["A", "A"]})
    pq.write_table(pictures, tmp_path / "x.parquet")
    report = packed(tmp_path / "x.parquet", tmp_path / "pack")
    assert report.cleaning["unreadable-image"] == 1
    assert report.lines == 1


def test_a_pack_is_on_the_disk_before_it_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, rename = [], pathlib.Path.rename

    def renamed(source: Path, target: Path) -> Path:
        done.append("renamed")
        return rename(source, target)

    monkeypatch.setattr(pack_folder, "sync", lambda path: done.append(path.name))
    monkeypatch.setattr(pathlib.Path, "rename", renamed)
    packed(table(tmp_path, names(5)), tmp_path / "pack")
    before = done[: done.index("renamed")]
    assert {"pixels.bin", "index.arrow", "manifest.json"} <= set(before)
    assert stat.S_IMODE((tmp_path / "pack").stat().st_mode) == 0o755


def test_a_damaged_index_is_noticed_before_it_is_used(tmp_path: Path) -> None:
    packed(table(tmp_path, names(50)), tmp_path / "pack")
    file = tmp_path / "pack" / "index.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(PackError, match=r"index\.arrow is damaged, its sha256 differs"):
        Pack.open(tmp_path / "pack")


@pytest.mark.parametrize("change", [{"files": 1.5}, {"alphabet": {"A": 1}}, {"image": []}])
def test_an_odd_manifest_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    packed(table(tmp_path, names(5)), tmp_path / "pack")
    file = tmp_path / "pack" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PackError, match="damaged"):
        Pack.open(tmp_path / "pack")
    file.write_text("[" * 100_000)
    with pytest.raises(PackError, match="is damaged"):
        Pack.open(tmp_path / "pack")


@pytest.mark.parametrize("values", [{"validation": float("nan")}, {"test": float("nan")}])
def test_a_part_that_is_no_number_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="parts of 1 together"):
        PackOptions(**values)  # type: ignore[arg-type]
