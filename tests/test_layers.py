"""Imports point one way: the table of which module may import which (docs/architecture.md).

A module that is missing from the table fails, so the table cannot be forgotten.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import penname

ROOT = Path(penname.__file__).parent

# From the bottom up. A module may import those above it in this table, and nothing below.
LAYERS = [
    {"errors"},
    {"options", "alphabet", "cores", "files", "sorted_keys", "writing"},
    {"rulings"},
    {"line_image", "ctc", "lexicon", "metrics", "charts", "review"},
    {"network", "bigrams"},
    {"language", "fingerprint"},
    {"beam"},
    {"decoder"},
    {"model_folder", "inputs"},
    {"recognizer"},
    {"html", "slices"},
    {"ground_truth"},
    {
        "ground_truth.tables",
        "ground_truth.cleaning",
        "ground_truth.pack_folder",
        "ground_truth.workers",
    },
    {"ground_truth.sources"},
    {"ground_truth.pack"},
    {"report"},
    {"evaluate", "audit", "ground_truth.corrections"},
    {"audit_page", "predictions_page"},
    {"calibrate"},
    {"synthesis.ink", "synthesis.texts", "synthesis.corpus"},
    {"synthesis.marks"},
    {"synthesis.fonts", "synthesis.glyphs"},
    {"synthesis.strokes"},
    {"synthesis.paper"},
    {"synthesis.look_names", "synthesis.look_lines", "synthesis.damage"},
    {"synthesis.neighbours"},
    {"synthesis.kit"},
    {"synthesis.render"},
    {"synthesis.generate"},
    {"synthesis.sheet"},
    {"synthesis"},
    {"training"},
    {"training.options"},
    {"training.allocator", "training.device"},
    {
        "training.model",
        "training.loss",
        "training.augment",
        "training.checkpoint",
        "training.data",
        "training.cuda_graphs",
    },
    {"training.graph"},
    {"training.keras_file", "training.keras_options"},
    {"training.keras_graph", "training.keras_origin", "training.keras_recurrent"},
    {"training.keras_modules"},
    {"training.keras_layers"},
    {"training.progress", "training.start"},
    {"training.teacher"},
    {"training.run"},
    {"training.loop", "training.self_training"},
    {"training.export", "training.sweep_report"},
    {"training.sweep", "training.quantise", "training.keras_model"},
    {"training.cross_fit", "training.factorise", "training.prune"},
    {"commands"},
    {"commands.common"},
    {
        "commands.read",
        "commands.evaluate",
        "commands.audit",
        "commands.pack",
        "commands.train",
        "commands.export",
        "commands.sweep",
        "commands.factorise",
        "commands.prune",
        "commands.quantise",
        "commands.import_keras",
        "commands.synth",
    },
    {"cli"},
    {"__main__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

# The wings by what they need installed, each with those it may import; the core is "".
WINGS = {
    "": {""},
    "ground_truth": {"", "ground_truth"},
    "synthesis": {"", "ground_truth", "synthesis"},
    "training": {"", "ground_truth", "training"},
    "commands": {"", "ground_truth", "synthesis", "training", "commands"},
}
ALSO = {
    "report": {"ground_truth"},
    "evaluate": {"ground_truth"},
    "audit": {"ground_truth"},
    "calibrate": {"ground_truth"},
    "cli": {"commands"},
}  # modules that join wings up

PACKAGES = {  # what may be imported from elsewhere, and by whom: a module or all of a wing
    "numpy": {"*"},
    "PIL": {"line_image", "html", "synthesis"},
    "onnxruntime": {"network", "training.graph", "training.quantise"},
    "openvino": {"network"},
    "onnx": {"training.graph", "training.quantise"},
    "google": {"training.graph"},
    "h5py": {"training.keras_file"},
    "rapidfuzz": {"metrics", "decoder"},
    "pyarrow": {"inputs", "ground_truth", "synthesis"},
    "torch": {"training"},
    "safetensors": {"training"},
    "filelock": {"training.loop"},
    "tqdm": {"training", "ground_truth"},
    "yaml": {"training.sweep"},
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(file): file for file in sorted(ROOT.rglob("*.py"))}
del MODULES["__init__"]  # names every public module, lazily


def wing_of(module: str) -> str:
    wing = module.partition(".")[0]
    return wing if wing in WINGS else ""


def imports(file: Path) -> set[str]:
    """Return every module a file imports, anywhere in it, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def internal(name: str) -> str | None:
    """Return the module of penname that an imported name belongs to."""
    parts = name.split(".")[1:]
    candidates = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((module for module in candidates if module in MODULES), None)


def test_the_table_holds_every_module_and_no_other() -> None:
    assert set(LEVEL) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    own = [name for name in imports(MODULES[module]) if name.split(".")[0] == "penname"]
    upward = [name for name in own if (other := internal(name)) and LEVEL[other] >= LEVEL[module]]
    assert upward == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_the_packages_it_may(module: str) -> None:
    allowed = {module, module.split(".")[0], "*"}
    packages = {name.split(".")[0] for name in imports(MODULES[module])}
    foreign = packages - sys.stdlib_module_names - {"penname"}
    assert [p for p in foreign if not PACKAGES.get(p, set()) & allowed] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_wing_imports_only_the_wings_it_may(module: str) -> None:
    others = (internal(name) for name in imports(MODULES[module]) if name.startswith("penname."))
    allowed = WINGS[wing_of(module)] | ALSO.get(module, set())
    assert [other for other in others if other and wing_of(other) not in allowed] == []
