"""Generate: synthetic names and lines with ground truth, one picture after another into a pack.

Picture i comes from its own `default_rng([seed, i])`, so a pack does not depend on the number of
workers or on the order in which they finish.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penname.cores import cores
from penname.errors import OptionError
from penname.ground_truth.pack import PackWriter
from penname.line_image import ImageSpec, line_image
from penname.options import option, to_json
from penname.synthesis import look, look_lines
from penname.synthesis.corpus import LATIN, Corpus
from penname.synthesis.fonts import Fonts
from penname.synthesis.glyphs import Glyphs
from penname.synthesis.ink import SCALE, Hand, Ink
from penname.synthesis.neighbours import Neighbours, Writer
from penname.synthesis.strokes import Strokes, Words
from penname.synthesis.texts import NAMES, Texts, as_written

if TYPE_CHECKING:
    from penname.alphabet import Alphabet

WIDEST = 4800  # half pixels of a line; more is pressed together
CHUNK = 256  # pictures a worker makes at a time
Progress = Callable[[int, int], None]  # pictures made, pictures in all
Made = list[tuple[np.ndarray, str, str, str]]  # line image, text, source, split
_kit: Kit | None = None  # of this worker process


SOURCES = ("fonts", "glyphs", "strokes", "words")
LOOKS = {  # and the weights of the sources where none are given
    "names": (0.35, 0.15, 0.45, 0.05),
    "plain": (0.35, 0.15, 0.45, 0.05),
    "lines": (0.45, 0.05, 0.3, 0.2),
}


@dataclass(frozen=True)
class SynthOptions:
    """What synthetic lines are made of; the four weights need not sum to 1."""

    lines: int = option(100_000, "number of pictures")
    seed: int = option(0, "seed; the same seed makes the same pictures on any number of workers")
    fonts: float | None = option(None, "weight of texts in handwriting fonts; none: by look")
    glyphs: float | None = option(
        None, "weight of texts made of scanned characters (EMNIST); none: by look"
    )
    strokes: float | None = option(
        None, "weight of texts drawn with recorded pen strokes (UNIPEN); none: by look"
    )
    words: float | None = option(
        None, "weight of whole recorded words, which bring their own text; none: by look"
    )
    look: str = option(
        "names",
        "names: crops of school forms; plain: names on clean paper; lines: running text on old "
        "and new paper",
        choices=tuple(LOOKS),
    )
    text: str = option("", "what is written: text, a line each, or .csv of name,count; for lines")
    flatten: float = option(0.5, "names are drawn with probability count ** flatten")
    invented: float = option(0.08, "share of names that are recombined and in no list")
    validation: float = option(0.0, "share of pictures in the validation split")
    workers: int = option(0, "processes that make pictures; 0: one for each core")

    def __post_init__(self) -> None:
        if self.look not in LOOKS:
            raise OptionError(f"look is {self.look!r}; choose {', '.join(LOOKS)}")
        if (self.look == "lines") != bool(self.text):
            raise OptionError("look lines needs a text file (text), the others a list of names")
        weights = self.weights
        if min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise OptionError(f"the weights {weights} must be positive, at least one above 0")
        if self.lines < 1 or self.workers < 0:
            raise OptionError(f"lines {self.lines} is at least 1, workers {self.workers} 0")

    @property
    def weights(self) -> dict[str, float]:
        """The ink sources with their weights."""
        given = {name: getattr(self, name) for name in SOURCES}
        if all(weight is None for weight in given.values()):
            return dict(zip(SOURCES, LOOKS[self.look], strict=True))
        return {name: weight or 0.0 for name, weight in given.items()}

    @property
    def alphabet(self) -> Alphabet:
        """The characters that texts may have."""
        return LATIN if self.look == "lines" else NAMES


class Kit:
    """The material of a data folder; each part is read when first needed.

    Raises:
        GroundTruthError: when a file is missing or unreadable, naming it.
    """

    def __init__(self, data: Path, flatten: float = 0.5, text: str = "") -> None:
        self._data, self._flatten, self._text = data, flatten, text
        self._neighbours: dict[str, Neighbours] = {}
        self._others: dict[str, list[Ink]] = {}

    @cached_property
    def texts(self) -> Texts:
        """The list of names."""
        return Texts.load(self._data / "names_frequency.csv", self._flatten)

    @cached_property
    def corpus(self) -> Corpus:
        """Lines of text."""
        return Corpus.load(Path(self._text), self._flatten)

    @cached_property
    def fonts(self) -> Fonts:
        """Handwriting fonts."""
        return Fonts.load(self._data / "handwriting_fonts.zip")

    @cached_property
    def glyphs(self) -> Glyphs:
        """Scanned characters."""
        return Glyphs.load(self._data / "emnist_characters.npz")

    @cached_property
    def strokes(self) -> Strokes:
        """Recorded characters."""
        return Strokes(self._data / "unipen_chars_strokes.parquet")

    @cached_property
    def words(self) -> Words:
        """Recorded words."""
        return Words(self._data / "unipen_words_strokes.parquet")

    @cached_property
    def grain(self) -> np.ndarray:
        """Paper noise, the same in every process."""
        return look.grain(np.random.default_rng(0))

    def writer(self, source: str) -> Writer:
        """Return what composes names in an ink; recorded words go with recorded characters."""
        if source == "fonts":
            return self.fonts
        return self.glyphs if source == "glyphs" else self.strokes

    def neighbours(self, source: str) -> Neighbours:
        """Return handwriting for the lines above and below, in the same ink."""
        if source not in self._neighbours:
            self._neighbours[source] = Neighbours(self.writer(source))
        return self._neighbours[source]

    def others(self, source: str) -> list[Ink]:
        """Return a few lines of text in an ink, for what stands around and behind a line."""
        if source not in self._others:
            rng = np.random.default_rng(0)
            self._others[source] = [
                _written(source, Hand.of_line(rng), rng, self)[0] for _ in range(48)
            ]
        return self._others[source]

    def load(self, options: SynthOptions) -> None:
        """Read all that `options` needs now, so that a missing file is known at once."""
        for name, weight in options.weights.items():
            if weight > 0:
                getattr(self, name)
                self.writer(name)
        _ = self.corpus if options.look == "lines" else self.texts


def render(
    text: str | None, rng: np.random.Generator, kit: Kit, options: SynthOptions
) -> tuple[np.ndarray, str, str]:
    """Return one crop (h, w) uint8, its text and its ink source; `None` picks a text."""
    source = _source(options, rng, own_text=text is None)
    if options.look == "lines":
        return _line(text, source, rng, kit)
    frame = look.a_frame(options.look, rng)
    sheet = look.Sheet(frame.width, int(rng.integers(frame.height[0], frame.height[1] + 1)))
    hand = Hand.drawn(rng)
    room = sheet.ink.shape[1] - round(frame.left[1] * SCALE) - 4

    if source == "words" and text is None:
        name, text = kit.words.write(hand, room, rng)
    else:
        text = kit.texts.pick(rng, options.invented) if text is None else text
        name = kit.writer(source).write(as_written(text, rng), hand, room, rng)
    limit = int(rng.integers(300, 530))
    name = look.fitted(name, sheet.ink.shape[1])
    base = look.place(sheet, look.pressed(name, limit, rng), hand.cap, frame, rng)
    others = kit.neighbours(source)
    frame.decorate(sheet, base, rng, lambda kind: others.near(kind, hand.thickness, rng))
    return look.developed(sheet, limit, kit.grain, rng), text, source


def _line(
    text: str | None, source: str, rng: np.random.Generator, kit: Kit
) -> tuple[np.ndarray, str, str]:
    hand = Hand.of_line(rng)
    ink, text = _written(source, hand, rng, kit, text)
    return look_lines.developed(ink, hand, kit.others(source), kit.grain, rng), text, source


def _written(
    source: str, hand: Hand, rng: np.random.Generator, kit: Kit, text: str | None = None
) -> tuple[Ink, str]:
    """Return the ink of a line of running text; a text that the source lacks is drawn anew."""
    if source == "words" and text is None:
        return kit.words.write_line(kit.corpus.length(rng), hand, WIDEST, rng)
    writer, text = kit.writer(source), text or kit.corpus.pick(rng)
    while not writer.can_write(text):
        text = kit.corpus.pick(rng)
    return writer.write(text, hand, WIDEST, rng), text


def _source(options: SynthOptions, rng: np.random.Generator, *, own_text: bool) -> str:
    weights = {n: w for n, w in options.weights.items() if own_text or n != "words"}
    if sum(weights.values()) <= 0:
        raise OptionError("recorded words cannot write a given text; give another source weight")
    sums = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(sums, rng.random() * sums[-1], "right"))]


def synthesise(
    out: Path,
    options: SynthOptions,
    data: Path,
    spec: ImageSpec | None = None,
    *,
    progress: Progress | None = None,
) -> int:
    """Write `options.lines` line images with ground truth into a pack at `out`.

    Returns the number of lines. Pictures are made in chunks and streamed in order.

    Raises:
        GroundTruthError: when a file of the data folder is missing or unreadable, naming it.
    """
    spec = spec or ImageSpec()
    kit = Kit(data, options.flatten, options.text)
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
        for start in starts:
            waiting.append(pool.submit(_chunk, start, options, spec))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _start(data: Path, options: SynthOptions) -> None:
    global _kit
    _kit = Kit(data, options.flatten, options.text)


def _chunk(start: int, options: SynthOptions, spec: ImageSpec, kit: Kit | None = None) -> Made:
    kit = kit or _kit
    assert kit is not None, "a worker process starts with _start"
    made: Made = []
    for i in range(start, min(start + CHUNK, options.lines)):
        rng = np.random.default_rng([options.seed, i])
        grey, text, source = render(None, rng, kit, options)
        split = "validation" if rng.random() < options.validation else "train"
        made.append((line_image(grey, spec), text, source, split))
    return made
