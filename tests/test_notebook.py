"""The notebook for Kaggle and Colab runs from the first cell to the last on a small sample."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
CROPS = sorted((ROOT / "tests" / "data" / "names").glob("*.jpg"))
LINES = {"train": 4, "validation": 60, "test": 8}  # a calibration needs 50


def kaggle_layout(folder: Path) -> Path:
    """Write the committed crops, some of them twice, as the Kaggle set lays them out."""
    with (CROPS[0].parent / "names.csv").open(encoding="utf-8", newline="") as stream:
        labels = {row["file"]: row["text"] for row in csv.DictReader(stream)}
    for split, lines in LINES.items():
        pictures = folder / f"{split}_v2" / split
        pictures.mkdir(parents=True)
        rows = [("FILENAME", "IDENTITY")]
        for i in range(lines):
            crop = CROPS[i % len(CROPS)]
            rows.append((f"{split.upper()}_{i + 1:04}.jpg", labels[crop.name]))
            shutil.copy(crop, pictures / rows[-1][0])
        table = folder / f"written_name_{split}_v2.csv"
        with table.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder


def test_the_notebook_runs(tmp_path: Path) -> None:
    data, out = kaggle_layout(tmp_path / "data set"), tmp_path / "out"
    notebook = nbformat.read(  # type: ignore[no-untyped-call]
        ROOT / "examples" / "kaggle.ipynb", as_version=4
    )
    (settings,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    paths = f"DATA, OUT = Path({str(data)!r}), Path({str(out)!r})"
    settings.source += f"\n{paths}\nSTART, EPOCHS, BATCH = 'names', 1, 4"
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (record,) = map(json.loads, (out / "names-run" / "metrics.jsonl").read_text().splitlines())
    assert record["cer"] < 0.1
    model = json.loads((out / "names" / "model.json").read_text())
    assert model["confidence"]
    assert model["decoding"]
    readings = [o.text for o in notebook.cells[-1].outputs if o.output_type == "stream"]
    assert "".join(readings).count("%") == 5
    assert (out / "report.html").exists()
