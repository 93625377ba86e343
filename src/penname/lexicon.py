"""Lexicon: names with counts, as a prefix tree in flat arrays.

A list of names is a text file with one name a line, or CSV with the columns name and count,
separated by commas, semicolons or tabs. A name counts 1 where the list does not say more, and
repeated names are added up. What the list says is brought to what a model's alphabet can write, by
these rules:

- spaces: NFC with single spaces, none at the ends (`penname.alphabet.nfc`);
- a character that the alphabet has stays as it is: a space is no hyphen, and a model that writes
  both cases reads a name in the case of the list;
- one that it lacks becomes the first of these that it has: the typewriter's ' or -, the other
  case, the letter without its accent, the letters of a ligature (œ, æ, ø, ł);
- a name with a character that none of them helps is left out.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from penname.alphabet import LIGATURES, TYPOGRAPHIC, Alphabet, nfc
from penname.errors import LexiconError
from penname.sorted_keys import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

EMPTY = 0.02  # share of fields taken to be empty: erased crops read as nothing from 1 % on
COUNT = re.compile(r"\d{1,12}")  # sums of a million of these fit in 64 bits
UNWRITABLE = "\0"  # stands for a character that the alphabet cannot write


class Lexicon:
    """Names of one alphabet with counts, as a prefix tree that many prefixes walk at once.

    A symbol is a label of the alphabet, or `end`, which ends a name. A node is a beginning of
    names; node 0 is the empty one, and -1 is what no name begins with.

    Args:
        alphabet: what the labels stand for.
        entries: node before * base + symbol of each node but the empty one, sorted (E,) int64;
            the node of entry i is i + 1, and base is the length of the alphabet + 3.
        counts: of all names that begin so (E,) int64.
    """

    def __init__(self, alphabet: Alphabet, entries: np.ndarray, counts: np.ndarray) -> None:
        self.alphabet = alphabet
        self.end = len(alphabet) + 1
        self.base = len(alphabet) + 3
        self.entries, self.counts = entries, counts
        self._total = counts[: np.searchsorted(entries, self.base)].sum()

    @classmethod
    def build(cls, names: Mapping[str, int], alphabet: Alphabet) -> Lexicon:
        """Return the tree of names that the alphabet can write as they are, as `written` does."""
        labels = np.zeros(1 + max(map(ord, alphabet.characters + "\n")), dtype=np.int64)
        labels[ord("\n")] = len(alphabet) + 1
        labels[[ord(c) for c in alphabet.characters]] = np.arange(1, len(alphabet) + 1)
        listed = "".join(f"{name}\n" for name in names)
        symbols = labels[np.frombuffer(listed.encode("utf-32-le"), np.uint32)]
        counts = np.fromiter(names.values(), dtype=np.int64, count=len(names))
        return cls(alphabet, *_tree(symbols, counts, len(alphabet) + 3))

    @classmethod
    def load(cls, file: Path, alphabet: Alphabet) -> Lexicon:
        """Return the lexicon in a list of names, and nothing: a field may be empty.

        Raises:
            LexiconError: when the list cannot be read, or the alphabet can write none of it.
        """
        return cls.build(load_names(file, alphabet), alphabet)

    def step(self, node: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return P(symbol | node), the share of the counts, and the nodes it leads to."""
        where, found = find(self.entries, node * self.base + symbols)
        before = np.where(node > 0, self.counts[node - 1], self._total)
        return np.where(found, self.counts[where] / before, 0.0), np.where(found, where + 1, -1)


def load_names(file: Path, alphabet: Alphabet) -> dict[str, int]:
    """Return the names of a list as the alphabet writes them, and nothing: a field may be empty.

    Raises:
        LexiconError: when the list cannot be read, or the alphabet can write none of it.
    """
    listed = read_names(file)
    spelled = _spelled(listed, alphabet)
    names = _summed(spelled, listed.values())
    pairs = zip(listed, spelled, strict=True)
    if lost := [name for name, text in pairs if UNWRITABLE in text]:
        logger.warning(
            "%s: %d of %d names left out, such as %r: the model lacks their characters",
            *(file, len(lost), len(listed), lost[0]),
        )
    if not names:
        raise LexiconError(
            f"{file}: it holds no name that the model can write; its characters are "
            f"{alphabet.characters!r}"
        )
    return {**names, "": max(1, round(names.total() * EMPTY))}


def read_names(file: Path) -> Counter[str]:
    """Return the names of a list with their counts, in order.

    Raises:
        LexiconError: when it cannot be read, naming the line.
    """
    try:
        text = unicodedata.normalize("NFC", file.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text ({error})"
        raise LexiconError(f"{file}: {reason}") from error
    names: Counter[str] = Counter()
    try:
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        cells = next(csv.reader([first], delimiter=delimiter), [])
        header = [cell.strip().lower() for cell in cells]
        if {"name", "count"} <= set(header):
            rows = csv.reader(io.StringIO(text), delimiter=delimiter)
            for name, count in _rows(rows, header):
                names[name] += count
        else:
            lines = text.splitlines()
            if header == ["name"]:  # a table of one column, whose names may have quotation marks
                rows = csv.reader(["", *lines[1:]], delimiter="\0", strict=True)
                lines = ["".join(row) for row in rows]
            names.update(_lines(lines))
    except (ValueError, csv.Error) as error:
        raise LexiconError(
            f"{file}: {error}; give one name a line, or CSV with the columns name,count"
        ) from error
    del names[""]
    return names


def _lines(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines, start=1):
        if not {",", ";", "\t"}.isdisjoint(line):
            raise ValueError(f"line {number} is {line!r}")
    return [" ".join(line.split()) for line in lines]


def _rows(rows: Any, header: list[str]) -> Iterator[tuple[str, int]]:
    """Yield the names and counts of a table that `csv` reads, whose header says where they are."""
    name, count = header.index("name"), header.index("count")
    next(rows)
    for row in rows:
        cut = any(cell.strip() for cell in row[len(header) :])  # at the comma of a name
        if not cut and len(row) > max(name, count) and COUNT.fullmatch(row[count].strip()):
            yield " ".join(row[name].split()), max(int(row[count]), 1)
        elif row:
            raise ValueError(f"line {rows.line_num} is {','.join(row)!r}")


def written(names: Mapping[str, int], alphabet: Alphabet) -> Counter[str]:
    """Return the names as the alphabet writes them, those it cannot write left out.

    >>> dict(written({"Zoé": 2, "ZOE": 1, "佳": 5}, Alphabet("EOZ")))
    {'ZOE': 3}
    """
    return _summed(_spelled(names, alphabet), names.values())


def _summed(spelled: Iterable[str], counts: Iterable[int]) -> Counter[str]:
    """Return the names with their counts added up, those with `UNWRITABLE` left out."""
    sums: Counter[str] = Counter()
    for name, count in zip(spelled, counts, strict=True):
        if UNWRITABLE not in name:
            sums[name] += count
    return sums


def _spelled(names: Mapping[str, int], alphabet: Alphabet) -> list[str]:
    """Return the names as the alphabet writes them, with `UNWRITABLE` where it cannot."""
    if not names:
        return []
    listed = "\n".join(names)
    characters = set(listed) - set(alphabet.characters) - {"\n"}
    return listed.translate({ord(c): _spelling(c, alphabet) for c in characters}).split("\n")


def _spelling(character: str, alphabet: Alphabet) -> str:
    """Return how the alphabet writes a character that it lacks."""
    plain = "".join(c for c in unicodedata.normalize("NFD", character) if c.isalpha())
    spelled = character.translate(LIGATURES)
    for way in (TYPOGRAPHIC.get(character, character), character, plain, spelled):
        for text in (way, nfc(way.upper()), nfc(way.lower())):
            if text and not alphabet.missing(text):
                return text
    return UNWRITABLE


def _tree(symbols: np.ndarray, counts: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries of the tree and their counts, level by level.

    Args:
        symbols: of the names, one after the other, each with the end (S,).
        counts: of the names (N,).
        base: the entries' base; the end is base - 2.
    """
    at = np.flatnonzero(symbols == base - 2)  # (N,)
    at[1:] = at[:-1] + 1
    at[:1] = 0  # where each name begins; below, its symbol on the level
    node = np.zeros(len(at), dtype=np.int64)
    levels, sums, size = [], [], 0
    while len(at):
        keys = node * base + symbols[at]
        order = np.argsort(keys)
        keys, at, counts = keys[order], at[order], counts[order]
        new = np.diff(keys, prepend=-1) != 0
        levels.append(keys[new])
        sums.append(np.add.reduceat(counts, np.flatnonzero(new)))
        node = size + np.cumsum(new)
        size += int(new.sum())
        on = symbols[at] != base - 2
        node, at, counts = node[on], at[on] + 1, counts[on]
    return np.concatenate(levels), np.concatenate(sums)
