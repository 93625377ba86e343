"""Read the same crops with penname and other people's recognisers, in turns in one run.

    python benchmarks/compare.py --data validation.parquet [--model names] [--trocr FOLDER]

- RapidOCR (`pip install rapidocr`): its recogniser alone, PP-OCRv6 small, one crop a call as its
  interface takes them.
- Tesseract (`apt install tesseract-ocr tesseract-ocr-fra`): `--psm 7`, a single text line, all
  crops in one process.
- TrOCR: a folder with a model and its processor, through `transformers` (`pip install
  transformers`), 16 crops at a time, greedily.

What is not there is said, and left out. What the others read is put into capitals without accents,
and a printed "NOM:" or "PRENOM:" at the start is cut off, misread or not. All get the encoded
images, so decoding counts. Prints a table, and a JSON object on the last line. Exact match and CER
are given with 95 % intervals over crops, crops a second as the median of the rounds with the
slowest and the fastest.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from penname.cores import cores
from penname.errors import OptionError
from penname.ground_truth.cleaning import CleaningOptions, clean_text
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.metrics import cer, exact, rate
from penname.network import RUNTIME
from penname.recognizer import Recognizer

# A printed "NOM:" or "PRENOM:", its first letters often cut off or misread.
LABEL = re.compile(r"^(?:[^:]{0,10}:|\W*(?:P?RE)?NOM)\W*(?=\w)")
CAPITALS = CleaningOptions(case="upper", accents="strip")
WARM_UP = 32  # crops
TROCR_BATCH = 16
Reader = Callable[[Sequence[bytes]], list[str]]


class AbsentError(Exception):
    """A reader that is not installed, and how to get it."""


def penname(model: str, runtime: str = RUNTIME, *, quick: bool = False) -> Reader:
    """Return penname with a model."""
    try:
        recognizer = Recognizer.load(model, runtime=runtime)
    except OptionError as error:
        raise AbsentError(str(error)) from None
    recognizer = recognizer.quick() if quick else recognizer
    return lambda images: [prediction.text for prediction in recognizer.read(images)]


def rapidocr() -> Reader:
    """Return RapidOCR's recogniser."""
    try:
        from rapidocr import RapidOCR
    except ImportError:
        raise AbsentError("pip install rapidocr") from None
    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(images: Sequence[bytes]) -> list[str]:
        results = [engine(i, use_det=False, use_cls=False, use_rec=True) for i in images]
        return [_name("".join(r.txts or ())) for r in results]

    return read


def tesseract() -> Reader:
    """Return Tesseract for French, else for English."""
    if not shutil.which("tesseract"):
        raise AbsentError("apt install tesseract-ocr tesseract-ocr-fra")
    known = subprocess.run(
        ["tesseract", "--list-langs"], capture_output=True, text=True, check=True
    ).stdout.split()
    language = "fra" if "fra" in known else "eng"

    def read(images: Sequence[bytes]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{i}.img" for i in range(len(images))]
            for file, image in zip(files, images, strict=True):
                file.write_bytes(image)
            names = Path(folder) / "files.txt"
            names.write_text("".join(f"{file}\n" for file in files))
            command = ["tesseract", str(names), "stdout", "--psm", "7", "-l", language]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        pages = done.stdout.split("\f")
        if len(pages) != len(images):
            raise RuntimeError(f"tesseract wrote {len(pages)} pages for {len(images)} crops")
        return [_name(page) for page in pages]

    return read


def trocr(folder: Path | None) -> Reader:
    """Return a TrOCR model from its folder; nothing is fetched."""
    if not folder:
        raise AbsentError("give --trocr FOLDER")
    try:
        import torch
        from transformers import TrOCRProcessor, VisionEncoderDecoderModel
    except ImportError:
        raise AbsentError("pip install transformers torch torchvision") from None
    processor = TrOCRProcessor.from_pretrained(folder, local_files_only=True)
    model = VisionEncoderDecoderModel.from_pretrained(folder, local_files_only=True).eval()

    def read_some(images: Sequence[bytes]) -> list[str]:
        pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
        pixels = processor(images=pictures, return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = model.generate(pixels, max_new_tokens=32, num_beams=1)
        return [_name(t) for t in processor.batch_decode(tokens, skip_special_tokens=True)]

    def read(images: Sequence[bytes]) -> list[str]:
        starts = range(0, len(images), TROCR_BATCH)
        return [text for i in starts for text in read_some(images[i : i + TROCR_BATCH])]

    return read


def _name(text: str) -> str:
    """Return a reading as the data set writes names."""
    return LABEL.sub("", clean_text(text, CAPITALS, None).text)


def main() -> None:
    """Time and score the readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ground truth with images in it")
    parser.add_argument("--model", default="names", help="penname's model")
    parser.add_argument("--trocr", type=Path, help="folder of a TrOCR model")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    lines = [line for line in read_sources([arguments.data], SourceOptions()) if line.text]
    images = [i.read_bytes() if isinstance(i := line.image, Path) else i for line in lines]
    report: dict[str, object] = {"n": len(images), "cores": cores(), "rounds": arguments.rounds}
    readers: dict[str, Reader] = {}
    systems: dict[str, Callable[[], Reader]] = {
        "penname": partial(penname, arguments.model),
        "rapidocr": rapidocr,
        "tesseract": tesseract,
        "trocr": partial(trocr, arguments.trocr),
    }
    for name, make in systems.items():
        try:
            readers[name] = make()
        except AbsentError as absent:
            report[name] = {"absent": str(absent)}
            print(f"{name} is left out: {absent}")
    texts, seconds = _in_turns(readers, images, arguments.rounds)
    print(f"{'':10} {'crops/s':>22}  {'exact':>24}  {'CER':>24}")
    for name in readers:
        speeds = sorted(len(images) / each for each in seconds[name])
        speed = (statistics.median(speeds), speeds[0], speeds[-1])
        pairs = [(line.text or "", text) for line, text in zip(lines, texts[name], strict=True)]
        scores = {m.__name__: rate([m(*pair) for pair in pairs], seed=0) for m in (exact, cer)}
        shown = [f"{r.value:7.1%} ({r.low:.1%} to {r.high:.1%})" for r in scores.values()]
        range_ = "{:.1f} ({:.1f} to {:.1f})".format(*speed)
        print(f"{name:10} {range_:>22}  {shown[0]:>24}  {shown[1]:>24}")
        report[name] = {"crops_per_second": speed} | {key: list(r) for key, r in scores.items()}
    one = [_timed(readers["penname"], [image])[1] for image in images[:200]]
    report["penname_one_crop_ms"] = statistics.median(one) * 1e3
    print(f"penname, one crop at a time: median {report['penname_one_crop_ms']:.1f} ms")
    print(json.dumps(report))


def _in_turns(
    readers: dict[str, Reader], images: Sequence[bytes], rounds: int
) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    """Return what each reader read, and how long each round took."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    texts: dict[str, list[str]] = {}
    for reader in readers.values():
        reader(images[:WARM_UP])
    for _ in range(rounds):
        for name, reader in readers.items():
            texts[name], took = _timed(reader, images)
            seconds[name].append(took)
    return texts, seconds


def _timed(reader: Reader, images: Sequence[bytes]) -> tuple[list[str], float]:
    started = time.perf_counter()
    texts = reader(images)
    return texts, time.perf_counter() - started


if __name__ == "__main__":
    main()
