"""Generate: synthetic names and lines with ground truth, one picture after another into a pack.

Picture i comes from its own `default_rng([seed, i])`, so a pack does not depend on the number of
workers or on the order in which they finish.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import numpy as np

from penname.cores import cores
from penname.ctc import frames_needed
from penname.errors import OptionError, PackError
from penname.ground_truth.pack_folder import PackWriter
from penname.ground_truth.workers import follow_parent
from penname.line_image import ImageSpec, line_image
from penname.options import to_json
from penname.synthesis.kit import Kit, SynthOptions
from penname.synthesis.render import render

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 4  # pixels of a frame
TRIES = 20  # pictures in a row that may be too narrow for their text
CHUNK = 256  # pictures a worker makes at a time
Progress = Callable[[int, int], None]  # pictures made, pictures in all
Made = list[tuple[np.ndarray, str, str, str]]  # line image, text, source, split
_kit: Kit | None = None  # of this worker process


def synthesise(
    out: Path,
    options: SynthOptions,
    data: Path,
    spec: ImageSpec | None = None,
    *,
    kit: Kit | None = None,
    progress: Progress | None = None,
) -> int:
    """Write `options.lines` line images with ground truth into a pack at `out`.

    Returns the number of lines. Pictures are made in chunks and streamed in order. A `kit` is the
    material of the data folder for these options, where that has been read already.

    Raises:
        GroundTruthError: when a file of the data folder is missing or unreadable, naming it.
        LexiconError: when the list of names is.
        OptionError: when the texts do not fit line images of this width.
        PackError: when `out` is taken, or a worker process died.
    """
    spec = spec or ImageSpec()
    kit = kit or Kit(data, options.flatten, options.text)
    kit.load(options)
    number = 0
    with PackWriter(out, options.alphabet, spec, to_json(options)) as writer:
        for chunk in _chunks(options, data, kit, spec):
            for image, text, source, split in chunk:
                file = f"synthetic/{options.seed}/{number:08d}"
                writer.add(image, text, file=file, source=source, group=file, split=split)
                number += 1
            if progress:
                progress(number, options.lines)
    return number


def _chunks(options: SynthOptions, data: Path, kit: Kit, spec: ImageSpec) -> Iterator[Made]:
    """Yield the chunks in order, at most three a worker in flight."""
    starts = range(0, options.lines, CHUNK)
    workers = options.workers or cores()
    if workers == 1:
        yield from (_chunk(start, options, spec, kit) for start in starts)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (data, options)) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for start in starts:
                waiting.append(pool.submit(_chunk, start, options, spec))
                if len(waiting) >= 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise PackError(
                "a worker process died, most likely for want of memory; use fewer --workers"
            ) from None


def _start(data: Path, options: SynthOptions) -> None:
    global _kit
    follow_parent()
    logging.getLogger("penname").setLevel(logging.ERROR)  # the parent has said what is left out
    _kit = Kit(data, options.flatten, options.text)


def _chunk(start: int, options: SynthOptions, spec: ImageSpec, kit: Kit | None = None) -> Made:
    kit = kit or _kit
    assert kit is not None, "a worker process starts with _start"
    made: Made = []
    for i in range(start, min(start + CHUNK, options.lines)):
        rng = np.random.default_rng([options.seed, i])
        image, text, source = _legible(rng, kit, options, spec)
        split = "validation" if rng.random() < options.validation else "train"
        made.append((image, text, source, split))
    return made


def _legible(
    rng: np.random.Generator, kit: Kit, options: SynthOptions, spec: ImageSpec
) -> tuple[np.ndarray, str, str]:
    """Return a line image wide enough for its text, with that and its source."""
    for _ in range(TRIES):
        grey, text, source = render(None, rng, kit, options)
        image = line_image(grey, spec)
        if frames_needed(options.alphabet.encode(text)) <= image.shape[1] // STRIDE:
            return image, text, source
    raise OptionError(f"max_width {spec.max_width} is too narrow for texts such as {text!r}")
