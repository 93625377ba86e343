"""Word bigrams: counted, weighed, and worth what the formula says."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from penname import bigrams as module
from penname.bigrams import LEAST_PAIR, LEAST_WORD, LISTED, PRIOR, UNKNOWN, Bigrams
from penname.errors import LexiconError

if TYPE_CHECKING:
    from pathlib import Path

LISTED_TEXTS = {"Le chat dort.": 2, "le 3 chien": 1, "": 4, "1914": 1}
WORDS = {  # each text as words, by hand
    "Le chat dort.": ["le", "chat", "dort", "."],
    "le 3 chien": ["le", "chien"],
    "": [],
    "1914": [],
}
NOVEL = "Le chat, l’Été!\n" * 4 + "Le chien\n" * 7 + "un rat\n" * 2
NOVEL_WORDS = (
    [["le", "chat", ",", "l", "été", "!"]] * 4 + [["le", "chien"]] * 7 + [["un", "rat"]] * 2
)


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    file = tmp_path / "novel.txt"
    file.write_text(NOVEL, "utf-8")
    return file


def by_hand() -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return the counts that the bigrams of `LISTED_TEXTS` and `NOVEL` should have."""
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for line in NOVEL_WORDS:
        words.update(line)
        pairs.update(pairwise(line))
    times = round(LISTED / (1 - LISTED) * words.total() / 10)  # ten listed words
    words = Counter({word: n for word, n in words.items() if n >= LEAST_WORD})
    pairs = Counter({pair: n for pair, n in pairs.items() if n >= LEAST_PAIR})
    for text, count in LISTED_TEXTS.items():
        for word in WORDS[text]:
            words[word] += times * count
        for pair in pairwise(WORDS[text]):
            pairs[pair] += times * count
    return words, pairs


def counted(bigrams: Bigrams) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    words, size = bigrams.words, len(bigrams.words)
    pairs = [(words[pair // size], words[pair % size]) for pair in bigrams.pairs.tolist()]
    return (
        dict(zip(words, bigrams.counts.tolist(), strict=True)),
        dict(zip(pairs, bigrams.pair_counts.tolist(), strict=True)),
    )


def test_words_and_pairs_are_counted(novel: Path) -> None:
    words, pairs = by_hand()
    assert "rat" not in words, "the test needs a rare word"
    assert ("chat", ",") not in pairs, "the test needs a rare pair"
    bigrams = Bigrams.count(LISTED_TEXTS, [novel])
    assert counted(bigrams) == (words, pairs)
    assert bigrams.counts.tolist() == sorted(words.values(), reverse=True)
    assert (np.diff(bigrams.pairs) > 0).all()


def test_listed_texts_are_the_share_of_all_that_they_should_be(tmp_path: Path) -> None:
    file = tmp_path / "novel.txt"
    file.write_text("chien " * 80_000, "utf-8")
    bigrams = Bigrams.count(LISTED_TEXTS, [file])
    words, _ = counted(bigrams)
    total = sum(words.values())
    assert (total - 80_000) / total == pytest.approx(LISTED, rel=0.01)


def test_lines_are_counted_alike_in_parts_and_in_files(
    novel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = counted(Bigrams.count(LISTED_TEXTS, [novel]))
    files = [tmp_path / "1.txt", tmp_path / "2.txt"]
    lines = NOVEL.splitlines(keepends=True)
    for file, part in zip(files, (lines[:6], lines[6:]), strict=True):
        file.write_text("".join(part), "utf-8")
    monkeypatch.setattr(module, "LINES", 2)
    assert counted(Bigrams.count(LISTED_TEXTS, files)) == expected


def test_a_text_is_worth_what_the_formula_says(novel: Path) -> None:
    words, pairs = by_hand()

    def log_prob(text: list[str]) -> float:
        sum_of_logs, before = 0.0, ""
        for word in text:
            alone = words[word] / words.total() if word in words else UNKNOWN
            after = sum(n for (first, _), n in pairs.items() if first == before)
            sum_of_logs += math.log((pairs[before, word] + PRIOR * alone) / (after + PRIOR))
            before = word
        return sum_of_logs

    texts = {
        "Le chat dort.": ["le", "chat", "dort", "."],
        "": [],
        "LE CHAT": ["le", "chat"],
        "chien le 14 zèbre chat": ["chien", "le", "zèbre", "chat"],
        "zèbre zèbre": ["zèbre", "zèbre"],
        "1914 – 18": [],
        "dort": ["dort"],
    }
    bigrams = Bigrams.count(LISTED_TEXTS, [novel])
    found = bigrams.log_prob([*texts])
    np.testing.assert_allclose(found, [log_prob(words) for words in texts.values()])
    alone = [bigrams.log_prob([text])[0] for text in texts]
    np.testing.assert_allclose(found, alone)
    assert bigrams.log_prob([]).shape == (0,)


def test_what_may_follow_a_word_sums_to_1(novel: Path) -> None:
    bigrams = Bigrams.count(LISTED_TEXTS, [novel])
    for before in ["", *bigrams.words, "zèbre"]:
        (first,) = bigrams.log_prob([before])
        after = bigrams.log_prob([f"{before} {word}" for word in bigrams.words])
        assert np.exp(after - first).sum() == pytest.approx(1)


def test_single_words_have_no_pairs() -> None:
    bigrams = Bigrams.count({"chat": 3, "chien": 1}, [])
    assert not len(bigrams.pairs)
    np.testing.assert_allclose(
        bigrams.log_prob(["chat", "chien chat"]), np.log([3 / 4, 1 / 4 * 3 / 4])
    )


def test_bad_input_is_named(tmp_path: Path) -> None:
    file = tmp_path / "novel.txt"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(LexiconError, match=r"novel\.txt: .*save it as UTF-8"):
        Bigrams.count(LISTED_TEXTS, [file])
    with pytest.raises(LexiconError, match=r"none\.txt: No such file"):
        Bigrams.count(LISTED_TEXTS, [tmp_path / "none.txt"])
    with pytest.raises(LexiconError, match="no word"):
        Bigrams.count({"1914": 3, "": 1}, [])


def test_running_text_may_be_decomposed(tmp_path: Path) -> None:
    (file := tmp_path / "novel.txt").write_text("Zoe\u0301\n" * 5, "utf-8")
    assert set(Bigrams.count({"a": 1}, [file]).words) == {"a", "zoé"}
