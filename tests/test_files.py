"""The files of a folder: no hidden ones, linked folders once, closed ones named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from penname.files import open_text, visible_files, work_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/.3.png", "b/1.png", "a/4.png", ".ipynb_checkpoints/5.png", "6.png"):
        (file := tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "scans"


def found(folder: Path) -> list[str]:
    return [
        (root / name).relative_to(folder).as_posix()
        for root, names in visible_files(folder)
        for name in names
    ]


def test_hidden_files_are_left_out_and_the_others_sorted(folder: Path) -> None:
    assert found(folder) == ["6.png", "a/4.png", "b/1.png", "b/2.png"]


def test_linked_folders_are_followed_once(folder: Path) -> None:
    (elsewhere := folder.parent / "elsewhere").mkdir()
    (elsewhere / "7.png").touch()
    (folder / "c").symlink_to(elsewhere)
    (folder / "d").symlink_to(folder / "a")
    (elsewhere / "back").symlink_to(folder)
    (folder / "a" / "up").symlink_to(folder.parent)
    (folder / "0").symlink_to(folder / "b")
    assert found(folder) == ["6.png", "a/4.png", "b/1.png", "b/2.png", "c/7.png"]


def test_a_folder_to_work_in_goes_with_those_that_were_left(tmp_path: Path) -> None:
    (tmp_path / ".change-killed").mkdir()
    (tmp_path / ".change-killed" / "model.onnx").touch()
    (tmp_path / "model.onnx").touch()
    with work_folder(tmp_path, "change") as folder:
        assert [each for each in tmp_path.iterdir() if each.is_dir()] == [folder]
        (folder / "new").touch()
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_a_folder_that_cannot_be_opened_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path) == os.fspath(folder / "a"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found(folder) == ["6.png", "b/1.png", "b/2.png"]
    assert caplog.messages == [f"{folder / 'a'}: Permission denied; what is in it is left out"]


def test_two_links_to_one_folder_are_one_folder(folder: Path) -> None:
    (elsewhere := folder.parent / "elsewhere").mkdir()
    (elsewhere / "7.png").touch()
    (folder / "c").symlink_to(elsewhere)
    (folder / "d").symlink_to(elsewhere)
    assert [name for name in found(folder) if name.endswith("7.png")] == ["c/7.png"]


def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    with open_text(tmp_path / "t.csv") as stream:
        stream.write("\udcff.png\n")
    assert (tmp_path / "t.csv").read_bytes() == b"\\udcff.png\n"
