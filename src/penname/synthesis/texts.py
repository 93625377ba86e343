"""Texts: what synthetic names say, and the characters a writer draws for them.

Names come from a frequency list, flattened so that rare ones are seen; some are recombined from
it, so that a network learns letters and not only the list.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from penname.alphabet import Alphabet
from penname.errors import LexiconError
from penname.lexicon import read_names

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

NAMES = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ -'")
ORDER = 3  # letters of context when a name is recombined
ACCENTS = {"E": "ÉÉÉÉÈËÊ", "I": "ÏÎ", "A": "ÀÂ", "O": "ÔÖ", "U": "ÜÛ", "C": "Ç"}
LONGEST = 24  # characters; longer names do not fit a crop legibly


class Texts:
    """A frequency list to draw names from: `pick` one, or one that is not in it."""

    def __init__(self, names: list[str], counts: np.ndarray, flatten: float) -> None:
        """Take names with their counts; each is drawn with weight count ** `flatten`."""
        self.names = names
        self._sum = np.cumsum(counts.astype(np.float64) ** flatten)
        self._first = [name[:ORDER] for name in names if len(name) >= ORDER]
        self._next: dict[str, list[str]] = {}
        for name in names:
            for i in range(len(name) - ORDER + 1):
                after = name[i + ORDER] if i + ORDER < len(name) else ""
                self._next.setdefault(name[i : i + ORDER], []).append(after)

    @classmethod
    def load(cls, path: Path, flatten: float) -> Texts:
        """Read a list of names.

        Raises:
            LexiconError: when it cannot be read, or holds no name of the alphabet.
        """
        names = read_names(path)
        kept = {n: c for n, c in names.items() if len(n) <= LONGEST and not NAMES.missing(n)}
        if not kept:
            raise LexiconError(f"{path}: no name made of {NAMES.characters!r}")
        if lost := [name for name in names if name not in kept]:
            logger.warning(
                "%s: %d of %d names left out, such as %r: longer than %d or not of %r alone",
                *(path, len(lost), len(names), lost[0], LONGEST, NAMES.characters),
            )
        return cls(list(kept), np.array(list(kept.values())), flatten)

    def pick(self, rng: np.random.Generator, invented: float) -> str:
        """Return a name; a share `invented` is in no list, some others are joined to compounds.

        Of those in no list 7 of 10 are recombined, and the others random capitals.
        """
        u = rng.random()
        if u < invented * 0.7:
            return self._invent(rng)
        if u < invented:
            return "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), rng.integers(2, 9)))
        name = self._listed(rng)
        if rng.random() < 0.035:
            joined = name + ("-", " ", "-", " ", "'")[rng.integers(5)] + self._listed(rng)
            return joined if len(joined) <= LONGEST else name
        return name

    def _listed(self, rng: np.random.Generator) -> str:
        return self.names[int(np.searchsorted(self._sum, rng.random() * self._sum[-1], "right"))]

    def _invent(self, rng: np.random.Generator) -> str:
        if not self._first:
            return self._listed(rng)
        text = self._first[rng.integers(len(self._first))]
        while len(text) < 14:
            after = self._next[text[-ORDER:]]
            letter = after[rng.integers(len(after))]
            if not letter:
                break
            text += letter
        return text.strip(" -'") or self._listed(rng)


def as_written(text: str, rng: np.random.Generator) -> str:
    """Return what a writer draws for `text`: mostly capitals, dotted i, some accents.

    One character for each character of `text`.
    """
    u = rng.random(5)
    if u[0] < 0.04:
        drawn = text.title()
    elif u[0] < 0.06:
        drawn = text.lower()
    else:
        drawn = text.replace("I", "i") if u[1] < 0.36 else text
        if u[2] < 0.04:
            one = text[rng.integers(len(text))]
            drawn = drawn.replace(one, one.lower())
        if u[4] < 0.4:
            drawn = drawn.replace("Q", "q")  # a large q is how many are taught to write it
    return _accented(drawn, rng) if u[3] < 0.16 else drawn


def _accented(drawn: str, rng: np.random.Generator) -> str:
    places = [i for i, c in enumerate(drawn) if c.upper() in ACCENTS]
    weights = np.array([8.0 if drawn[i].upper() == "E" else 1.0 for i in places])
    if not places:
        return drawn
    i = places[int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), "right"))]
    choices = ACCENTS[drawn[i].upper()]
    accented = choices[rng.integers(len(choices))]
    return drawn[:i] + (accented if drawn[i].isupper() else accented.lower()) + drawn[i + 1 :]
