"""Pack: from sources to a pack, cleaned, normalised in worker processes and split by group.

The lines keep the order of their sources and the draw of a split depends on its group and the seed
alone, so the same sources give the same lines and pixels with any number of workers.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penname.alphabet import Alphabet
from penname.cores import cores
from penname.errors import GroundTruthError, OptionError
from penname.ground_truth.cleaning import RULES, Cleaning, CleaningOptions, check_width, clean_text
from penname.ground_truth.pack_folder import Pack, PackWriter, check_free
from penname.ground_truth.sources import (
    GroundTruth,
    GroupedSourceOptions,
    count_sources,
    read_sources,
)
from penname.ground_truth.workers import Outcome, Picture, batch_pictures, line_images
from penname.options import option, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from penname.line_image import Grey, ImageSpec

logger = logging.getLogger(__name__)

CHUNK_BYTES = 8 << 20  # of encoded images sent to a worker at once
LINES_PER_WORKER = 500  # a worker takes about as long to start as to do this many lines
LOG_SECONDS = 10.0


@dataclass(frozen=True)
class PackOptions(GroupedSourceOptions, CleaningOptions):
    """How sources become a pack."""

    validation: float = option(0.05, "part of the groups drawn for validation")
    test: float = option(0.0, "part of the groups drawn for the test")
    seed: int = option(0, "seed of the draw of the splits")
    keep_unlabelled: bool = option(False, 'keep lines without text, in the split "unlabelled"')
    stride: int = option(4, "pixels of a frame: a text that needs more frames is dropped")
    workers: int = option(0, "processes that decode images; 0: one more than there are cores")

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = self.validation, self.test
        if not (min(parts) >= 0 and sum(parts) <= 1):  # nan is neither
            raise OptionError(
                f"validation {self.validation} and test {self.test} are parts of 1 together"
            )
        if self.stride < 1 or self.workers < 0:
            raise OptionError(f"stride {self.stride} is at least 1, workers {self.workers} 0")

    @property
    def needs_text(self) -> bool:
        """Whether a table without a column of texts is a mistake."""
        return not self.keep_unlabelled


@dataclass(frozen=True)
class PackReport:
    """What was packed: counts by split, source and cleaning rule."""

    out: Path
    lines: int
    splits: dict[str, int]
    sources: dict[str, int]
    cleaning: dict[str, int]
    alphabet: str
    megabytes: float
    seconds: float

    def table(self) -> str:
        """Return the report for people."""
        rows = [("lines packed", self.lines)]
        rows += [(f"  {name}", count) for name, count in self.splits.items() if count]
        rows += [(f"  from {name}", count) for name, count in self.sources.items()]
        rows += [(f"{_effects[name]} {name}", count) for name, count in self.cleaning.items()]
        width = max(len(name) for name, _ in rows)
        table = "\n".join(f"{name:{width}}  {count:>9,}" for name, count in rows)
        return (
            f"{table}\nalphabet ({len(self.alphabet)}): {self.alphabet}\n"
            f"{self.out}: {self.megabytes:.1f} MB in {self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return asdict(self) | {"out": str(self.out)}


_effects = {rule.id: {"drops": "dropped", "changes": "changed"}[rule.effect] for rule in RULES}


@dataclass
class _Chunk:
    """Lines whose texts are clean, waiting for their line images; at most `most` of them."""

    most: int
    lines: list[tuple[GroundTruth, Cleaning]] = field(default_factory=list)
    encoded: int = 0

    def add(self, line: GroundTruth, cleaning: Cleaning) -> None:
        self.lines.append((line, cleaning))
        self.encoded += len(line.image) if isinstance(line.image, bytes) else 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= self.most or self.encoded >= CHUNK_BYTES

    @property
    def pictures(self) -> list[Picture]:
        images = (line.image for line, _ in self.lines)
        return [image if isinstance(image, bytes) else str(image) for image in images]

    def __str__(self) -> str:
        return self.lines[0][0].row


def write_pack(
    sources: Sequence[Path],
    out: Path,
    options: PackOptions,
    spec: ImageSpec,
    *,
    progress: bool,
    now: datetime | None = None,
) -> PackReport:
    """Write a new pack to `out` from the lines of `sources`.

    Worker processes import the calling script: keep it behind `if __name__ == "__main__":`.

    Raises:
        GroundTruthError: when a source is not one, or no line is left after cleaning.
        PackError: when `out` exists and is more than an empty folder.
    """
    start = time.perf_counter()
    check_free(Path(out))
    total = count_sources(sources, options)
    alphabet = (
        Alphabet.given(options.alphabet) if options.alphabet else _alphabet_of(sources, options)
    )
    workers = _workers(options, total)
    with PackWriter(out, alphabet, spec, to_json(options), now=now) as writer:
        writer.rules.update({rule.id: 0 for rule in RULES})  # in their order, met or not
        lines = _ticking(read_sources(sources, options), total, progress)
        chunks = ((chunk, chunk.pictures) for chunk in _cleaned(lines, options, writer))
        for chunk, outcomes in line_images(chunks, spec, workers):
            _store(chunk, outcomes, options, writer)
    pack = Pack.open(out)
    return PackReport(
        out=Path(out),
        lines=len(pack),
        splits=pack.manifest["splits"],
        sources=pack.manifest["sources"],
        cleaning=pack.manifest["cleaning"],
        alphabet=alphabet.characters,
        megabytes=pack.pixels.size / 1e6,
        seconds=time.perf_counter() - start,
    )


def draw_split(group: str, options: PackOptions) -> str:
    """Return the split of a group: by a hash of seed and group, so order does not matter."""
    digest = hashlib.blake2b(f"{options.seed}\0{group}".encode(), digest_size=8).digest()
    draw = int.from_bytes(digest, "big") / 2**64
    if draw < options.test:
        return "test"
    return "validation" if draw < options.test + options.validation else "train"


def _alphabet_of(sources: Sequence[Path], options: PackOptions) -> Alphabet:
    characters: set[str] = set()
    number = 0
    for line in read_sources(sources, options, images=False):
        number += 1
        cleaning = clean_text(line.text, options, None)
        if not cleaning.dropped:
            characters.update(cleaning.text)
    if not characters:
        raise GroundTruthError(
            f"none of {number} lines has a text, so there is no alphabet; give other ground truth, "
            "or --alphabet"
        )
    return Alphabet("".join(sorted(characters)))


def _cleaned(
    lines: Iterable[GroundTruth], options: PackOptions, writer: PackWriter
) -> Iterator[_Chunk]:
    """Yield chunks of the lines whose texts pass the rules."""
    most = batch_pictures(writer.spec)
    chunk = _Chunk(most)
    for line in lines:
        cleaning = clean_text(line.text, options, writer.alphabet)
        if cleaning.dropped == "missing-text" and options.keep_unlabelled:
            cleaning = Cleaning()
        if cleaning.dropped:
            _reject(line, cleaning, writer)
            continue
        chunk.add(line, cleaning)
        if chunk.full:
            yield chunk
            chunk = _Chunk(most)
    if chunk.lines:
        yield chunk


def _store(
    chunk: _Chunk, outcomes: list[Outcome], options: PackOptions, writer: PackWriter
) -> None:
    """Add the line images of a chunk to the pack, but for those the image rules drop."""
    for (line, cleaning), image in zip(chunk.lines, outcomes, strict=True):
        if isinstance(image, str):
            bad = Cleaning(cleaning.text, dropped="unreadable-image", note=image)
            _reject(line, bad, writer)
            continue
        frames = writer.spec.canvas_width(image.shape[1]) // options.stride
        cleaning = check_width(cleaning, writer.alphabet, frames)
        if cleaning.dropped:
            _reject(line, cleaning, writer)
        else:
            _add(line, cleaning, image, options, writer)


def _add(
    line: GroundTruth,
    cleaning: Cleaning,
    image: Grey,
    options: PackOptions,
    writer: PackWriter,
) -> None:
    split = line.split or draw_split(line.group or line.file, options)
    writer.add(
        image,
        cleaning.text,
        file=line.file,
        row=line.row,
        source=line.source,
        group=line.group,
        split=split if cleaning.text else "unlabelled",
    )
    if cleaning.changed:
        writer.change(
            file=line.file,
            row=line.row,
            rules=cleaning.changed,
            before=line.text or "",
            after=cleaning.text,
        )


def _reject(line: GroundTruth, cleaning: Cleaning, writer: PackWriter) -> None:
    writer.reject(
        file=line.file,
        row=line.row,
        rule=cleaning.dropped,
        note=cleaning.note,
        text=line.text or "",
    )


def _workers(options: PackOptions, total: int) -> int:
    # One more than there are cores: while one waits for a file, the others work.
    return options.workers or min(cores() + 1, 1 + total // LINES_PER_WORKER)


def _ticking(lines: Iterator[GroundTruth], total: int, progress: bool) -> Iterator[GroundTruth]:
    """Show a bar on a terminal with tqdm, else log a line now and then."""
    if progress and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            yield from tqdm(lines, total=total, unit=" lines", desc="pack")
            return
    told = time.monotonic()
    for done, line in enumerate(lines):
        if progress and time.monotonic() - told > LOG_SECONDS:
            told = time.monotonic()
            logger.info("packed %d of about %d lines", done, total)
        yield line
