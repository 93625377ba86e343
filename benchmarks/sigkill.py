"""Kill a training run with SIGKILL at random moments and compare it with one that was left alone.

Every time, the run goes on from its newest checkpoint; one SIGTERM comes last, which it must take
with exit code 0. In the end weights, averaged weights, optimiser, best weights and metrics.jsonl
must be the same bytes as the uninterrupted run's.

    python benchmarks/sigkill.py            ten kills, a small network
    python benchmarks/sigkill.py --full     the `names` network

Prints what it did for people, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import IO

import numpy as np
import torch
import torch._dynamo  # AdamW imports it when it is made, which takes a second
from PIL import Image, ImageDraw, ImageFont

from penname.alphabet import Alphabet
from penname.ground_truth.pack_folder import PackWriter
from penname.line_image import ImageSpec, line_image
from penname.training import checkpoint, model
from penname.training.loop import train
from penname.training.options import TrainOptions

# This process imports torch and computes nothing, so that it may fork: a run then starts in
# a tenth of the time that importing takes.

NAMES = ("ADA", "BLAISE", "EMMY", "ISAAC", "KURT", "LISE", "MARIE", "NIELS", "PAUL", "SOPHIE")
FASTER = 10  # seconds of a run's clock in a second, so that --save-every 1s is 0.1 s


def write_pack(folder: Path) -> Path:
    """Write a pack of drawn names."""
    spec = ImageSpec(height=32, max_width=128)
    with PackWriter(folder, Alphabet.of(NAMES), spec, {}) as pack:
        for i in range(48):
            text = NAMES[i % len(NAMES)]
            picture = Image.new("L", (160, 32), 255)
            ImageDraw.Draw(picture).text((8, i % 5), text, 0, ImageFont.load_default(20))
            split = "train" if i < 40 else "validation"
            image = line_image(np.asarray(picture), spec)
            pack.add(image, text, file=f"{i}.png", source="drawn", split=split)
    return folder


def start(
    pack: Path, out: Path, save_every: str, *, full: bool, epochs: int
) -> tuple[int, IO[bytes]]:
    """Start or resume a run in a process of its own; return its id and a byte for each step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, os.fdopen(reading, "rb", buffering=0)
    code = 1
    try:
        os.close(reading)
        out.mkdir(exist_ok=True)
        os.dup2(os.open(out / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        if not full:
            model.SHAPES["names"] = model.Shape((8,), (8, 16, 16, 16), (1, 1, 1, 1), 16)
            torch.set_num_threads(1)

        def clock() -> float:  # is asked at the start, after each step and after each checkpoint
            os.write(writing, b".")
            return FASTER * time.monotonic()

        options = TrainOptions(epochs=epochs, batch_size=4, save_every=save_every)
        train([pack], out, options, resume=True, clock=clock)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(child: tuple[int, IO[bytes]]) -> int | None:
    """Wait for a run to end; return its exit code, None when a signal ended it."""
    with child[1] as ticks:
        while ticks.read(4096):
            pass
    status = os.waitpid(child[0], 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def stop(
    child: tuple[int, IO[bytes]], ticks: int, seconds: float, number: signal.Signals
) -> int | None:
    """Send a run a signal some seconds after so many ticks of its clock; return as `end` does."""
    for _ in range(ticks):
        if not child[1].read(1):
            raise SystemExit("a run ended before it could be stopped; see its log")
    time.sleep(seconds)
    os.kill(child[0], number)
    return end(child)


def files(out: Path) -> dict[str, bytes]:
    """Return what a run leaves, apart from how long it took."""
    newest = checkpoint.latest(out)
    assert newest, f"{out} has no checkpoint"
    state = checkpoint.read_state(newest) | {"seconds": 0, "options": {}}
    found = {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}
    best = out / "best" / "weights.safetensors"
    return found | {
        "state.json": json.dumps(state).encode(),
        "best": best.read_bytes(),
        "metrics.jsonl": (out / "metrics.jsonl").read_bytes(),
    }


def compare(folder: Path, kills: int, seed: int, *, full: bool, epochs: int) -> dict[str, object]:
    """Train uninterrupted and killed, and return what happened."""
    moments, pack = random.Random(seed), write_pack(folder / "pack")
    alone, killed = folder / "alone", folder / "killed"
    end(start(pack, alone, "", full=full, epochs=epochs))
    expected, total = files(alone), _step(alone)
    print(f"uninterrupted: {total} steps")
    steps: list[int] = []
    for more in range(kills, 0, -1):
        often = moments.choice(("0s", "1s"))  # 0s: after each step, so often killed while saving
        child = start(pack, killed, often, full=full, epochs=epochs)
        ticks = moments.randint(1, 2 * (total - _step(killed)) // (more + 2))
        seconds = moments.uniform(0, 0.02)
        stop(child, ticks, seconds, signal.SIGKILL)
        steps.append(_step(killed))
        left = " ".join(path.name for path in killed.glob(".step-*.partial"))
        print(f"{ticks} ticks and {seconds:.4f} s: killed; checkpoint of {steps[-1]} {left}")
    code = stop(start(pack, killed, "1s", full=full, epochs=epochs), 3, 0, signal.SIGTERM)
    print(f"SIGTERM: exit code {code}, checkpoint of {_step(killed)}")
    end(start(pack, killed, "5s", full=full, epochs=epochs))
    found = files(killed)
    for name in sorted(expected.keys() | found.keys()):
        print(f"{name:24} {'same' if found.get(name) == expected.get(name) else 'DIFFERENT'}")
    return {
        "kills": len(steps),
        "seed": seed,
        "steps_at_kills": steps,
        "sigterm_exit_code": code,
        "compared": sorted(expected),
        "identical": found == expected,
        "left_over": sorted(path.name for path in killed.glob(".*.partial")),
        "steps": total,
    }


def _step(out: Path) -> int:
    newest = checkpoint.latest(out)
    return int(checkpoint.read_state(newest)["step"]) if newest else 0


def main() -> int:
    """Run the comparison in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="of the moments")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--full", action="store_true", help="the `names` network")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(
            Path(folder),
            arguments.kills,
            arguments.seed,
            full=arguments.full,
            epochs=arguments.epochs,
        )
    print(json.dumps(result))
    return 0 if result["identical"] else 1


if __name__ == "__main__":
    sys.exit(main())
