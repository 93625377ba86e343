"""Time and memory of `penname pack` on the 2021 project's layout, at several sizes.

    python benchmarks/packing.py --crops names_unlabelled.parquet [--sizes 10000 100000 372441]

Each size is written as written_name_{train,validation}_v2.csv and folders of JPEG files, eight
lines for training to one for validation as in the data set, copying the crops given again and
again, each into a file of its own. Memory is the proportional set size of all processes of the
command together, looked at twenty times a second. The processor time of all of them, over the
cores, is what a machine with nothing else to do would take. Prints a table, and a JSON object on
the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from penname.cores import cores
from penname.inputs import expand

SIZES = (10_000, 100_000, 372_441)
VALIDATION = 9  # one line of so many


def layout(folder: Path, crops: list[bytes], size: int) -> None:
    """Write the layout with `size` lines."""
    for split in ("train", "validation"):
        images = folder / f"{split}_v2" / split
        images.mkdir(parents=True)
        chosen = [i for i in range(size) if (i % VALIDATION == 0) == (split == "validation")]
        rows = ["FILENAME,IDENTITY"]
        for i, crop in zip(chosen, islice(cycle(crops), len(chosen)), strict=True):
            name = f"{split.upper()}_{i:06}.jpg"
            (images / name).write_bytes(crop)
            rows.append(f"{name},NAME")
        (folder / f"written_name_{split}_v2.csv").write_text("\n".join(rows) + "\n", "utf-8")


def packed(source: Path, out: Path) -> dict[str, float]:
    """Return the seconds and the most memory of `penname pack`."""
    command = [sys.executable, "-m", "penname", "pack", str(source), "--out", str(out)]
    before, started, most = cpu_seconds(), time.perf_counter(), 0
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None:
            most = max(most, memory(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu_seconds": cpu_seconds() - before, "megabytes": most / 1e6}


def cpu_seconds() -> float:
    """Return the processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(session: int) -> int:
    """Return the bytes that all processes of a session hold, shared pages split among them."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session:
                text = (process / "smaps_rollup").read_text()
                total += 1024 * int(text.split("Pss:")[1].split()[0])
        except (OSError, IndexError):  # it has ended
            continue
    return total


def main(argv: list[str] | None = None) -> None:
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", nargs="+", required=True, help="pictures to copy")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args(argv)
    crops = [
        p.source if isinstance(p.source, bytes) else Path(str(p.source)).read_bytes()
        for p in expand(arguments.crops)
    ]
    report: dict[str, Any] = {"cores": cores(), "crops": len(crops), "sizes": {}}
    print(f"{'lines':>8} {'seconds':>8} {'lines/s':>8} {'CPU s':>8} {'MB':>6}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            layout(Path(folder) / "names", crops, size)
            os.sync()  # what is still to be written of these files would slow the pack's writing
            found = packed(Path(folder) / "names", Path(folder) / "pack")
        rate = size / found["seconds"]
        cpu, megabytes = found["cpu_seconds"], found["megabytes"]
        print(
            f"{size:8,} {found['seconds']:8.1f} {rate:8,.0f} {cpu:8.1f} {megabytes:6.0f}",
            flush=True,
        )
        report["sizes"][size] = found | {"lines_per_second": rate}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
