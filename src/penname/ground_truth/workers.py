"""Workers: line images of many pictures, made on all cores.

The processes write line images into memory that they share with this one, and only widths and
messages are sent: sending the pixels would cost a tenth of the work.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from penname.errors import PackError
from penname.line_image import Grey, ImageSpec, has_ink, line_image_or_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BATCH_PICTURES = 256  # sent to a worker at once: enough to hide the cost of sending
BATCH_BYTES = 8 << 20  # of their line images, if that is fewer

Picture = bytes | str  # encoded, or where it lies
Outcome = Grey | str  # a line image (H, w) uint8, or what is wrong with the picture
Batch = TypeVar("Batch")

_shared: list[np.ndarray] = []  # in a worker: the memory of each slot, one batch in each


def batch_pictures(spec: ImageSpec) -> int:
    """Return how many pictures a batch holds at most."""
    return min(BATCH_PICTURES, max(1, BATCH_BYTES // (spec.height * spec.max_width)))


def line_images(
    batches: Iterable[tuple[Batch, Sequence[Picture]]], spec: ImageSpec, workers: int
) -> Iterator[tuple[Batch, list[Outcome]]]:
    """Yield each batch with its outcomes, in order; they are valid until the next is asked for.

    Raises:
        PackError: naming the batch, when a worker process died.
    """
    if workers == 1:
        yield from ((batch, [_outcome(picture, spec) for picture in p]) for batch, p in batches)
        return
    slots = 2 * workers + 1
    context = multiprocessing.get_context("spawn")  # forking with pyarrow's threads can deadlock
    memory = context.RawArray("B", slots * batch_pictures(spec) * spec.height * spec.max_width)
    shared = np.frombuffer(memory, np.uint8).reshape(slots, -1)
    pending: deque[tuple[int, Batch, Future[list[int | str]]]] = deque()
    with ProcessPoolExecutor(workers, context, _start_worker, (memory, slots)) as pool:
        for number, (batch, pictures) in enumerate(batches):
            if len(pending) == slots:  # the oldest has the slot that this one needs
                yield _received(pending.popleft(), shared, spec)
            slot = number % slots
            pending.append((slot, batch, pool.submit(_fill, slot, pictures, spec)))
        while pending:
            yield _received(pending.popleft(), shared, spec)


def _received(
    sent: tuple[int, Batch, Future[list[int | str]]], shared: np.ndarray, spec: ImageSpec
) -> tuple[Batch, list[Outcome]]:
    slot, batch, future = sent
    try:
        widths = future.result()
    except BrokenProcessPool:
        raise PackError(
            f"a worker process died near {batch}, most likely for want of memory; "
            "use fewer --workers"
        ) from None
    outcomes: list[Outcome] = []
    start = 0
    for width in widths:
        if isinstance(width, str):
            outcomes.append(width)
            continue
        end = start + spec.height * width
        outcomes.append(shared[slot, start:end].reshape(spec.height, width))
        start = end
    return batch, outcomes


def _fill(slot: int, pictures: Sequence[Picture], spec: ImageSpec) -> list[int | str]:
    """Write line images end to end into a slot; return their widths, or what is wrong."""
    widths: list[int | str] = []
    start = 0
    for picture in pictures:
        image = _outcome(picture, spec)
        if isinstance(image, str):
            widths.append(image)
            continue
        _shared[slot][start : start + image.size] = image.ravel()
        start += image.size
        widths.append(image.shape[1])
    return widths


def _outcome(picture: Picture, spec: ImageSpec) -> Outcome:
    image = line_image_or_reason(picture, spec)
    if isinstance(image, str) or has_ink(image):
        return image
    return "the image holds no ink"


def _start_worker(memory: Any, slots: int) -> None:
    _shared.extend(np.frombuffer(memory, np.uint8).reshape(slots, -1))
    follow_parent()


def follow_parent() -> None:
    """Leave Ctrl-C to the parent of this process, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
