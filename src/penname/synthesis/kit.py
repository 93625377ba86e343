"""Kit: the options of synthetic lines, and the material they are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penname.errors import OptionError
from penname.options import check_choices, option
from penname.synthesis import paper
from penname.synthesis.corpus import LATIN, Corpus
from penname.synthesis.fonts import Fonts
from penname.synthesis.glyphs import Glyphs
from penname.synthesis.ink import Hand, Ink
from penname.synthesis.neighbours import Neighbours, Writer
from penname.synthesis.strokes import Strokes, Words
from penname.synthesis.texts import NAMES, Texts

if TYPE_CHECKING:
    from penname.alphabet import Alphabet

WIDEST = 4800  # half pixels of a line; more is pressed together
TRIES = 1000  # texts picked until a source can write one
OTHERS = 48  # lines of text that neighbours and backs are taken from
SOURCES = ("fonts", "glyphs", "strokes", "words")
LOOKS = {  # and the weights of the sources where none are given
    "names": (0.35, 0.15, 0.45, 0.05),
    "plain": (0.35, 0.15, 0.45, 0.05),
    "lines": (0.45, 0.05, 0.3, 0.2),
}


@dataclass(frozen=True)
class SynthOptions:
    """What synthetic lines are made of; the weights need not sum to 1, and one not given is 0."""

    lines: int = option(100_000, "number of pictures")
    seed: int = option(0, "seed; the same seed makes the same pictures on any number of workers")
    fonts: float | None = option(None, "weight of texts in handwriting fonts; none given: by look")
    glyphs: float | None = option(
        None, "weight of texts made of scanned characters (EMNIST); none given: by look"
    )
    strokes: float | None = option(
        None, "weight of texts drawn with recorded pen strokes (UNIPEN); none given: by look"
    )
    words: float | None = option(
        None, "weight of whole recorded words, which bring their own text; none given: by look"
    )
    look: str = option(
        "names",
        "names: crops of school forms; plain: names on clean paper; lines: running text on old "
        "and new paper",
        choices=tuple(LOOKS),
    )
    text: str = option(
        "", "what is written: a .csv of name,count, or for lines a text file, one line of text each"
    )
    flatten: float = option(0.5, "names are drawn with probability count ** flatten")
    invented: float = option(
        0.08,
        "share of names in no list, recombined or of random letters; some others are compounds",
    )
    validation: float = option(0.0, "share of pictures in the validation split")
    workers: int = option(0, "processes that make pictures; 0: one for each core")

    def __post_init__(self) -> None:
        check_choices(self)
        if self.look == "lines" and not self.text:
            raise OptionError("look lines needs a file of texts; name it with text (--text FILE)")
        weights = self.weights
        if min(weights.values()) < 0 or not 0 < sum(weights.values()) < math.inf:
            raise OptionError(f"the weights {weights} must be positive, at least one above 0")
        if self.lines < 1 or self.workers < 0:
            raise OptionError(f"lines {self.lines} is at least 1, workers {self.workers} 0")
        if not -2 <= self.flatten <= 2:
            raise OptionError(f"flatten is {self.flatten}, not within -2 to 2")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; it is at least 0")
        for name in ("invented", "validation"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it is a share, 0 to 1")

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
        LexiconError: when the list of names is.
    """

    def __init__(self, data: Path, flatten: float = 0.5, text: str = "") -> None:
        self._data, self._flatten, self._text = data, flatten, text
        self._neighbours: dict[str, Neighbours] = {}
        self._others: dict[str, list[Ink]] = {}

    @cached_property
    def texts(self) -> Texts:
        """The list of names."""
        path = Path(self._text) if self._text else self._data / "names_frequency.csv"
        return Texts.load(path, self._flatten)

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
        return paper.grain(np.random.default_rng(0))

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
                self.line(source, None, Hand.of_line(rng), rng)[0] for _ in range(OTHERS)
            ]
        return self._others[source]

    def load(self, options: SynthOptions) -> None:
        """Read all that `options` needs now, so that a missing file is known at once."""
        for name, weight in options.weights.items():
            if weight > 0:
                getattr(self, name)
                self.writer(name)
        _ = self.corpus if options.look == "lines" else self.texts

    def line(
        self, source: str, text: str | None, hand: Hand, rng: np.random.Generator
    ) -> tuple[Ink, str]:
        """Return the ink of a line of running text and what it says; `None` picks a text.

        Raises:
            OptionError: when `text`, or what is picked, has characters that the source lacks.
        """
        if source == "words":
            return self.words.write_line(self.corpus.length(rng), hand, WIDEST, rng)
        writer = self.writer(source)
        if text is not None and not writer.can_write(text):
            raise OptionError(f"{source} cannot write {text!r}; choose another source")
        for _ in range(TRIES):
            if text is not None and writer.can_write(text):
                break
            text = self.corpus.pick(rng)
        else:
            raise OptionError(f"{source} can write none of {TRIES} texts, such as {text!r}")
        return writer.write(text, hand, WIDEST, rng), text
