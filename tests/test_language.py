"""The language against its definition, written again with strings and dictionaries."""

from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from penname.alphabet import Alphabet
from penname.bigrams import Bigrams
from penname.errors import LexiconError, ModelError
from penname.language import MOST, ORDER, WORDS, Language, build_language
from penname.lexicon import Lexicon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AB = Alphabet("AB")
# Longer than ORDER, prefixes of each other, and of very different counts.
NAMES = {"A": 5, "AB": 1, "ABBA": 90, "ABBABABBA": 2, "BABBABABBAA": 7}
START, END = "<", ">"


@pytest.fixture(scope="module")
def language() -> Language:
    return Language.build(NAMES, AB)


def reference(names: dict[str, int], characters: str) -> Callable[[str], float]:
    """Return P(text), by Witten and Bell's recursion over contexts that are strings."""
    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, count in names.items():
        whole = START + name + END
        for i in range(1, len(whole)):
            for size in range(min(i, ORDER - 1) + 1):
                after[whole[i - size : i]][whole[i]] += count

    def step(context: str, symbol: str) -> float:
        shorter = step(context[1:], symbol) if context else 1 / (len(characters) + 1)
        if not (seen := after[context]):
            return shorter
        return (seen[symbol] + len(seen) * shorter) / (seen.total() + len(seen))

    def probability(text: str) -> float:
        whole = START + text + END
        steps = [step(whole[max(0, i - ORDER + 1) : i], whole[i]) for i in range(1, len(whole))]
        share = names.get(text, 0) / sum(names.values())
        return float((1 - WORDS) * np.prod(steps) + WORDS * share)

    return probability


def texts(alphabet: Alphabet, longest: int) -> list[str]:
    every = (product(alphabet.characters, repeat=length) for length in range(longest + 1))
    return ["".join(text) for length in every for text in length]


def test_log_prob_is_half_words_half_characters(language: Language) -> None:
    probability = reference(NAMES, AB.characters)
    every = [*texts(AB, 7), *NAMES, "ABBABABBAB", "BABBABABBAAA"]
    expected = [np.log(probability(text)) for text in every]
    np.testing.assert_allclose(language.log_prob([AB.encode(t) for t in every]), expected)


def test_probabilities_sum_to_1_after_every_prefix(language: Language) -> None:
    for text in [*texts(AB, 5), "ABBABABBA", "BABBABABBAA"]:
        prefix = language.nothing
        for label in AB.encode(text):
            prefix = language.extend(prefix, np.array([label]))
        symbols = np.array([1, 2, language.end])
        steps = language.extend(prefix.take(np.zeros(3, dtype=int)), symbols)
        assert np.exp(steps.log_prob - prefix.log_prob).sum() == pytest.approx(1)


def test_the_steps_of_many_prefixes_add_up_to_whole_texts(language: Language) -> None:
    every = texts(AB, 4)
    prefixes = language.nothing.take(np.zeros((3, 1), dtype=int))  # (3, M): any shape
    for _ in range(4):
        twice = np.repeat(np.arange(prefixes.node.size), 2).reshape(3, -1)
        prefixes = language.extend(prefixes.take(twice), np.resize([1, 2], twice.shape))
    prefixes = language.extend(prefixes, np.full(prefixes.node.shape, language.end))
    expected = language.log_prob([AB.encode(text) for text in every if len(text) == 4])
    np.testing.assert_allclose(prefixes.log_prob, np.tile(expected, (3, 1)))


def test_a_text_outside_the_list_keeps_a_sensible_probability() -> None:
    letters = Alphabet("AEILMNRST")
    names = {"MARTIN": 50, "MARTINE": 20, "MARTIAL": 5, "ALAIN": 40, "ELISE": 10, "REINE": 3}
    language = Language.build(names, letters)
    listed, near, far = language.log_prob(
        [letters.encode(text) for text in ("MARTIN", "MARTEN", "NTMRAI")]
    )
    assert listed > near > far > 7 * np.log(1 / 1000)  # six letters and the end


def test_labels_of_any_kind_and_no_texts_at_all(language: Language) -> None:
    assert language.log_prob([]).shape == (0,)
    assert language.log_prob([(1, 2)]) == language.log_prob([AB.encode("AB")])


def test_names_that_cannot_be_written_are_left_out() -> None:
    names = NAMES | {"CAB": 1000, "É": 3}
    some = [AB.encode(text) for text in texts(AB, 3)]
    expected = Language.build(NAMES, AB).log_prob(some)
    np.testing.assert_array_equal(Language.build(names, AB).log_prob(some), expected)
    with pytest.raises(LexiconError, match="can write none"):
        Language.build({"CAB": 1}, AB)


def test_one_long_text_takes_the_memory_of_its_own_length() -> None:
    names = {f"{n:b}".replace("0", "O").replace("1", "I"): 1 for n in range(3000)}
    long = "OI" * 10_000
    tracemalloc.start()
    language = Language.build({**names, long: 1}, Alphabet("IO"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # 480 MB when all texts were filled up to the longest
    assert np.exp(language.log_prob([[1]])) > WORDS / 3001


def test_the_largest_alphabet_and_one_too_large() -> None:
    """Of one more, the numbers of two strings of ORDER symbols could be the same."""
    most = "".join(chr(0x4E00 + i) for i in range(MOST))
    last = most[-1] * 9
    alphabet = Alphabet(most)
    language = Language.build({last: 5, most[:3]: 1}, alphabet)
    some = language.log_prob([alphabet.encode(text) for text in (last, most[:3])])
    probability = reference({last: 5, most[:3]: 1}, most)
    assert np.exp(some) == pytest.approx([probability(last), probability(most[:3])])
    assert (MOST + 4) ** ORDER > 2**63 > (MOST + 3) ** ORDER
    with pytest.raises(LexiconError, match=r"at most 1,445 characters, .* has 1,446; train"):
        Language.build({last: 5}, Alphabet(most + "A"))


@pytest.mark.parametrize("size", [2, 200])
def test_what_is_saved_is_loaded(tmp_path: Path, size: int) -> None:
    """With 203 symbols a string of ORDER of them needs 46 bits."""
    alphabet = Alphabet("".join(chr(0x100 + i) for i in range(size)))
    first, last = alphabet.characters[0], alphabet.characters[-1]
    names = {first * 3 + last: 70_000, last * 9: 2, first: 1}
    language = Language.build(names, alphabet)
    language.save(tmp_path / "language.npz")
    loaded = Language.load(tmp_path / "language.npz")
    assert loaded.alphabet == alphabet
    some = [alphabet.encode(text) for text in [*names, first * 4, last + first, ""]]
    np.testing.assert_array_equal(loaded.log_prob(some), language.log_prob(some))
    probability = reference(names, alphabet.characters)
    assert np.exp(loaded.log_prob(some[:1])[0]) == pytest.approx(probability(first * 3 + last))


def test_bigrams_are_saved_and_loaded(tmp_path: Path, language: Language) -> None:
    bigrams = Bigrams.count({"É B a": 70_000, "b, a": 2, "a": 1}, [])
    language = Language.build(NAMES, AB, bigrams)
    language.save(tmp_path / "language.npz")
    loaded = Language.load(tmp_path / "language.npz").bigrams
    assert loaded
    assert loaded.words == bigrams.words == ["a", "b", "é", ","]
    for name in ("counts", "pairs", "pair_counts"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(bigrams, name))
    texts = ["É b", "a", "b a b"]
    np.testing.assert_array_equal(loaded.log_prob(texts), bigrams.log_prob(texts))


def test_bigrams_of_texts_without_pairs_are_saved_and_loaded(tmp_path: Path) -> None:
    build_language(table(tmp_path), AB, tmp_path / "language.npz", [])
    loaded = Language.load(tmp_path / "language.npz")
    assert loaded.bigrams
    np.testing.assert_allclose(
        loaded.log_prob_by_bigrams([(1, 2), (1,), ()]), [*np.log([1 / 96, 5 / 96]), 0]
    )


def test_a_damaged_or_missing_language_is_named(tmp_path: Path, language: Language) -> None:
    file = tmp_path / "language.npz"
    with pytest.raises(ModelError, match=r"language\.npz"):
        Language.load(file)
    language.save(file)
    whole = file.read_bytes()
    middle = len(whole) // 2
    for content in (b"", b"text", whole[:middle], whole[:100] + bytes(40) + whole[140:]):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"language\.npz: .*build the language again"):
            Language.load(file)
    np.savez(file, grams=np.zeros(1))
    with pytest.raises(ModelError, match="alphabet"):
        Language.load(file)


def table(folder: Path) -> Path:
    file = folder / "names.csv"
    file.write_text("name,count\nABBA,80\nA,5\nABBA ,10\nAB,1\nCAB,7\n", "utf-8")
    return file


def test_a_table_is_read_with_its_repeats_added_up(tmp_path: Path) -> None:
    built = build_language(table(tmp_path), AB, tmp_path / "language.npz")
    assert built.bigrams is None
    some = [AB.encode(text) for text in texts(AB, 4)]
    expected = Language.build({"ABBA": 90, "A": 5, "AB": 1, "": 2}, AB).log_prob(some)
    np.testing.assert_array_equal(built.log_prob(some), expected)
    loaded = Language.load(tmp_path / "language.npz")
    np.testing.assert_array_equal(loaded.log_prob(some), expected)


def test_a_strict_language_has_the_words_alone(language: Language) -> None:
    names = {"BA": 3, "BAB": 1}
    strict = language.with_words(Lexicon.build(names, AB), strict=True)
    every = texts(AB, 4)
    expected = [np.log(names[text] / 4) if text in names else -np.inf for text in every]
    np.testing.assert_allclose(strict.log_prob([AB.encode(text) for text in every]), expected)


def test_other_words_go_with_the_same_characters(language: Language) -> None:
    words = Lexicon.build({"BA": 3, "BAB": 1}, AB)
    other = language.with_words(words, strict=False)
    characters = reference(NAMES, AB.characters)
    for text in ("BA", "ABBA", "BBB"):
        p = characters(text) - WORDS * NAMES.get(text, 0) / sum(NAMES.values())
        p += WORDS * {"BA": 0.75}.get(text, 0)
        assert np.exp(other.log_prob([AB.encode(text)])[0]) == pytest.approx(p)
    language.bigrams = Bigrams.count({"B a": 5}, [])
    for strict in (False, True):  # which know little of other words
        assert language.with_words(words, strict=strict).bigrams is None
    uniform = Language.uniform(words)
    for text, share in (("BA", 0.75), ("ABBA", 0)):
        p = WORDS * share + (1 - WORDS) * 3.0 ** -(len(text) + 1)
        assert np.exp(uniform.log_prob([AB.encode(text)])[0]) == pytest.approx(p)
