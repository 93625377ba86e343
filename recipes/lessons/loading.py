"""Loading that starves training: one JPEG an item through a DataLoader against a pack.

python recipes/lessons/loading.py [--data FILE.parquet] [--lines 1500]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from labels import FRAMES, LETTERS, SAMPLES
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from penname.alphabet import Alphabet
from penname.ground_truth.pack import PackOptions, write_pack
from penname.ground_truth.pack_folder import Pack
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.line_image import ImageSpec
from penname.training.data import Lines, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

CROPS = 331_059  # of the whole set, in the 2021 project's words


def write_files(source: Path, folder: Path, lines: int) -> Path:
    """Write so many crops as files with a table beside them, again from the first when they end."""
    crops = [line for line in read_sources([source], SourceOptions()) if line.text]
    rows = ["file,text"]
    for i, line in enumerate(islice(cycle(crops), lines)):
        image = line.image if isinstance(line.image, bytes) else Path(line.image).read_bytes()
        (folder / f"{i:06}.jpg").write_bytes(image)
        rows.append(f"{i:06}.jpg,{line.text}")
    table = folder / "names.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


class Files(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """One file an item, cut or padded to 64 x 256, as the 2021 project loaded them."""

    def __init__(self, table: Path) -> None:
        self.folder = table.parent
        self.rows = [row.split(",") for row in table.read_text("utf-8").splitlines()[1:]]

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return the picture (64, 256), its labels (64,) and their number."""
        name, text = self.rows[item]
        grey = np.asarray(Image.open(self.folder / name).convert("L"))[:64, :256]
        image, label = np.full((64, 256), 255.0), np.zeros(FRAMES)
        image[: grey.shape[0], : grey.shape[1]] = grey
        label[: len(text)] = [LETTERS.find(c) for c in text.upper()]
        return torch.tensor(image / 255).float(), torch.tensor(label), len(text)


def seconds(batches: Iterator[object]) -> float:
    """Return how long it takes to go through the batches."""
    begun = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - begun


def rates(source: Path, folder: Path, lines: int, rounds: int = 3) -> dict[str, list[float]]:
    """Return crops a second of each way to load them, in turns, and of packing them once."""
    table = write_files(source, folder, lines)
    begun = time.perf_counter()
    spec = ImageSpec(height=64, max_width=256, fit="crop", trim="none")
    options = PackOptions(alphabet=LETTERS, case="upper", accents="strip", validation=0, workers=1)
    write_pack([table], folder / "pack", options, spec, progress=False)
    found = {"packing, once": [lines / (time.perf_counter() - begun)]}
    pack = Pack.open(folder / "pack")
    kept = Lines([pack], "train", Alphabet(LETTERS), 4)
    ways = {
        "a file an item": lambda: iter(DataLoader(Files(table), 32, shuffle=True)),
        "the same, 2 workers": lambda: iter(DataLoader(Files(table), 32, num_workers=2)),
        "the pack": lambda: map(kept.batch, in_order(kept, 32)),
    }
    for _ in range(rounds):
        for name, way in ways.items():
            found.setdefault(name, []).append(lines / seconds(way()))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SAMPLES / "names.csv")
    parser.add_argument("--lines", type=int, default=1500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, found in rates(given.data, Path(folder), given.lines).items():
            middle = float(np.median(found))
            print(f"{name:20} {middle:9,.0f} crops/s ({min(found):,.0f} to {max(found):,.0f}), "
                  f"{CROPS / middle / 60:6.1f} minutes for {CROPS:,}")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
