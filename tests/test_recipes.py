"""Recipes: every command line in them is one that penname understands, and none is cut short."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[1] / "recipes"
# In place of `penname` and `python`: notes the words, checks penname's, leaves files to be moved.
STUB = f"""#!{sys.executable}
import os
import signal
import sys
from pathlib import Path
words = sys.argv[1:]
for word in words:
    if word.endswith(".part") and words[0] != "export":
        Path(word).touch()
if Path(sys.argv[0]).name == "penname":
    from penname.cli import parser
    from penname.options import from_flags
    from penname.training.options import TrainOptions
    arguments = parser(words).parse_args(words)
    if words[0] == "train":
        from_flags(TrainOptions, arguments).passes(len(arguments.pack))
    if words[0] == "export":
        arguments.out.mkdir(parents=True, exist_ok=True)
    if words[0] == "sweep":
        from penname.training.sweep import read_plan
        read_plan(arguments.file, arguments.out)
    with Path(__file__).with_name("words").open("a") as stream:
        print(*words, file=stream)
    if "CTRL_C" in os.environ and words[0] in ("sweep", "train"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # training takes it and ends well
        os.killpg(0, signal.SIGINT)
"""
SCRIPTS = sorted(path.name for path in RECIPES.glob("*.sh"))


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """Return a folder with a `penname` and a `python` that do nothing."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in ("penname", "python"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("script", "more"),
    [
        *((script, {}) for script in SCRIPTS),
        ("latin.sh", {"NOVELS": "a.txt"}),
    ],
)
def test_a_recipe_runs_to_its_end_with_commands_that_are_understood(
    script: str, more: dict[str, str], stubs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    few = {"SIZES": "100", "SEEDS": "1", "PATH": f"{stubs}:{os.environ['PATH']}"} | more
    run = ["bash", str(RECIPES / script), str(tmp_path / "data"), str(out)]
    done = subprocess.run(run, env=os.environ | few, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = {line.split()[0] for line in (stubs / "words").read_text().splitlines()}
    assert commands & {"sweep", "train"}
    lines = (stubs / "words").read_text().splitlines()
    assert any("--text a.txt" in line for line in lines) == ("NOVELS" in more)
    assert ({"factorise", "prune"} <= commands) == (script == "names.sh")
    assert any(".part" in line for line in lines) or script != "names.sh"
    (stubs / "words").unlink()
    assert (
        subprocess.run(run, env=os.environ | few, capture_output=True, check=False).returncode == 0
    )
    again = (stubs / "words").read_text()
    assert ".part" not in again  # what was made stays


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_recipe_ends_with_the_training_that_is_interrupted(
    script: str, stubs: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    told = os.environ | {"CTRL_C": "1", "PATH": f"{stubs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(RECIPES / script), str(tmp_path / "data"), str(tmp_path / "out")],
        env=told,
        capture_output=True,
        check=False,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # may be ignored here
    )
    assert done.returncode == 130, done.stderr
    *_, last = (stubs / "words").read_text().splitlines()
    assert last.split()[0] in ("sweep", "train")


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_variable_of_a_recipe_is_one_that_bash_sets(script: str) -> None:
    used = set(re.findall(r"\$\{?(\w+)", (RECIPES / script).read_text()))
    assert not used & {"LINES", "COLUMNS", "SECONDS", "RANDOM"}  # the first two by the terminal
