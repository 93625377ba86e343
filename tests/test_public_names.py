"""What `import penname` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import penname
from penname.cli import COMMANDS

HEAVY = {"numpy", "PIL", "onnxruntime", "pyarrow", "rapidfuzz", "torch"}


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages that are imported after running some code."""
    code += f"\nimport sys; print(*({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_every_public_name_is_there() -> None:
    assert dir(penname) == sorted(penname.__all__)
    for name in penname.__all__:
        assert getattr(penname, name) is not None


def test_a_public_name_is_the_class_of_its_module() -> None:
    from penname.recognizer import Prediction, Recognizer

    assert penname.Recognizer is Recognizer
    assert penname.Prediction is Prediction


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="'Recogniser'"):
        _ = penname.Recogniser


def test_importing_costs_nothing() -> None:
    assert loaded_after("import penname; penname.__version__") == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["read", "--help"]])
def test_help_costs_nothing(words: list[str]) -> None:
    code = f"from penname.cli import main\ntry: main({words})\nexcept SystemExit: pass"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_building_flags_needs_neither_torch_nor_onnxruntime(command: str) -> None:
    code = f"from penname.cli import parser\nparser([{command!r}])"
    assert not loaded_after(code) & {"torch", "onnxruntime"}
