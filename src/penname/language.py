"""Language: how probable a text is, from a list of names with counts.

P(text) is a mixture of two models of the same list:

- words: the text's share of all counts (`Lexicon`), so a text outside the list has none;
- an n-gram of characters, order 6, Witten-Bell smoothing (Witten and Bell 1991; interpolated as
  in Chen and Goodman 1999, section 2.6), so that a name nobody listed can still be read.

Both end their texts with a symbol of their own, so P sums to 1 over all texts. A strict language
is the words alone. `Language` also gives P one character at a time for a beam search: the mixture
is kept exactly by carrying, with each prefix, the odds that it was the words that wrote it. Whole
texts it can judge by word bigrams too.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penname.alphabet import Alphabet
from penname.bigrams import Bigrams
from penname.errors import LexiconError, ModelError
from penname.lexicon import Lexicon, load_names, written
from penname.sorted_keys import find, sum_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ORDER = 6
MOST = 1445  # characters of an alphabet of which a string of ORDER symbols is a number of 63 bits
WORDS = 0.5  # weight of the words in the mixture


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The beginnings of texts, in arrays of any one shape, as far as the language needs them."""

    context: np.ndarray  # the last ORDER - 1 symbols, as digits
    node: np.ndarray  # the prefix in the tree of words; -1 when no word begins so
    odds: np.ndarray  # that the words wrote it, against the n-gram
    log_prob: np.ndarray  # that a text begins so

    def take(self, indices: np.ndarray) -> Prefixes:
        """Return the prefixes at `indices`, counted through arrays of any shape."""
        return Prefixes(
            self.context.take(indices),
            self.node.take(indices),
            self.odds.take(indices),
            self.log_prob.take(indices),
        )

    def and_then(self, others: Prefixes) -> Prefixes:
        """Return these prefixes and then others, in arrays of one dimension."""
        return Prefixes(
            np.concatenate([self.context.reshape(-1), others.context]),
            np.concatenate([self.node.reshape(-1), others.node]),
            np.concatenate([self.odds.reshape(-1), others.odds]),
            np.concatenate([self.log_prob.reshape(-1), others.log_prob]),
        )

    def put(self, indices: np.ndarray, others: Prefixes) -> None:
        """Replace the prefixes at `indices`, counted as in `take`, by others, in order."""
        self.context.put(indices, others.context)
        self.node.put(indices, others.node)
        self.odds.put(indices, others.odds)
        self.log_prob.put(indices, others.log_prob)


class Language:
    """P(text) over the texts of an alphabet.

    A symbol is a label of the alphabet, `end`, or what stands before the first character. A string
    of symbols is one integer, its digits in base `end` + 2, so a dictionary is a sorted array.

    Args:
        words: the names of the list.
        grams: every string of up to ORDER symbols in the list, sorted, and how often it comes.
        strict: whether the words alone can be written.
        bigrams: how probable the words within a text are, where that is known.
    """

    def __init__(
        self,
        words: Lexicon,
        grams: tuple[np.ndarray, np.ndarray],
        *,
        strict: bool = False,
        bigrams: Bigrams | None = None,
    ) -> None:
        self.words, self.strict, self.bigrams = words, strict, bigrams
        self.alphabet = words.alphabet
        self.end = words.end
        self._base = words.base
        self._grams, self._gram_counts = grams
        contexts = self._grams // self._base
        begins = np.flatnonzero(np.diff(contexts, prepend=-1))
        self._contexts = contexts[begins]
        self._kinds = np.diff(begins, append=len(contexts))  # different symbols seen after each
        self._totals = np.add.reduceat(self._gram_counts, begins)
        self._sizes = self._base ** np.arange(ORDER)  # strings of k symbols are below sizes[k]

    @classmethod
    def build(
        cls, names: Mapping[str, int], alphabet: Alphabet, bigrams: Bigrams | None = None
    ) -> Language:
        """Return the language of names with counts; those the alphabet cannot write are left out.

        Raises:
            LexiconError: when none is left, or the alphabet is too large.
        """
        if len(alphabet) > MOST:
            raise LexiconError(
                f"a language is of at most {MOST:,} characters, and the alphabet has "
                f"{len(alphabet):,}; train with a smaller one, or without a language"
            )
        writable = written(names, alphabet)
        if not writable:
            raise LexiconError("the alphabet can write none of the names; give it their characters")
        words = Lexicon.build(writable, alphabet)
        labels = [alphabet.encode(name) for name in writable]
        counts = np.array(list(writable.values()), dtype=np.int64)
        return cls(words, _count_grams(labels, counts, words.end), bigrams=bigrams)

    @classmethod
    def uniform(cls, words: Lexicon) -> Language:
        """Return the language of the words and of characters that are all equally likely."""
        return cls(words, (np.array([words.end]), np.array([0])))

    def with_words(self, words: Lexicon, *, strict: bool) -> Language:
        """Return this language with other words and, as it knows little of these, no bigrams."""
        return Language(words, (self._grams, self._gram_counts), strict=strict)

    @classmethod
    def load(cls, file: Path) -> Language:
        """Return the language in a file.

        Raises:
            ModelError: when there is none, or it is damaged.
        """
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                alphabet = Alphabet(str(arrays["alphabet"]))
                grams, tree = (_entries(arrays, name) for name in ("grams", "tree"))
                bigrams = None
                if "words" in arrays:
                    words, counts = str(arrays["words"]).split("\n"), arrays["words_counts"]
                    bigrams = Bigrams(words, counts, *_entries(arrays, "pairs"))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(f"{file}: {error}; build the language again") from error
        return cls(Lexicon(alphabet, *tree), grams, bigrams=bigrams)

    def save(self, file: Path) -> None:
        """Write the language to a file, some 20 bytes a name and 3 a pair of words."""
        entries = {
            "grams": (self._grams, self._gram_counts),
            "tree": (self.words.entries, self.words.counts),
        }
        told = {"alphabet": np.array(self.alphabet.characters)}
        if more := self.bigrams:
            entries["pairs"] = (more.pairs, more.pair_counts)
            told |= {"words": np.array("\n".join(more.words)), "words_counts": more.counts}
        for name, (keys, counts) in entries.items():
            told |= {name: np.diff(keys, prepend=0), f"{name}_counts": counts}
        small: dict[str, Any] = {name: _small(each) for name, each in told.items()}
        np.savez_compressed(file, **small)

    @property
    def nothing(self) -> Prefixes:
        """The empty prefix, in arrays of one."""
        context, node = np.array([self.end + 1]), np.zeros(1, dtype=np.int64)
        return Prefixes(context, node, np.array([WORDS / (1 - WORDS)]), np.zeros(1))

    def extend(self, before: Prefixes, symbols: np.ndarray) -> Prefixes:
        """Return the prefixes with a symbol added to each: a label, or `end`, which is the last."""
        words, node = self.words.step(before.node, symbols)
        if self.strict:
            with np.errstate(divide="ignore"):  # what the words cannot write has log P = -inf
                log_prob = before.log_prob + np.log(words)
            return Prefixes(before.context, node, before.odds, log_prob)
        grams = self._gram_probability(before.context, symbols)
        mixed = (grams + before.odds * words) / (1 + before.odds)
        return Prefixes(
            (before.context * self._base + symbols) % self._sizes[-1],
            node,
            before.odds * words / grams,
            before.log_prob + np.log(mixed),
        )

    def log_prob(self, labels: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
        """Return log P of whole texts, given by their labels: (N,)."""
        symbols = _symbols(labels, self.end)  # (N, L + 2)
        prefixes = self.nothing.take(np.zeros(len(symbols), dtype=np.intp))
        for place in range(1, symbols.shape[1]):
            going = np.flatnonzero(symbols[:, place])
            prefixes.put(going, self.extend(prefixes.take(going), symbols[going, place]))
        return prefixes.log_prob

    def log_prob_by_bigrams(self, labels: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
        """Return log P of the words of whole texts, given by their labels: (N,)."""
        assert self.bigrams, "not every language has them"
        return self.bigrams.log_prob([self.alphabet.decode(text) for text in labels])

    def _gram_probability(self, context: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return P(symbol | context) of the n-gram; prefixes of a search ask for the same ones."""
        grams, which = np.unique(context * self._base + symbols, return_inverse=True)
        found = self._interpolated(*np.divmod(grams, self._base))[which]
        return np.asarray(found.reshape(context.shape))

    def _interpolated(self, context: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return P(symbol | context) (M,), from no context to the whole."""
        contexts = context % self._sizes[:, None]  # (ORDER, M), the last 0, 1, ... symbols
        rows, known = find(self._contexts, contexts)
        known &= contexts >= self._sizes[:, None] // self._base  # else shorter, and had its turn
        entries, seen = find(self._grams, contexts * self._base + symbols)
        kinds, totals = self._kinds.take(rows), self._totals.take(rows)
        share = known / (kinds + totals)
        counted = share * seen * self._gram_counts.take(entries)
        left = np.where(known, share * kinds, 1.0)  # to the shorter context
        probability = np.full(len(context), 1.0 / self.end)
        for seen_here, passed_on in zip(counted, left, strict=True):
            probability = seen_here + passed_on * probability
        return probability


def build_language(
    csv_file: Path, alphabet: Alphabet, out: Path, running: Sequence[Path] | None = None
) -> Language:
    """Write the language of a list of names and of empty fields, and return it.

    Args:
        csv_file: the list.
        alphabet: what can be written.
        out: the file of the language.
        running: with word bigrams of the list and of these text files; None is without any.

    Raises:
        LexiconError: when a file cannot be read, the alphabet can write none of the names, or
            there are no words in them to count.
    """
    names = load_names(csv_file, alphabet)
    bigrams = None if running is None else Bigrams.count(names, running)
    language = Language.build(names, alphabet, bigrams)
    language.save(out)
    return language


def _entries(arrays: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted keys and their counts from a file."""
    return np.cumsum(arrays[name], dtype=np.int64), arrays[f"{name}_counts"].astype(np.int64)


def _small(array: np.ndarray) -> np.ndarray:
    """Return integers in as few bytes as the largest needs, and other arrays as they are."""
    if array.dtype.kind not in "iu" or not array.size:
        return array
    return array.astype(np.min_scalar_type(array.max()))


def _symbols(labels: Sequence[Sequence[int] | np.ndarray], end: int) -> np.ndarray:
    """Return the start, the labels and the end of each text, filled up with 0: (N, 2 + L)."""
    symbols = np.zeros((len(labels), 2 + max(map(len, labels), default=0)), dtype=np.int64)
    symbols[:, 0] = end + 1
    for row, line in zip(symbols, labels, strict=True):
        row[1 : 1 + len(line)] = line
        row[1 + len(line)] = end
    return symbols


def _count_grams(
    labels: Sequence[np.ndarray], counts: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the strings of up to ORDER symbols that end after the start, and their counts.

    Args:
        labels: of the texts.
        counts: how often each text comes (N,).
        end: the symbol that ends a text; the next one starts it.
    """
    symbols = np.concatenate([(end + 1, *text, end) for text in labels])
    lengths = np.array([len(text) + 2 for text in labels])
    place = np.arange(len(symbols)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    times = np.repeat(counts, lengths)
    grams, weights = [], []
    current = symbols.copy()  # of k + 1 symbols, by their last one; those of two texts mean nothing
    for k in range(ORDER):
        whole = place >= max(k, 1)  # in its text, and not the start alone
        grams.append(current[whole])
        weights.append(times[whole])
        current[k + 1 :] += symbols[: -k - 1] * (end + 2) ** (k + 1)
    return sum_by_key(np.concatenate(grams), np.concatenate(weights))
