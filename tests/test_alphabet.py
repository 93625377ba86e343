"""Text to labels and back."""

from __future__ import annotations

import numpy as np
import pytest

from penname.alphabet import BLANK, Alphabet, nfc
from penname.errors import AlphabetError


def test_labels_count_from_one_because_zero_is_the_blank() -> None:
    alphabet = Alphabet("ZA-")
    assert BLANK == 0
    assert alphabet.encode("A-Z").tolist() == [2, 3, 1]
    assert alphabet.encode("A-Z").dtype == np.int32
    assert alphabet.encode("").shape == (0,)
    assert alphabet.classes == 4
    assert len(alphabet) == 3


def test_decode_undoes_encode() -> None:
    alphabet = Alphabet("ABCÉ' ")
    for text in ("", "ABBA", "CÉ' A"):
        assert alphabet.decode(alphabet.encode(text)) == text


def test_decomposed_text_is_composed_first() -> None:
    alphabet = Alphabet("É")
    assert nfc("E\u0301") == "É"
    assert alphabet.encode("E\u0301").tolist() == [1]
    assert alphabet.missing("E\u0301") == ""


def test_nfc_leaves_single_spaces() -> None:
    assert nfc("  LE\u00a0 \tGALL\n") == "LE GALL"


def test_missing_characters_are_named_once_and_in_order() -> None:
    alphabet = Alphabet("AB")
    assert alphabet.missing("AXBYX") == "XY"
    with pytest.raises(AlphabetError, match="'AXBYX' has 'XY'"):
        alphabet.encode("AXBYX")


def test_an_alphabet_of_texts_is_in_code_point_order() -> None:
    assert Alphabet.of(["BA", "E\u0301-", "B A"]).characters == " -ABÉ"


def test_an_alphabet_that_a_person_gives_may_be_decomposed() -> None:
    assert Alphabet.given("e\u0301Z") == Alphabet("éZ")


def test_merging_keeps_every_trained_label() -> None:
    ours, theirs = Alphabet("BAC"), Alphabet("CDA-")
    merged = ours.merge(theirs)
    assert merged.characters == "BACD-"
    assert merged.encode("CAB").tolist() == ours.encode("CAB").tolist()
    assert ours.merge(ours) == ours


@pytest.mark.parametrize(
    ("characters", "message"),
    [("", "empty"), ("ABCB", r"\['B'\]"), ("A\n", "texts are NFC"), ("\u212aA", "texts are NFC")],
)
def test_what_is_no_alphabet_is_refused(characters: str, message: str) -> None:
    with pytest.raises(AlphabetError, match=message):
        Alphabet(characters)
