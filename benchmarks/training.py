"""Images a second of a whole training step: penname's ways, and those of others, in one run.

    python benchmarks/training.py [--device cuda --batch 1024] [--only TEXT]

A step is everything: loading, augmentation (penname's alone has one), forward, backward, update.
All ways read the same committed crops, again and again: penname from a pack, with canvases of 192
and 224 pixels (the mean of the names set is 211); the others from one JPEG an item, as they do.

- `names, origin's loop` and `origin` are the 2021 project's loop: a DataLoader that opens one JPEG
  per item, batches of 32, fp32, Adam; with penname's network, and with its own.
- `PyLaia's` and `kraken's` are loops over networks of those projects' architecture, written here:
  their layers, cells made so that they have as many weights as `names`, line images of the same
  height, one image an item, fp32, Adam.

The ways take turns, each in a process of its own, so that other work on the machine disturbs all
alike and none changes another's settings; images per second of that process's processor time are
disturbed less. Prints as it goes, then a table, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from penname.alphabet import Alphabet
from penname.cores import cores
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import ImageSpec, decode, line_image, on_canvas
from penname.model_folder import ModelFolder
from penname.training.augment import augment
from penname.training.data import Batch, loaded
from penname.training.model import Origin, as_ink, build, parameters
from penname.training.options import TrainOptions
from penname.training.run import Run

CROPS = Path(__file__).parent.parent / "tests" / "data" / "names"
ALPHABET = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ -'")
WIDTHS = (192, 224)  # canvases, as many of each
PEAKS = {"H100": 989e12, "H200": 989e12}  # dense bf16 operations a second, as NVIDIA gives them
Steps = Iterator[int]  # does a step each time, and gives the number of its images


@dataclass(frozen=True)
class Bench:
    """What every way gets."""

    folder: Path
    device: torch.device
    batch: int
    height: int
    preset: str
    workers: int
    threads: int

    @property
    def spec(self) -> ImageSpec:
        """How crops become line images."""
        return ImageSpec(height=self.height)


def truth() -> list[tuple[Path, str]]:
    """Return the committed crops with their texts."""
    with (CROPS / "names.csv").open(encoding="utf-8", newline="") as stream:
        return [(CROPS / row["file"], row["text"]) for row in csv.DictReader(stream)]


def prepare(bench: Bench, lines: int, files: int) -> None:
    """Write a pack of `lines` lines and `files` JPEG files, copies of the crops."""
    crops = [(line_image(decode(file), bench.spec), text) for file, text in truth()]
    rng = np.random.default_rng(0)
    with PackWriter(bench.folder / "pack", ALPHABET, bench.spec, {}) as writer:
        for i, (crop, text) in enumerate(islice(cycle(crops), lines)):
            width = WIDTHS[i % 2] - int(rng.integers(32))
            image = on_canvas([crop[:, :width]], width)[0, 0]
            writer.add(image, text, file=f"{i}", source="", split="train")
    (bench.folder / "files").mkdir()
    for i, (file, _) in enumerate(islice(cycle(truth()), files)):
        (bench.folder / "files" / f"{i}.jpg").write_bytes(file.read_bytes())


# penname's ways


def penname(
    bench: Bench,
    *,
    precision: str = "auto",
    threads: int = 0,
    change: str = "",
    fixed: bool = False,
    height_step: int = 0,
) -> Steps:
    """Train as `penname train` does; `change` names what is different, `fixed` repeats a batch."""
    torch.set_num_threads(threads or bench.threads)
    run = start(bench, precision, height_step)
    if change in ("compile", "channels first", "not recorded"):
        run.recorded = {}
    if change == "compile":
        run.network.compile()
    if change == "channels first":
        run.network.to(memory_format=torch.contiguous_format)
        run.network.register_forward_pre_hook(lambda _, inputs: inputs[0].contiguous())
    if change == "not resident":
        run.train.resident = None
    if fixed:
        batch = next(batches(run))
        while True:
            run.step(batch)
            yield len(batch.ids)
    for batch in batches(run):
        torch.set_num_threads(threads or bench.threads)
        run.step(batch)
        yield len(batch.ids)


def start(bench: Bench, precision: str = "auto", height_step: int = 0) -> Run:
    """Return a new run."""
    options = TrainOptions(
        preset=bench.preset,
        batch_size=bench.batch,
        precision=precision,
        device=str(bench.device),
        epochs=10_000,
        height_step=height_step,
    )
    like = ModelFolder.load(bench.preset) if height_step else None
    return Run([Pack.open(bench.folder / "pack")], bench.folder / "run", options, start=like)


def batches(run: Run) -> Iterator[Batch]:
    """Yield full batches without end."""
    for epoch in range(10_000):
        planned = [b for b in run.plan(epoch) if len(b) == run.options.batch_size]
        with closing(loaded(run.train, planned, run.device)) as loading:
            yield from loading


# others' ways


class Files(Dataset[tuple[Tensor, Tensor]]):
    """One JPEG an item: 256 x 64, cut or padded as the 2021 project did, or fitted to a height."""

    def __init__(self, bench: Bench, *, crop: bool) -> None:
        self.files = sorted((bench.folder / "files").iterdir(), key=lambda f: int(f.stem))
        self.labels = [torch.from_numpy(ALPHABET.encode(text)) for _, text in truth()]
        self.height, self.crop = bench.height, crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.files[index]) as file:
            picture = file.convert("L")
        if self.crop:
            grey = np.full((64, 256), 255, dtype=np.uint8)
            cut = np.asarray(picture)[:64, :256]
            grey[: cut.shape[0], : cut.shape[1]] = cut
        else:
            width = round(picture.width * self.height / picture.height)
            width = min(WIDTHS[1], max(WIDTHS[0], width))  # as wide as penname's
            grey = np.asarray(picture.resize((width, self.height), Image.Resampling.BILINEAR))
        image = 1 - torch.from_numpy(grey / np.float32(255))[None]
        return image, self.labels[index % len(self.labels)]


def together(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return images padded to the widest (N, 1, H, W), labels one after another, and lengths."""
    widest = max(image.shape[2] for image, _ in items)
    images = [nn.functional.pad(image, (0, widest - image.shape[2])) for image, _ in items]
    labels = [label for _, label in items]
    return torch.stack(images), torch.cat(labels), torch.tensor([len(each) for each in labels])


def files_loop(
    bench: Bench, make: Callable[[Bench], nn.Module], batch: int, *, crop: bool
) -> Steps:
    """Train on one JPEG an item, in fp32 with Adam."""
    torch.set_num_threads(bench.threads)
    network = make(bench).to(bench.device).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    loader = DataLoader(
        Files(bench, crop=crop),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=bench.workers,
        persistent_workers=bench.workers > 0,
        collate_fn=together,
    )
    criterion = nn.CTCLoss(zero_infinity=True)
    while True:
        for images, labels, lengths in loader:
            torch.set_num_threads(bench.threads)
            logits = network(images.to(bench.device))
            logits = logits[0] if isinstance(logits, tuple) else logits
            log_probs = logits.log_softmax(-1).transpose(0, 1)  # (N, T, C) -> (T, N, C)
            frames = torch.full((len(images),), log_probs.shape[0])
            loss = criterion(log_probs, labels.to(bench.device), frames, lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            float(loss.detach())  # as a loop that shows its loss does
            yield len(images)


class Columns(nn.Module):
    """Convolutions, then LSTM layers over their columns: (N, 1, H, W) -> (N, T, C)."""

    def __init__(self, layers: list[nn.Module], height: int, cells: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*layers)
        with torch.no_grad():
            features = self.convolutions(torch.zeros(1, 1, height, 64))
        size = features.shape[1] * features.shape[2]
        self.recurrent = nn.LSTM(
            size, cells, 3, bidirectional=True, batch_first=True, dropout=dropout
        )
        self.head = nn.Linear(2 * cells, ALPHABET.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        x = self.convolutions(images).permute(0, 3, 1, 2).flatten(2)  # -> (N, T, F * H')
        frames, _ = self.recurrent(x)
        return self.head(frames)


def pylaia(bench: Bench) -> nn.Module:
    """Return PyLaia's CRNN: convolutions of 16/16/32/32, three pools, three BiLSTM layers."""
    layers: list[nn.Module] = []
    for inputs, outputs, pool in ((1, 16, 2), (16, 16, 2), (16, 32, 2), (32, 32, 0)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
        layers += [nn.LeakyReLU()] + ([nn.MaxPool2d(pool)] if pool else [])
    return sized(bench, lambda cells: Columns(layers, bench.height, cells, 0.5))


def kraken(bench: Bench) -> nn.Module:
    """Return kraken's default network, its cells fitted to our number of weights."""
    return sized(bench, lambda cells: Columns(kraken_layers(), bench.height, cells, 0.5))


def kraken_layers() -> list[nn.Module]:
    """Return the convolutions Cr3,13,32 Mp2 Cr3,13,32 Mp2 Cr3,9,64 Mp2 Cr3,9,64."""
    layers: list[nn.Module] = []
    convolutions = ((1, 32, 13, 2), (32, 32, 13, 2), (32, 64, 9, 2), (64, 64, 9, 0))
    for inputs, outputs, wide, pool in convolutions:
        layers += [nn.Conv2d(inputs, outputs, (3, wide), padding=(1, wide // 2)), nn.ReLU()]
        layers += [nn.Dropout2d(0.1)] + ([nn.MaxPool2d(pool)] if pool else [])
    return layers


def sized(bench: Bench, make: Callable[[int], nn.Module]) -> nn.Module:
    """Return the network with the fewest cells that has as many weights as penname's."""
    wanted = parameters(ours(bench))
    return next(net for cells in range(8, 1024, 8) if parameters(net := make(cells)) >= wanted)


def ours(bench: Bench) -> nn.Module:
    """Return penname's network."""
    return build(TrainOptions(preset=bench.preset), bench.height, ALPHABET.classes)


def origin(bench: Bench) -> nn.Module:
    """Return the 2021 project's network."""
    return Origin(64, ALPHABET.classes, mish=False)


WAYS: dict[str, Callable[[Bench], Steps]] = {
    "penname": penname,
    "penname, rows of the ink": lambda b: penname(b, height_step=16),
    "penname, one batch again and again": lambda b: penname(b, fixed=True),
    "penname, not resident on the GPU": lambda b: penname(b, change="not resident"),
    "penname, launched kernel by kernel": lambda b: penname(b, change="not recorded"),
    "penname, channels first": lambda b: penname(b, change="channels first"),
    "penname, fp32": lambda b: penname(b, precision="fp32"),
    "penname, one thread": lambda b: penname(b, threads=1),
    "penname, compiled": lambda b: penname(b, change="compile"),
    "names, origin's loop": lambda b: files_loop(b, ours, 32, crop=True),
    "origin": lambda b: files_loop(b, origin, 32, crop=True),
    "PyLaia's": lambda b: files_loop(b, pylaia, b.batch, crop=False),
    "kraken's": lambda b: files_loop(b, kraken, b.batch, crop=False),
}
ONLY_ON = {
    "penname, not resident on the GPU": "cuda",
    "penname, launched kernel by kernel": "cuda",
    "penname, one thread": "cpu",
}


# measuring


def measure(
    bench: Bench, names: list[str], rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Return images a second of each way: the ways take turns, `rounds` times."""
    report: dict[str, dict[str, Any]] = {}
    running: dict[str, subprocess.Popen[str]] = {}
    for name in names:
        process = begin(bench, name)
        report[name] = answer(process)
        if "error" in report[name]:  # one way that fails here must not lose the others
            process.communicate()
            print(f"{name}: {report[name]['error']}", flush=True)
            continue
        running[name] = process
        report[name] |= {"images_per_second": [], "images_per_cpu_second": []}
        print(f"{name}: first steps {report[name]['first_steps_s']:.1f} s", flush=True)
    for _ in range(rounds):
        for name, process in running.items():
            rate, cpu = answer(process, seconds)["rates"]
            report[name]["images_per_second"].append(rate)
            report[name]["images_per_cpu_second"].append(cpu)
            print(f"{name}: {rate:,.0f} images/s, {cpu:,.0f} a CPU second", flush=True)
    for process in running.values():
        process.communicate()
    return report


def begin(bench: Bench, name: str) -> subprocess.Popen[str]:
    """Start a process that trains in one way whenever it is asked to."""
    told = vars(bench) | {"folder": str(bench.folder), "device": str(bench.device)}
    command = [sys.executable, __file__, "--way", name, "--bench", json.dumps(told)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str], seconds: float | None = None) -> dict[str, Any]:
    """Return what a way's process says next, when it has been asked to train for so long."""
    assert process.stdin
    assert process.stdout
    if seconds is not None:
        print(seconds, file=process.stdin, flush=True)
    return json.loads(process.stdout.readline() or '{"error": "its process has died"}')


def serve(name: str, bench: Bench) -> None:
    """Be the process of a way: begin, then train for as many seconds as each line of input says."""
    began = time.perf_counter()
    try:
        steps = WAYS[name](bench)
        for _ in range(4):  # both canvas widths, and what is tuned or compiled on first use
            next(steps)
        settle(bench)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}), flush=True)
        return
    print(json.dumps({"first_steps_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        rates = images_per_second(bench, steps, float(line))
        print(json.dumps({"rates": rates}), flush=True)


def images_per_second(bench: Bench, steps: Steps, seconds: float) -> tuple[float, float]:
    """Return how many images a second the steps take, and a second of processor time here."""
    next(steps)  # caches that another way has emptied
    settle(bench)
    began, cpu, images = time.perf_counter(), time.process_time(), 0
    while not images or time.perf_counter() - began < seconds:
        images += next(steps)
    settle(bench)
    return images / (time.perf_counter() - began), images / (time.process_time() - cpu)


def settle(bench: Bench) -> None:
    """Wait for the GPU."""
    if bench.device.type == "cuda":
        torch.cuda.synchronize()


def parts(bench: Bench, times: int) -> dict[str, float]:
    """Return the milliseconds of the parts of penname's step, each waited for."""
    run = start(bench)
    taken: dict[str, list[float]] = {}

    def part(name: str, work: Callable[[], Any]) -> Any:
        settle(bench)
        began = time.perf_counter()
        made = work()
        settle(bench)
        taken.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
        return made

    loading = batches(run)
    for _ in range(times):
        batch = part("loading", lambda: next(loading))
        part("augmentation", partial(augment, as_ink(batch.images), run.generator, 1.0))
        run._seed_step()
        loss, _ = part("augmentation, forward and loss", partial(run._loss, batch))
        run.optimizer.zero_grad()
        part("backward", loss.backward)
        part("update", lambda: (run.optimizer.step(), run._average_weights()))
    return {name: statistics.median(each) for name, each in taken.items()}


def multiplications(network: nn.Module, height: int, width: int) -> int:
    """Return the multiplications of one image's way forward; a step takes three times as many."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d | nn.Conv1d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        elif isinstance(layer, nn.LSTM):
            weights = [w for name, w in layer.named_parameters() if name.startswith("weight")]
            total += inputs[0].shape[1] * sum(weight.numel() for weight in weights)

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 1, height, width))
    for hook in hooks:
        hook.remove()
    return total


def summary(bench: Bench, report: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the machine, the arithmetic and the ratios, and print the table."""
    name = torch.cuda.get_device_name() if bench.device.type == "cuda" else platform.processor()
    forward = statistics.mean(multiplications(ours(bench), bench.height, w) for w in WIDTHS)
    peak = next((peak for key, peak in PEAKS.items() if key in name), None)
    rates, cpu = (
        {way: statistics.median(each[key]) for way, each in report.items() if each.get(key)}
        for key in ("images_per_second", "images_per_cpu_second")
    )
    whole = rates.get("penname", float("nan"))
    print(f"\n{'way':36} {'images/s':>10} {'penname is':>10} {'a CPU s':>9} {'penname is':>10}")
    for way, rate in rates.items():
        ratio = cpu.get("penname", float("nan")) / cpu[way]
        print(f"{way:36} {rate:10,.0f} {whole / rate:9.2f}x {cpu[way]:9,.0f} {ratio:9.2f}x")
    made: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "threads": bench.threads,
        "batch": bench.batch,
        "height": bench.height,
        "preset": bench.preset,
        "weights": parameters(ours(bench)),
        "operations_per_image": 6 * forward,
        "teraflops": 6 * forward * whole / 1e12,
        "share_of_peak": peak and 6 * forward * whole / peak,
        "ways": report,
        "penname_times": {way: whole / rate for way, rate in rates.items()},
    }
    if fixed := rates.get("penname, one batch again and again"):
        made["loader_share"] = 1 - whole / fixed
        print(f"loading takes {made['loader_share']:.1%} of a step")
    print(f"{made['teraflops']:.2f} TFLOP/s", f"{made['share_of_peak'] or 0:.1%} of the peak")
    return made


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1024 if torch.cuda.is_available() else 64)
    parser.add_argument("--preset", default="names")
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--lines", type=int, default=32768, help="lines of the pack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way and round")
    parser.add_argument(
        "--workers",
        type=int,
        default=cores() if torch.cuda.is_available() else 0,
        help="of the others' DataLoader",
    )
    parser.add_argument("--threads", type=int, default=cores(), help="of torch on the CPU")
    parser.add_argument("--only", nargs="*", default=list(WAYS), help="these ways")
    parser.add_argument("--way", help=argparse.SUPPRESS)  # what a process of one way is given
    parser.add_argument("--bench", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.way:
        told = arguments.bench
        device = torch.device(told["device"])
        serve(arguments.way, Bench(**told | {"folder": Path(told["folder"]), "device": device}))
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            Path(folder),
            torch.device(arguments.device),
            arguments.batch,
            arguments.height,
            arguments.preset,
            arguments.workers,
            arguments.threads,
        )
        prepare(bench, arguments.lines, max(4 * arguments.batch, 256))
        ways = [w for w in arguments.only if ONLY_ON.get(w, bench.device.type) == bench.device.type]
        report = measure(bench, ways, arguments.rounds, arguments.seconds)
        made = summary(bench, report)
        made["milliseconds"] = parts(bench, 5)
    print(made["milliseconds"])
    print(json.dumps(made))


if __name__ == "__main__":
    main()
