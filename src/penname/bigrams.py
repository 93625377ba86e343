"""Word bigrams: how probable the words of a text are, each after the one before it.

P(word | before) = (count(before, word) + PRIOR P(word)) / (count(before) + PRIOR), over the pairs
that are kept: a Dirichlet prior (MacKay and Peto 1995, "A hierarchical Dirichlet language model").
A word is a run of letters, in small ones, or one of .,;:!? and what else a text holds is passed
over. So a text is judged by what an n-gram of characters does not know: which words there are, and
which of them come together.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from penname.alphabet import nfc
from penname.errors import LexiconError
from penname.sorted_keys import look_up, sum_by_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    _Counts = tuple[np.ndarray, np.ndarray]  # keys of words and of pairs, counts

WORD = re.compile(r"[^\W\d_]+|[.,;:!?]")
PRIOR = 20.0
UNKNOWN = 1e-12  # P of a word that is not known
LISTED = 0.2  # share of the listed texts in all words that are counted, where there are others
LEAST_WORD, LEAST_PAIR = 3, 5  # what running text has seldomer is not kept, unless it is listed
LINES = 25_000  # of running text that are counted at once
BASE = 1 << 31  # a pair's key while counting: (place of a word + 1) * BASE + place of the next


class Bigrams:
    """Words and pairs of them, with counts.

    Args:
        words: each word once (V,).
        counts: how often each comes (V,).
        pairs: place of a word * V + place of the next, sorted (P,); there may be none.
        pair_counts: how often each comes (P,).
    """

    def __init__(
        self, words: Sequence[str], counts: np.ndarray, pairs: np.ndarray, pair_counts: np.ndarray
    ) -> None:
        self.words, self.counts, self.pairs, self.pair_counts = words, counts, pairs, pair_counts
        self._shares = counts / counts.sum()
        self._followed = np.bincount(pairs // len(words), pair_counts, minlength=len(words))

    @classmethod
    def count(cls, listed: Mapping[str, int], running: Sequence[Path]) -> Bigrams:
        """Return the bigrams of texts with counts and of text files, a paragraph a line.

        Raises:
            LexiconError: the texts hold no word, or a file cannot be read.
        """
        places: dict[str, int] = {}
        ours = _counted(listed, np.array([*listed.values()]), places)
        if not places:
            raise LexiconError("the texts of the list hold no word; give texts with words")
        others = ours[0][:0], ours[1][:0]
        for lines in _parts(running):
            others = _sum(others, _counted(lines, np.ones(len(lines), dtype=np.int64), places))
        keys, counts = others
        kept = counts >= np.where(keys < BASE, LEAST_WORD, LEAST_PAIR)
        times = max(1, round(LISTED / (1 - LISTED) * _words(others) / _words(ours)))
        keys, counts = _sum((keys[kept], counts[kept]), (ours[0], times * ours[1]))

        words, pairs = keys < BASE, keys >= BASE
        common = np.argsort(-counts[words], kind="stable")
        spelled = [*places]
        place = np.empty(len(spelled), dtype=np.int64)  # by the place so far
        place[keys[words][common]] = np.arange(len(common))
        before, word = np.divmod(keys[pairs], BASE)
        both = place[before - 1] * len(common) + place[word]
        order = np.argsort(both)
        return cls(
            [spelled[each] for each in keys[words][common]],
            counts[words][common],
            both[order],
            counts[pairs][order],
        )

    def log_prob(self, texts: Sequence[str]) -> np.ndarray:
        """Return log P of the words of each text: (N,), 0 where there are none."""
        words = [WORD.findall(text.lower()) for text in texts]
        row = np.repeat(np.arange(len(texts)), [len(each) for each in words])
        places = [self._places.get(word, -1) for each in words for word in each]
        word = np.array(places, dtype=np.int64)
        before = np.where(np.diff(row, prepend=-1) == 0, np.roll(word, 1), -1)
        alone = np.where(word >= 0, self._shares.take(word), UNKNOWN)
        both = np.where((before >= 0) & (word >= 0), before * len(self.words) + word, -1)
        together = look_up(self.pairs, self.pair_counts, both)
        followed = np.where(before >= 0, self._followed.take(before), 0)
        log_prob = np.log((together + PRIOR * alone) / (followed + PRIOR))
        return np.bincount(row, log_prob, minlength=len(texts))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}


def _parts(files: Sequence[Path]) -> Iterator[list[str]]:
    """Yield the lines of text files, as many as are counted at once."""
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                while part := list(islice(lines, LINES)):
                    yield [nfc(line) for line in part]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"{error}; save it as UTF-8"
            raise LexiconError(f"{file}: {reason}") from error


def _counted(texts: Iterable[str], times: np.ndarray, places: dict[str, int]) -> _Counts:
    """Return how often each word and each pair comes; new words get the next places."""
    words = [WORD.findall(text.lower()) for text in texts]
    row = np.repeat(np.arange(len(words)), [len(each) for each in words])
    flat = [places.setdefault(word, len(places)) for each in words for word in each]
    keys, weights = np.array(flat, dtype=np.int64), times[row]
    follows = row[1:] == row[:-1]
    pairs = (keys[:-1][follows] + 1) * BASE + keys[1:][follows]
    return _sum((keys, weights), (pairs, weights[1:][follows]))


def _sum(some: _Counts, more: _Counts) -> _Counts:
    """Return the sums of counts by key."""
    return sum_by_key(np.concatenate([some[0], more[0]]), np.concatenate([some[1], more[1]]))


def _words(counted: _Counts) -> int:
    """Return how many words were counted."""
    keys, counts = counted
    return int(counts[keys < BASE].sum())
