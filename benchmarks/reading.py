"""How fast penname and others read, in turns in one run: throughput, one picture, cold start.

    python benchmarks/reading.py --data validation.parquet [--model names] [--rounds 3]

The readers are those of `compare.py`, which scores them, penname with `--quick` and with OpenVINO,
and kraken's default network (height 120, three LSTM layers of 200 cells) with random weights in
torch, batches of 32, decoding left out: kraken comes without a model, and its wheel asks for older
packages than penname's. Tesseract and kraken's network read --few pictures.

All get encoded pictures, so decoding counts. Beside the time that passes stands that of the
processors, which other work on the machine disturbs less. Then one picture at a time; `penname read
one.jpg` from the start of its process to its end; and penname's throughput by batch size. Prints
tables, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import compare
import numpy as np

from penname.cores import cores
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.line_image import ImageSpec, decode, line_image, on_canvas
from penname.recognizer import Recognizer

BATCH = 32
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
TURN = 20  # pictures that a reader reads one by one before the next has its turn
Reader = Callable[[Sequence[bytes]], list[str]]


def kraken() -> Reader:
    """Return kraken's default network with random weights."""
    import torch
    import training

    network = training.Columns(training.kraken_layers(), 120, 200, 0.5).eval()
    spec = ImageSpec(
        height=120, max_width=4000, trim="none", max_scale=8, writing=0.0, rulings="keep"
    )

    def read(pictures: Sequence[bytes]) -> list[str]:
        torch.set_num_threads(cores())
        lines = sorted((line_image(decode(i), spec) for i in pictures), key=lambda x: x.shape[1])
        with torch.inference_mode():
            for start in range(0, len(lines), BATCH):
                batch = lines[start : start + BATCH]
                network(torch.from_numpy(on_canvas(batch, batch[-1].shape[1])) / 255)
        return []

    return read


READERS: dict[str, Callable[[str], Reader]] = {
    "penname": compare.penname,
    "penname, quick": lambda model: compare.penname(model, quick=True),
    "penname, openvino": lambda model: compare.penname(model, "openvino"),
    "rapidocr": lambda _: compare.rapidocr(),
    "tesseract": lambda _: compare.tesseract(),
    "kraken's network": lambda _: kraken(),
}
SLOW = ("tesseract", "kraken's network")


@dataclass
class Taken:
    """What a reader took for each picture in each round: milliseconds, and of the processors."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Pictures a second, the median of the rounds."""
        return 1e3 / statistics.median(self.wall)


def throughput(
    readers: dict[str, Reader], pictures: dict[str, list[bytes]], rounds: int
) -> dict[str, Taken]:
    """Return what each picture takes, of readers that take turns."""
    taken = {name: Taken() for name in readers}
    for name, reader in readers.items():
        reader(pictures[name][:16])  # warm up
    for _ in range(rounds):
        for name, reader in readers.items():
            cpu, started = cpu_seconds(), time.perf_counter()
            reader(pictures[name])
            each = 1e3 / len(pictures[name])
            taken[name].wall.append((time.perf_counter() - started) * each)
            taken[name].cpu.append((cpu_seconds() - cpu) * each)
    return taken


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def one_at_a_time(readers: dict[str, Reader], images: list[bytes]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of one picture, of readers that take turns.

    A turn is `TURN` pictures, so that most find the caches warm and no other reader's threads
    still spinning.
    """
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for start in range(0, len(images), TURN):
        for name, reader in readers.items():
            for image in images[start : start + TURN]:
                started = time.perf_counter()
                reader([image])
                taken[name].append((time.perf_counter() - started) * 1e3)
    return {
        name: {"median": statistics.median(each), "p95": float(np.percentile(each, 95))}
        for name, each in taken.items()
    }


def cold_start(model: str, image: bytes, times: int) -> dict[str, float]:
    """Return the seconds from the start of `penname read one.jpg` to its end, and its CPU time.

    Python keeps its compiled files, as it does but where `PYTHONDONTWRITEBYTECODE` forbids it.
    """
    wall, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / "one.jpg").write_bytes(image)
        command = [sys.executable, "-m", "penname", "read", str(file), "--model", model]
        kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}
        run = partial(subprocess.run, command, check=True, capture_output=True, env=kept)
        run()  # compiles
        for _ in range(times):
            before, started = cpu_seconds(), time.perf_counter()
            run()
            wall.append(time.perf_counter() - started)
            cpu.append(cpu_seconds() - before)
    return {"median_s": statistics.median(wall), "least_s": min(wall), "cpu_s": min(cpu)}


def by_batch(model: str, images: list[bytes], rounds: int) -> dict[str, float]:
    """Return penname's pictures a second by batch size; the sizes take turns."""
    recognizer = Recognizer.load(model)
    readers: dict[str, Reader] = {
        str(size): lambda images, size=size: [
            prediction.text for prediction in recognizer.read(images, batch_size=size)
        ]
        for size in BATCHES
    }
    taken = throughput(readers, dict.fromkeys(readers, images), rounds)
    return {size: each.per_second for size, each in taken.items()}


def main(argv: list[str] | None = None) -> None:
    """Time the readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ground truth with images in it")
    parser.add_argument("--model", default="names", help="penname's model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=400, help="pictures read")
    parser.add_argument("--few", type=int, default=40, help="pictures the slow ones read")
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    arguments = parser.parse_args(argv)
    lines = [line for line in read_sources([arguments.data], SourceOptions()) if line.text]
    lines = lines[:: max(1, len(lines) // arguments.limit)][: arguments.limit]
    pictures = [i.read_bytes() if isinstance(i := line.image, Path) else i for line in lines]
    readers = made(arguments.readers, arguments.model)
    each = dict.fromkeys(readers, pictures) | dict.fromkeys(SLOW, pictures[: arguments.few])
    taken = throughput(readers, each, arguments.rounds)
    report: dict[str, Any] = {
        "n": len(pictures),
        "model": arguments.model,
        "data": arguments.data.stem,
        "cores": cores(),
        "milliseconds": {name: asdict(found) for name, found in taken.items()},
        "penname_times": {},
    }
    print(f"{'':18} {'pictures/s':>10} {'penname is':>10} {'CPU ms':>8} {'penname is':>10}")
    for name, found in taken.items():
        times = found.per_second, statistics.median(found.cpu)
        ours = taken["penname"].per_second, statistics.median(taken["penname"].cpu)
        ratios = ours[0] / times[0], times[1] / ours[1]
        report["penname_times"][name] = {"wall": ratios[0], "cpu": ratios[1]}
        print(f"{name:18} {times[0]:10.1f} {ratios[0]:9.1f}x {times[1]:8.2f} {ratios[1]:9.1f}x")
    alone = {name: reader for name, reader in readers.items() if name not in SLOW}
    report["one_picture_ms"] = one_at_a_time(alone, pictures[:200])
    print("one picture at a time, ms:", report["one_picture_ms"], flush=True)
    report["cold_start"] = cold_start(arguments.model, pictures[0], arguments.rounds)
    print("`penname read one.jpg`, from nothing:", report["cold_start"], flush=True)
    report["per_second_by_batch"] = by_batch(arguments.model, pictures, arguments.rounds)
    print("pictures/s by batch size:", report["per_second_by_batch"])
    print(json.dumps(report))


def made(names: list[str], model: str) -> dict[str, Reader]:
    """Return the readers that are there, saying which are not."""
    readers = {}
    for name in names:
        try:
            readers[name] = READERS[name](model)
        except (compare.AbsentError, ImportError) as error:
            print(f"{name} is not here: {error}")
    return readers


if __name__ == "__main__":
    main()
