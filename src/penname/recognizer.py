"""Recognizer: pictures in, predictions out.

It holds one function, images uint8 (N, 1, H, W) -> log_probs float32 (N, T, C). Lines are read in
batches of equal canvas width, and the canvas depends on the line alone, so a line reads the same
alone and in a batch.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from math import inf, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penname.cores import cores
from penname.decoder import Decoder, Reading
from penname.errors import ImageError, ModelError, OptionError
from penname.inputs import Input
from penname.language import Language
from penname.lexicon import Lexicon
from penname.line_image import (
    Grey,
    Source,
    cut_rows,
    has_ink,
    line_image_or_reason,
    on_canvas,
    redrawn,
    smaller,
)
from penname.model_folder import ModelFolder
from penname.network import RUNTIME, Network, load_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

    from penname import ctc

    _Batch = tuple[list[int], Callable[[], np.ndarray]]
    _Size = tuple[int, int]  # of a canvas: rows, columns
    _Look = tuple[Network, Callable[[Grey], Grey]]

DOUBTFUL = 0.5  # a confidence below it says that the text is more likely wrong than right
NO_IMAGE = 200  # columns that a picture counts as when it has none
GREEDY = 128  # lines that are read greedily at a time, which costs by their frames
WINDOW = 200_000  # columns of the line images begun at a time, twice in memory: 1,000 names


@dataclass(frozen=True, slots=True)
class Character:
    """One character read, from `start` to `end` in pixels of the line image.

    Its confidence is the largest probability the network gives it within that span.
    """

    character: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another text the line may hold; with the text itself, confidences sum to at most 1."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read in one picture; `error` says why nothing could be.

    `reason` says why a person should look: `blank` when there is no ink, `no handwriting` when
    there is but no text was found in it (`no name of the list` where nothing else may be written),
    `doubtful` when the text is more likely wrong than right.

    The confidence is the text's share of what all texts are worth: P(text | image) over all
    alignments, weighed with P(text) when the model has a language (`penname.beam.search`). It is
    calibrated by the model's own numbers where it has them. `file` is empty for a picture that
    came without a name.
    """

    file: str
    text: str
    confidence: float
    characters: tuple[Character, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    error: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; it has an `error` or a `reason` only when there is one."""
        values = asdict(self)
        for name in ("error", "reason"):
            if not values[name]:
                del values[name]
        return values


@dataclass(frozen=True, slots=True)
class _Window:
    """Pictures on their way: names, line images or why there is none, batches in the network.

    A batch is the indices of at most `batch_size` lines and what returns their log_probs
    (N, T, C), waiting for them or, for one that is alone, computing them.
    """

    batch_size: int
    files: list[str] = field(default_factory=list)
    lines: list[Grey | str] = field(default_factory=list)
    batches: list[_Batch] = field(default_factory=list)

    def filled(self, prepared: Iterator[tuple[str, Grey | str]]) -> Iterator[tuple[int, Grey]]:
        """Take pictures until they have `WINDOW` columns; yield each with ink, by its index."""
        columns = 0
        for index, (file, line) in enumerate(prepared):
            self.files.append(file)
            self.lines.append(line)
            if not isinstance(line, str) and has_ink(line):
                yield index, line
            columns += NO_IMAGE if isinstance(line, str) else line.shape[1]
            if columns >= WINDOW:
                return


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines of a window: their readings so far, the looks at them, and the look on its way.

    A look has the log_probs (T, C) of a line by its index: the first of all lines of the part, the
    next ones of those that were doubtful until then.
    """

    readings: dict[int, Reading] = field(default_factory=dict)
    looks: list[dict[int, np.ndarray]] = field(default_factory=lambda: [{}])
    coming: list[_Batch] = field(default_factory=list)


class Recognizer:
    """Reads line images with one model.

    Args:
        model: what the network's outputs mean, and how pictures become its input.
        network: images uint8 (N, 1, H, W) -> log_probs float32 (N, T, C). Threads share it.
        second: the function of `model.second`. Doubtful lines are drawn smaller for `network`, and
            what is still doubtful goes to this one.
        fast: the function of `model.fast`. It reads all lines, and `network` reads doubtful ones
            anew, as if this one had not.
        threads: batches that are in the network at a time; 0 is one for each core.
        runtime: what runs the network (`penname.network.RUNTIMES`).

    Raises:
        ModelError: when the model's decoding needs a language that is missing or damaged.
    """

    def __init__(
        self,
        model: ModelFolder,
        network: Network,
        *,
        second: Network | None = None,
        fast: Network | None = None,
        threads: int = 0,
        runtime: str = RUNTIME,
    ) -> None:
        self.model = model
        self.network = network
        self.second = second
        self.fast = fast
        self.runtime = runtime
        self.lexicon = ""  # the list of names, where one was given
        self.is_quick = False
        self.threads = threads or cores()
        self.decoder = Decoder(model.alphabet, _language(model), model.decoding)

    @property
    def name(self) -> str:
        """The model's name, with a runtime that is not the usual one, a list and a quick reading.

        Texts differ with each.
        """
        told = [self.runtime] if self.runtime != RUNTIME else []
        told += [self.lexicon] if self.lexicon else []
        told += ["quick"] if self.is_quick else []
        return self.model.name + f" ({', '.join(told)})" * bool(told)

    @classmethod
    def load(
        cls, model: str | Path = "names", *, threads: int = 0, runtime: str = RUNTIME
    ) -> Recognizer:
        """Return a recognizer for an included model or a model folder; 0 threads is all cores.

        The runtime is `onnxruntime` or, where its extra is installed, `openvino`.

        Raises:
            ModelError: when there is no such model, or it is damaged.
            OptionError: when there is no such runtime, or it is not installed.
        """
        folder = ModelFolder.load(model)
        fast = load_network(folder.fast_onnx, runtime) if folder.fast else None
        network = load_network(folder.onnx, runtime)
        second = load_network(folder.second_onnx, runtime) if folder.second else None
        return cls(folder, network, second=second, fast=fast, threads=threads, runtime=runtime)

    def with_lexicon(self, file: str | Path, *, strict: bool = False) -> Recognizer:
        """Return a recognizer that prefers the names of a list, or can write no other.

        Lists and their rules are those of `penname.lexicon`. Names outside the list stay possible
        by the model's language of characters, where it has one, unless `strict`: then it writes
        one of the names or nothing.

        Raises:
            LexiconError: when the list cannot be read, or the model can write none of it.
        """
        words = Lexicon.load(Path(file), self.model.alphabet)
        other = copy(self)
        other.decoder = self.decoder.with_words(words, strict=strict)
        other.lexicon = f"{Path(file).name}{', strict' * strict}"
        return other.quick() if self.is_quick else other

    def quick(self) -> Recognizer:
        """Return a recognizer that looks at each line once.

        With `latin` it takes a third of the time and makes a seventh more errors; with `names` its
        fast network alone reads, in five ninths of the time, 94 % of the checked names right
        instead of 98 (docs/log.md). The confidence stays the model's, fitted on all its looks. A
        model that does not search reads the same.
        """
        other = copy(self)
        other.decoder = self.decoder.quick()
        other.is_quick = True
        return other

    def read(self, sources: Iterable[Source | Input], batch_size: int = 16) -> list[Prediction]:
        """Return a prediction for each picture: paths, encoded bytes, PIL images or arrays.

        One that cannot be decoded gives a prediction with an `error`, never an exception.
        """
        return list(self.stream(sources, batch_size=batch_size))

    def stream(
        self, sources: Iterable[Source | Input], batch_size: int = 16
    ) -> Iterator[Prediction]:
        """Yield predictions in order as `read` does, with memory flat in the number of pictures."""
        if isinstance(sources, str | bytes):
            raise TypeError("sources is one picture; give a list of pictures")
        return self._through(map(self._prepare, sources), batch_size)

    def read_lines(self, lines: Sequence[Grey], batch_size: int = 16) -> list[Prediction]:
        """Return a prediction for each line image (H, w) made with the model's own image spec.

        Raises:
            ImageError: when a line image has another height.
        """
        for index, line in enumerate(lines):
            if line.ndim != 2 or line.shape[0] != self.model.image.height or not line.shape[1]:
                raise ImageError(
                    f"line image {index} is {line.shape}; "
                    f"the model reads ({self.model.image.height}, w)"
                )
        return list(self._through((("", line) for line in lines), batch_size))

    def _prepare(self, source: Source | Input) -> tuple[str, Grey | str]:
        """Return the picture's name and its line image, or why there is none."""
        if not isinstance(source, Input):
            source = Input(str(source) if isinstance(source, str | Path) else "", source)
        line = source.error or line_image_or_reason(source.source, self.model.image)
        if isinstance(line, str):
            line = line.removeprefix(f"{source.file}: ")
        return source.file, line

    def _through(
        self, prepared: Iterator[tuple[str, Grey | str]], batch_size: int
    ) -> Iterator[Prediction]:
        """Return the predictions of names and line images (or why there is none), in order."""
        if batch_size < 1:  # said at once, not with the first prediction
            raise OptionError(f"batch size is {batch_size}; it is at least 1")
        return self._predictions(prepared, batch_size)

    def _predictions(
        self, prepared: Iterator[tuple[str, Grey | str]], batch_size: int
    ) -> Iterator[Prediction]:
        """Yield the predictions.

        Other threads run the network, which needs no Python, while this one prepares a window of
        pictures and decodes the one before.
        """
        pool = ThreadPoolExecutor(self.threads)
        before = None
        try:
            while (window := self._begun(prepared, batch_size, pool)).lines:
                if before:
                    yield from self._ended(before, pool)
                before = window
            if before:
                yield from self._ended(before, pool)
        finally:
            pool.shutdown(cancel_futures=True)

    def _begun(
        self, prepared: Iterator[tuple[str, Grey | str]], batch_size: int, pool: ThreadPoolExecutor
    ) -> _Window:
        """Return a window of pictures, with the network at work on them."""
        window = _Window(batch_size)
        (first, *_) = self._first_looks()
        window.batches.extend(self._sent(window.filled(prepared), first, window, pool))
        return window

    def _ended(self, window: _Window, pool: ThreadPoolExecutor) -> Iterator[Prediction]:
        """Yield the predictions of a window.

        Each part of it is searched while the network is at work on the next, and looked at again
        while the parts before and after it are searched and weighed. What the fast network doubts
        begins anew.
        """
        batches, ended = window.batches, list[_Part]()
        for look in self._first_looks()[1:]:
            doubted = []
            for part in self._parts(batches, self.decoder.narrow()):
                ended.append(part)
                doubted += self._again(part, look, window, pool)
            batches = doubted
        looks = self._more_looks()
        parts = []
        for part in self._parts(batches, self.decoder):
            part.coming.extend(self._again(part, looks[0], window, pool))
            parts.append(part)
        for following in [*looks[1:], None]:
            for part in parts:
                self._weigh(part)
                if following:
                    part.coming.extend(self._again(part, following, window, pool))
        readings: dict[int, Reading] = {}
        first: dict[int, np.ndarray] = {}  # index -> (T, C), of the network that read it last
        for part in ended + parts:
            readings |= part.readings
            first |= part.looks[0]
        written = self.decoder.written(readings, first)
        for index, (file, line) in enumerate(zip(window.files, window.lines, strict=True)):
            if isinstance(line, str):
                yield Prediction(file, "", 0.0, error=line)
            elif index not in readings:  # whether there is nothing or too faint ink, who knows
                yield Prediction(file, "", 0.0, reason="blank")
            else:
                yield self._prediction(file, line, readings[index], written[index])

    def _parts(self, batches: list[_Batch], decoder: Decoder) -> Iterator[_Part]:
        """Yield the lines of batches, searched, as many as are searched best at a time."""
        part = _Part()
        uncertain: list[int] = []
        some: dict[int, np.ndarray] = {}  # index -> (T, C)
        for place, (batch, result) in enumerate(batches, start=1):
            some.update(zip(batch, result(), strict=True))
            if len(some) < GREEDY and place < len(batches):
                continue
            greedy = decoder.greedy(some)
            part.looks[0].update(some)
            part.readings.update(greedy)
            uncertain += decoder.uncertain(greedy)
            some = {}
            if len(uncertain) >= decoder.together or place == len(batches):
                lines = {index: part.looks[0][index] for index in uncertain}
                part.readings.update(decoder.searched(part.readings, lines))
                yield part
                part, uncertain = _Part(), []

    def _size(self, line: Grey) -> _Size:
        """Return the rows and columns of the canvas of a line as a network is to see it."""
        return len(line), self.model.image.canvas_width(line.shape[1])

    def _run(self, network: Network, lines: list[Grey]) -> np.ndarray:
        """Return a network's log_probs (N, T, C) for lines (rows, w) of one canvas size."""
        _, width = self._size(lines[0])
        log_probs = network(on_canvas(lines, width))  # (N, 1, H, W) -> (N, T, C)
        expected = (len(lines), width // self.model.stride, self.model.alphabet.classes)
        if log_probs.shape != expected:
            raise ModelError(
                f"{self.model.path}: the network gave {log_probs.shape} for an alphabet "
                f"and a stride that make {expected}; export the model again"
            )
        return log_probs

    def _first_looks(self) -> list[_Look]:
        """Return the networks that read, one after the other, and what they see of a line."""
        own = self.network, partial(cut_rows, step=self.model.height_step)
        if not (self.fast and self.model.fast):
            return [own]
        return [(self.fast, partial(cut_rows, step=self.model.fast.height_step)), own]

    def _more_looks(self) -> list[_Look]:
        """Return the networks that look again, one after the other, and how lines are drawn."""
        step = self.model.height_step
        own = self.network, lambda line: cut_rows(smaller(line), step)
        if not (self.second and self.model.second):
            return [own]
        second = self.model.second
        scale = second.scale(self.model.image)
        return [own, (self.second, partial(redrawn, scale=scale, height=second.height))]

    def _again(
        self, part: _Part, look: _Look, window: _Window, pool: ThreadPoolExecutor
    ) -> list[_Batch]:
        """Send what is doubtful in a part of a window to a network, and return the batches."""
        doubtful = ((index, window.lines[index]) for index in self.decoder.doubtful(part.readings))
        lines = ((index, line) for index, line in doubtful if not isinstance(line, str))
        return self._sent(lines, look, window, pool)

    def _sent(
        self,
        lines: Iterable[tuple[int, Grey]],
        look: _Look,
        window: _Window,
        pool: ThreadPoolExecutor,
    ) -> list[_Batch]:
        """Send lines of a window to a network, in batches of equal canvas size, and return them."""
        network, drawn = look
        batches: list[_Batch] = []
        groups: dict[_Size, dict[int, Grey]] = defaultdict(dict)  # of canvas -> index -> line

        def send(size: _Size, *, alone: bool = False) -> None:
            where = None if alone else pool
            batches.append(self._batch(network, groups.pop(size), where))

        for index, line in lines:
            seen = drawn(line)
            size = self._size(seen)
            groups[size][index] = seen
            if len(groups[size]) == window.batch_size:
                send(size)
        sizes = list(groups)
        if not window.batches:  # of the first look like lengths are searched together
            sizes.sort(key=lambda size: size[1])
        only = len(window.batches) <= 1 and len(groups) == 1 and not batches
        for size in sizes:
            send(size, alone=only)  # to wait for a thread would take longer
        return batches

    def _batch(
        self, network: Network, lines: dict[int, Grey], pool: ThreadPoolExecutor | None
    ) -> _Batch:
        """Return a batch of lines by index, of one canvas size, sent to a pool if given."""
        work = partial(self._run, network, list(lines.values()))
        return list(lines), pool.submit(work).result if pool else work

    def _weigh(self, part: _Part) -> None:
        """Weigh the texts of what was looked at again in a part, by all looks."""
        if part.coming:
            look: dict[int, np.ndarray] = {}  # index -> (T, C)
            for batch, result in part.coming:
                look.update(zip(batch, result(), strict=True))
            part.looks.append(look)
            part.readings.update(self.decoder.weighed(part.readings, part.looks))
            part.coming.clear()

    def _prediction(
        self, file: str, line: Grey, reading: Reading, written: ctc.Decoded
    ) -> Prediction:
        """Return the prediction for a line image."""
        confidence = self._confidence(reading.share)
        left = (1 - confidence) / (1 - reading.share) if reading.share < 1 else 0.0
        alternatives = tuple(
            Alternative(self.model.alphabet.decode(text.labels), left * text.share)
            for text in reading.texts[1:]
        )
        characters = tuple(self._character(span, line.shape[1]) for span in written.characters)
        reason = _reason(written.text, confidence, strict=self.decoder.strict)
        return Prediction(file, written.text, confidence, characters, alternatives, reason=reason)

    def _character(self, span: ctc.Span, width: int) -> Character:
        """Return the span in pixels, within the line image of that width."""
        start, end = (min(frame * self.model.stride, width) for frame in (span.start, span.end))
        return Character(span.character, start, end, min(span.confidence, 1.0))

    def _confidence(self, share: float) -> float:
        calibration = self.model.confidence
        if calibration is None:
            return share
        return calibration.confidence(log(share) if share else -inf)


def _reason(text: str, confidence: float, *, strict: bool) -> str:
    """Return why a person should look at a line with ink, or nothing."""
    if not text:
        return "no name of the list" if strict else "no handwriting"
    return "doubtful" if confidence < DOUBTFUL else ""


def _language(model: ModelFolder) -> Language | None:
    """Return the language that the model's decoding needs."""
    if model.decoding is None:
        return None
    language = Language.load(model.language)
    if language.alphabet != model.alphabet:
        raise ModelError(
            f"{model.language}: its alphabet {language.alphabet.characters!r} is not the model's, "
            f"{model.alphabet.characters!r}; build the language again"
        )
    return language
