"""Read the same crops with penname and, where it is installed, RapidOCR, in turns in one run.

    python benchmarks/reading.py --data validation.parquet [--rounds 3]

RapidOCR (`pip install rapidocr`) is run with its recogniser alone, PP-OCRv6 small, one crop a call
as its interface takes them. What it reads is put into capitals without accents, and a printed
"NOM:" or "PRENOM:" at the start is cut off. Both get the encoded images, so decoding counts.
Prints a table, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from penname.cores import cores
from penname.ground_truth.cleaning import CleaningOptions, clean_text
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.metrics import cer, exact, rate
from penname.recognizer import Recognizer

LABEL = re.compile(r"^\W*(?:P?RE)?NOM\W*")  # printed, its first letters often cut off
CAPITALS = CleaningOptions(case="upper", accents="strip")
Reader = Callable[[Sequence[bytes]], list[str]]


def penname() -> Reader:
    """Return penname with its included model."""
    recognizer = Recognizer.load("names")
    return lambda images: [prediction.text for prediction in recognizer.read(images)]


def rapidocr() -> Reader | None:
    """Return RapidOCR's recogniser, or None where it is not installed."""
    try:
        from rapidocr import RapidOCR
    except ImportError:
        return None
    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(images: Sequence[bytes]) -> list[str]:
        results = [engine(i, use_det=False, use_cls=False, use_rec=True) for i in images]
        return [LABEL.sub("", _capitals("".join(r.txts or ()))) for r in results]

    return read


def _capitals(text: str) -> str:
    return clean_text(text, CAPITALS, None).text


def main() -> None:
    """Time and score the readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ground truth with images in it")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    lines = [line for line in read_sources([arguments.data], SourceOptions()) if line.text]
    images = [i.read_bytes() if isinstance(i := line.image, Path) else i for line in lines]
    readers = {name: reader for name, make in SYSTEMS.items() if (reader := make())}
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    texts: dict[str, list[str]] = {}
    for reader in readers.values():
        reader(images[:32])  # warm up
    for _ in range(arguments.rounds):
        for name, reader in readers.items():
            started = time.perf_counter()
            texts[name] = reader(images)
            seconds[name].append(time.perf_counter() - started)
    report: dict[str, object] = {"n": len(images), "cores": cores(), "rounds": arguments.rounds}
    print(f"{'':10} {'crops/s':>8}  {'exact':>24}  {'CER':>22}")
    for name in readers:
        speed = len(images) / statistics.median(seconds[name])
        scores = {}
        for measure in (exact, cer):
            pairs = zip(lines, texts[name], strict=True)
            sums = [measure(line.text or "", text) for line, text in pairs]
            scores[measure.__name__] = rate(sums, seed=0)
        shown = [f"{r.value:7.1%} ({r.low:.1%} to {r.high:.1%})" for r in scores.values()]
        print(f"{name:10} {speed:8.0f}  {shown[0]:>24}  {shown[1]:>22}")
        report[name] = {"crops_per_second": speed, "seconds": seconds[name]} | {
            key: [r.value, r.low, r.high] for key, r in scores.items()
        }
    one = [_timed(readers["penname"], [image]) for image in images[:200]]
    report["penname_one_crop_ms"] = statistics.median(one) * 1e3
    print(f"penname, one crop at a time: median {report['penname_one_crop_ms']:.1f} ms")
    print(json.dumps(report))


def _timed(reader: Reader, images: Sequence[bytes]) -> float:
    started = time.perf_counter()
    reader(images)
    return time.perf_counter() - started


SYSTEMS: dict[str, Callable[[], Reader | None]] = {"penname": penname, "rapidocr": rapidocr}

if __name__ == "__main__":
    main()
