"""Training lines: packs in, batches of like widths out, in an order that a seed fixes.

The order of an epoch depends on (seed, epoch) alone, so a resumed run needs its position only.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from penname.ctc import frames_needed
from penname.errors import TrainingError
from penname.line_image import PAPER, cut_rows, on_canvas

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from penname.alphabet import Alphabet
    from penname.ground_truth.pack_folder import Pack

log = logging.getLogger(__name__)

CHUNK = 1 << 28  # bytes that go to a GPU at once


@dataclass(frozen=True)
class Batch:
    """Line images on one canvas with their labels.

    images (N, 1, H, W) uint8, of which the network is to see `rows`; labels (N, L) int64 padded
    with 0; label_lengths (N,) int64; ids (N,) index the lines of `Lines`, for messages.
    """

    images: Tensor
    rows: int
    labels: Tensor
    label_lengths: Tensor
    ids: np.ndarray

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; label lengths stay on the host, where CTC wants them."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
        )


class Resident:
    """All pixels of the packs in a GPU's memory, where batches are put together.

    Only numbers cross to the GPU then, and nothing is copied line by line in Python.
    """

    def __init__(self, packs: Sequence[Pack], device: torch.device) -> None:
        self.packs = packs
        sizes = [len(pack.pixels) for pack in packs]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.pixels = torch.empty(int(self.starts[-1]), dtype=torch.uint8, device=device)
        for start, size, pack in zip(self.starts, sizes, packs, strict=False):
            for begin in range(0, size, CHUNK):  # a memory map is not all in memory
                part = np.array(pack.pixels[begin : begin + CHUNK])
                self.pixels[start + begin : start + begin + len(part)] = torch.from_numpy(part)

    @classmethod
    def where_it_fits(cls, packs: Sequence[Pack], device: torch.device) -> Resident | None:
        """Return the pixels on `device`, when it is a GPU with twice that much memory free."""
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        return cls(packs, device) if 2 * sum(len(p.pixels) for p in packs) < free else None

    def images(self, where: Sequence[tuple[int, int]], height: int, canvas: int) -> Tensor:
        """Return the line images (pack, number) on paper: (N, 1, H, canvas) uint8."""
        starts = [self.starts[p] + self.packs[p].offsets[i] for p, i in where]
        widths = [self.packs[p].widths[i] for p, i in where]
        start, width = (
            torch.tensor(np.array(values, dtype=np.int64), device=self.pixels.device).view(-1, 1, 1)
            for values in (starts, widths)
        )
        y = torch.arange(height, device=self.pixels.device).view(1, -1, 1)
        x = torch.arange(canvas, device=self.pixels.device).view(1, 1, -1)
        inside = x < width  # (N, 1, canvas)
        found = self.pixels[torch.where(inside, start + y * width + x, 0)]  # (N, H, canvas)
        return torch.where(inside, found, PAPER).unsqueeze(1)


class Lines:
    """The lines of one split over several packs, with labels in one alphabet.

    Lines whose labels need more frames than their canvas gives are set aside by name here, once,
    when they are loaded: CTC would make their loss infinite. With a `height_step` the canvas of a
    line is as high as its ink needs, which takes a look at every line.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        split: str,
        alphabet: Alphabet,
        stride: int,
        resident: Resident | None = None,
        height_step: int = 0,
    ) -> None:
        self.packs, self.resident = packs, resident
        self.set_aside: list[str] = []
        chosen = [(p, i) for p, pack in enumerate(packs) for i in pack.indices(split)]
        self.texts: list[str] = []
        self.labels: list[np.ndarray] = []
        self.where: list[tuple[int, int]] = []
        canvases: list[tuple[int, int]] = []
        texts = [pack.texts for pack in packs]
        for p, i in chosen:
            labels = alphabet.encode(texts[p][i])
            canvas = packs[p].spec.canvas_width(int(packs[p].widths[i]))
            if frames_needed(labels) > canvas // stride:
                self.set_aside.append(f"{packs[p].files[i]} ({texts[p][i]!r})")
                continue
            self.texts.append(texts[p][i])
            self.labels.append(labels)
            self.where.append((p, int(i)))
            height = packs[p].spec.height
            if height_step:
                height = len(cut_rows(packs[p].image(i), height_step))
            canvases.append((height, canvas))
        self.canvases = np.array(canvases, dtype=np.int64).reshape(-1, 2)  # heights and widths
        if self.set_aside:
            named = ", ".join(self.set_aside[:5])
            log.warning(
                "%d %s lines set aside: text longer than the image's frames: %s",
                len(self.set_aside), split, named,
            )  # fmt: skip

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.where)

    def file(self, line: int) -> str:
        """Return the file name of a line, for messages."""
        pack, i = self.where[line]
        return str(self.packs[pack].files[i])

    def canvas(self, lines: np.ndarray) -> tuple[int, int]:
        """Return the height and width in pixels of the canvas that holds each of the lines."""
        height, width = self.canvases[lines].max(axis=0).tolist()
        return height, width

    def batch(self, lines: np.ndarray) -> Batch:
        """Return the lines as a batch, on a canvas that holds each."""
        lengths = np.array([len(self.labels[line]) for line in lines], dtype=np.int64)
        labels = np.zeros((len(lines), max(1, lengths.max())), dtype=np.int64)
        for target, line in zip(labels, lines, strict=True):
            target[: len(self.labels[line])] = self.labels[line]
        rows, width = self.canvas(lines)
        images = self._images(lines, width)
        return Batch(images, rows, torch.from_numpy(labels), torch.from_numpy(lengths), lines)

    def _images(self, lines: np.ndarray, canvas: int) -> Tensor:
        """Return the line images on paper: (N, 1, H, canvas) uint8."""
        places = [self.where[line] for line in lines]
        if self.resident:
            return self.resident.images(places, self.packs[0].spec.height, canvas)
        images = [self.packs[pack].image(i) for pack, i in places]
        return torch.from_numpy(on_canvas(images, canvas))


def plan(lines: Lines, passes: Sequence[float], batch_size: int, seed: int) -> list[np.ndarray]:
    """Return the batches of one epoch: numbers of lines of like canvases, in random order.

    `passes` says how often the epoch goes through each pack; a fraction draws that share of it.
    All batches but the one with the largest canvases hold `batch_size` lines.
    """
    rng = np.random.default_rng(seed)
    pack_of = np.array([pack for pack, _ in lines.where], dtype=np.int64)
    drawn = []
    for pack, count in enumerate(passes):
        members = np.flatnonzero(pack_of == pack)
        whole, rest = divmod(count * len(members), max(1, len(members)))
        drawn += [np.tile(members, int(whole)), rng.permutation(members)[: round(rest)]]
    order = rng.permutation(np.concatenate(drawn))
    order = order[np.lexsort(lines.canvases[order].T[::-1])]  # by height, then by width
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def in_order(lines: Lines, batch_size: int) -> list[np.ndarray]:
    """Return all lines once, largest canvas last, for validation."""
    batches = []
    for canvas in np.unique(lines.canvases, axis=0):
        same = np.flatnonzero((lines.canvases == canvas).all(axis=1))
        batches += np.split(same, range(batch_size, len(same), batch_size))
    return batches


def most_ink(ink: Tensor, rows: int) -> Tensor:
    """Return the rows that hold most of each line's ink: (N, 1, rows, W).

    Where several are as good it is the one in the middle of them. So of lines as they are packed it
    is what `penname.line_image.needed_rows` says, and of augmented ones what is likest to that.

    Args:
        ink: (N, 1, H, W).
        rows: at most H.
    """
    lines, _, height, width = ink.shape
    if rows == height:
        return ink
    dark = ink > ink.amax(dim=(1, 2, 3), keepdim=True) / 2
    until = functional.pad(dark.sum((1, 3)).cumsum(1), (1, 0))  # (N, H + 1)
    within = until[:, rows:] - until[:, :-rows]
    best = within == within.amax(dim=1, keepdim=True)
    places = torch.arange(best.shape[1], device=ink.device)
    first = torch.where(best, places, height).amin(dim=1)
    last = torch.where(best, places, 0).amax(dim=1)
    top = (first + last).div(2, rounding_mode="floor")
    seen = top[:, None] + torch.arange(rows, device=ink.device)  # (N, rows)
    return ink.gather(2, seen.view(lines, 1, rows, 1).expand(lines, 1, rows, width))


def loaded(
    lines: Lines, batches: Sequence[np.ndarray], device: torch.device
) -> Generator[Batch, None, None]:
    """Yield the batches on `device`; close it when done.

    A thread puts them together a few batches ahead, on a GPU when the pixels are resident there.

    Raises:
        TrainingError: a batch cannot be read.
    """
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=4)
    stop = threading.Event()

    def fill() -> None:
        try:
            for numbers in batches:
                if stop.is_set():
                    return
                batch = lines.batch(numbers)
                ready.put(_pinned(batch) if device.type == "cuda" else batch)
            ready.put(None)
        except BaseException as error:  # handed to the reader, which raises it
            ready.put(error)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise TrainingError(f"cannot load a batch: {batch}") from batch
            yield batch.to(device)
    finally:
        stop.set()
        while thread.is_alive():  # a full queue would keep it waiting
            try:
                ready.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()


def _pinned(batch: Batch) -> Batch:
    """Return the batch in memory that a GPU can copy from by itself, if it is not there yet."""
    images = batch.images if batch.images.is_cuda else batch.images.pin_memory()
    return replace(batch, images=images, labels=batch.labels.pin_memory())
