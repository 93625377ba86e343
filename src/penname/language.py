"""Language: how probable a text is, from a list of names with counts.

P(text) is a mixture of two models of the same list:

- words: the text's share of all counts (`Lexicon`), so a text outside the list has none;
- an n-gram of characters, order 6, Witten-Bell smoothing (Witten and Bell 1991; interpolated as
  in Chen and Goodman 1999, section 2.6), so that a name nobody listed can still be read.

Both end their texts with a symbol of their own, so P sums to 1 over all texts. A strict language
is the words alone. `Language` also
gives P one character at a time for a beam search: the mixture is kept exactly by carrying, with
each prefix, the odds that it was the words that wrote it.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penname.alphabet import Alphabet
from penname.errors import LexiconError, ModelError
from penname.language_network import LanguageNetwork
from penname.lexicon import Lexicon, load_names, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ORDER = 6
WORDS = 0.5  # weight of the words in the mixture
NETWORK = 0.35  # weight of a language network beside that mixture (docs/log.md)


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
        """Replace those at `indices` of one dimension by others, in order."""
        self.context[indices] = others.context
        self.node[indices] = others.node
        self.odds[indices] = others.odds
        self.log_prob[indices] = others.log_prob


class Language:
    """P(text) over the texts of an alphabet.

    A symbol is a label of the alphabet, `end`, or what stands before the first character. A string
    of symbols is one integer, its digits in base `end` + 2, so a dictionary is a sorted array.

    Args:
        words: the names of the list.
        grams: every string of up to ORDER symbols in the list, sorted, and how often it comes.
        strict: whether the words alone can be written.
        network: mixed into what whole texts are worth, unless the language is strict.
    """

    def __init__(
        self,
        words: Lexicon,
        grams: tuple[np.ndarray, np.ndarray],
        *,
        strict: bool = False,
        network: LanguageNetwork | None = None,
    ) -> None:
        self.words, self.strict, self.network = words, strict, network
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
    def build(cls, names: Mapping[str, int], alphabet: Alphabet) -> Language:
        """Return the language of names with counts; those the alphabet cannot write are left out.

        Raises:
            LexiconError: when none is left.
        """
        writable = written(names, alphabet)
        if not writable:
            raise LexiconError("the alphabet can write none of the names; give it their characters")
        symbols = _symbols([alphabet.encode(name) for name in writable], len(alphabet) + 1)
        counts = np.array(list(writable.values()), dtype=np.int64)
        words = Lexicon.build(writable, alphabet)
        return cls(words, _count_grams(symbols, counts, words.base))

    @classmethod
    def uniform(cls, words: Lexicon) -> Language:
        """Return the language of the words and of characters that are all equally likely."""
        return cls(words, (np.array([words.end]), np.array([0])))

    def with_words(self, words: Lexicon, *, strict: bool) -> Language:
        """Return this language with other words."""
        grams = self._grams, self._gram_counts
        return Language(words, grams, strict=strict, network=self.network)

    @classmethod
    def load(cls, file: Path, network: Path | None = None) -> Language:
        """Return the language in a file, with a language network in another.

        Raises:
            ModelError: when there is none, or it is damaged.
        """
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                alphabet = Alphabet(str(arrays["alphabet"]))
                keys = [np.cumsum(arrays[name], dtype=np.int64) for name in ("grams", "tree")]
                counts = [arrays[f"{name}_counts"].astype(np.int64) for name in ("grams", "tree")]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(f"{file}: {error}; build the language again") from error
        words, grams = Lexicon(alphabet, keys[1], counts[1]), (keys[0], counts[0])
        mixed = LanguageNetwork(network, alphabet) if network else None
        return cls(words, grams, network=mixed)

    def save(self, file: Path) -> None:
        """Write the language to a file, some 20 bytes a name."""
        arrays = {
            "grams": np.diff(self._grams, prepend=0),
            "grams_counts": self._gram_counts,
            "tree": np.diff(self.words.entries, prepend=0),
            "tree_counts": self.words.counts,
        }
        small: dict[str, Any] = {
            name: each.astype(np.min_scalar_type(each.max())) for name, each in arrays.items()
        }
        np.savez_compressed(file, alphabet=np.array(self.alphabet.characters), **small)

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
        network = None if self.strict else self.network
        grams = np.zeros(symbols.shape)  # log P of each prefix by the n-gram
        grams[:, 0] = _by_grams(prefixes)
        for place in range(1, symbols.shape[1]):
            going = np.flatnonzero(symbols[:, place])
            prefixes.put(going, self.extend(prefixes.take(going), symbols[going, place]))
            if network:
                grams[:, place] = _by_grams(prefixes)
        if network is None:
            return prefixes.log_prob
        steps = np.log(1 - NETWORK) + np.diff(grams), np.log(NETWORK) + network.steps(symbols)
        mixed = grams[:, 0] + np.logaddexp(*steps).sum(axis=1, where=symbols[:, 1:] != 0)
        with np.errstate(divide="ignore"):
            words = grams[:, -1] + np.log(prefixes.odds)
        return np.asarray(np.logaddexp(words, mixed))

    def _gram_probability(self, context: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return P(symbol | context) of the n-gram; prefixes of a search ask for the same ones."""
        grams, which = np.unique(context * self._base + symbols, return_inverse=True)
        found = self._interpolated(*np.divmod(grams, self._base))[which]
        return np.asarray(found.reshape(context.shape))

    def _interpolated(self, context: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return P(symbol | context) (M,), from no context to the whole."""
        contexts = context % self._sizes[:, None]  # (ORDER, M), the last 0, 1, ... symbols
        rows, known = _find(self._contexts, contexts)
        known &= contexts >= self._sizes[:, None] // self._base  # else shorter, and had its turn
        entries, seen = _find(self._grams, contexts * self._base + symbols)
        kinds, totals = self._kinds.take(rows), self._totals.take(rows)
        share = known / (kinds + totals)
        counted = share * seen * self._gram_counts.take(entries)
        left = np.where(known, share * kinds, 1.0)  # to the shorter context
        probability = np.full(len(context), 1.0 / self.end)
        for seen_here, passed_on in zip(counted, left, strict=True):
            probability = seen_here + passed_on * probability
        return probability


def build_language(csv_file: Path, alphabet: Alphabet, out: Path) -> Language:
    """Write the language of a list of names and of empty fields, and return it.

    Raises:
        LexiconError: when the list cannot be read or the alphabet can write none of its names.
    """
    language = Language.build(load_names(csv_file, alphabet), alphabet)
    language.save(out)
    return language


def _by_grams(prefixes: Prefixes) -> np.ndarray:
    """Return log P that a text begins so and the n-gram writes it."""
    return np.asarray(prefixes.log_prob - np.log1p(prefixes.odds))


def _find(entries: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in sorted entries each wanted one is (or would be), and whether it is there."""
    where = np.minimum(np.searchsorted(entries, wanted), len(entries) - 1)
    return where, entries.take(where) == wanted


def _symbols(labels: Sequence[Sequence[int] | np.ndarray], end: int) -> np.ndarray:
    """Return the start, the labels and the end of each text, filled up with 0: (N, 2 + L)."""
    symbols = np.zeros((len(labels), 2 + max(map(len, labels), default=0)), dtype=np.int64)
    symbols[:, 0] = end + 1
    for row, line in zip(symbols, labels, strict=True):
        row[1 : 1 + len(line)] = line
        row[1 + len(line)] = end
    return symbols


def _count_grams(
    symbols: np.ndarray, counts: np.ndarray, base: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the strings of up to ORDER symbols that end after the start, and their counts."""
    grams, weights = [], []
    current = symbols  # (N, L + 2 - k): the strings of k + 1 symbols, by their last one
    for k in range(ORDER):
        place = symbols[:, k:] != 0
        place[:, : max(1 - k, 0)] = False  # the start alone
        grams.append(current[place])
        weights.append(np.broadcast_to(counts[:, None], place.shape)[place])
        current = current[:, 1:] + symbols[:, : -k - 1] * base ** (k + 1)
    return _sum_by_key(np.concatenate(grams), np.concatenate(weights))


def _sum_by_key(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, sorted, and the sum of the weights of each."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(distinct), dtype=weights.dtype)
    np.add.at(sums, inverse, weights)
    return distinct, sums
