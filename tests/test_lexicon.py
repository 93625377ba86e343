"""The prefix tree against a dictionary of prefixes, and how lists of names are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from penname.alphabet import Alphabet
from penname.errors import LexiconError
from penname.lexicon import Lexicon, load_names, read_names, written

if TYPE_CHECKING:
    from pathlib import Path

CBA = Alphabet("CBA ")  # labels are not in the order of the characters
NAMES = {"A": 5, "BAB": 2, "AB": 1, "ABBA": 90, "B A": 4, "ABC": 7}


def below(prefix: str) -> int:
    """Return the count of all names that begin so; `>` ends a name."""
    return sum(count for name, count in NAMES.items() if f"{name}>".startswith(prefix))


def test_every_step_is_the_share_of_the_counts() -> None:
    lexicon = Lexicon.build(NAMES, CBA)
    nodes = {"": 0}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        symbols = np.arange(1, lexicon.end + 1)
        shares, after = lexicon.step(np.full(len(symbols), nodes[prefix]), symbols)
        for symbol, share, there in zip(CBA.characters + ">", shares, after, strict=True):
            assert share == pytest.approx(below(prefix + symbol) / below(prefix))
            assert (there == -1) == (below(prefix + symbol) == 0)
            if there != -1 and symbol != ">":
                nodes[prefix + symbol] = int(there)
                waiting.append(prefix + symbol)
    assert set(nodes) == {n[:i] for n in NAMES for i in range(len(n) + 1)}
    assert len(set(nodes.values())) == len(nodes)
    assert len(lexicon.entries) == len(nodes) - 1 + len(NAMES)


def test_what_no_name_begins_with_leads_nowhere() -> None:
    lexicon = Lexicon.build(NAMES, CBA)
    share, node = lexicon.step(np.array([-1, -1]), np.array([1, lexicon.end]))
    assert share.tolist() == [0, 0]
    assert node.tolist() == [-1, -1]


def test_the_order_of_the_names_does_not_matter() -> None:
    one, other = (
        Lexicon.build(dict(order), CBA) for order in (NAMES.items(), [*NAMES.items()][::-1])
    )
    np.testing.assert_array_equal(one.entries, other.entries)
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize(
    "content",
    [
        "name,count\nZOE,3\nANNE  MARIE ,2\n",
        "\ufeffname,count\r\nZOE,1\r\nANNE MARIE,2\r\n\r\nZOE,2\r\n",
        'school,count,name\nX,2,"ANNE MARIE"\nY,3,ZOE\n',
        "Name;Count\nZOE;3\nANNE MARIE;2\n",
        "name\nZOE\nANNE MARIE\nZOE\nZOE\nANNE MARIE\n",
        'name\n"ZOE"\n"ANNE MARIE"\n"ZOE"\nZOE\nANNE MARIE\n',
        "name,count,\nZOE,3,\nANNE MARIE,2,\n",
        "ZOE\nANNE MARIE\nANNE\u00a0MARIE\n\n ZOE\nZOE",
    ],
)
def test_a_list_is_text_or_a_table(tmp_path: Path, content: str) -> None:
    file = tmp_path / "names"
    file.write_bytes(content.encode())
    assert dict(read_names(file)) == {"ZOE": 3, "ANNE MARIE": 2}


def test_texts_are_nfc_and_a_count_is_at_least_1(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("name,count\nZOE\u0301,0\n", "utf-8")
    assert dict(read_names(file)) == {"ZO\u00c9": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"text,count\nA,1\n", "line 1 is 'text,count'"),
        (b"name,count\nA,1\nB,many\n", "line 3 is 'B,many'"),
        (b"name,count\nA\n", "line 2 is 'A'"),
        (b"count,name\n3,LAURE, ANNE\n", "line 2 is '3,LAURE, ANNE'"),
        (b"name\nA\nX,Y\n", "line 3 is 'X,Y'"),
        (b'name\n"A\nB\n', "unexpected end of data"),
        (b"A\nB,2\n", "line 2 is 'B,2'"),
        (b"name,count\nA,99999999999999999999\n", "line 2 is 'A,9{20}'"),
        (b"A" * 140_000, "field larger than field limit"),
        (b"A\nB;2\n", "line 2 is 'B;2'"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "names.csv"
    file.write_bytes(content)
    with pytest.raises(LexiconError, match=rf"names\.csv: {reason}"):
        read_names(file)


def test_a_missing_list_and_one_without_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(LexiconError, match=r"gone\.txt: No such file"):
        Lexicon.load(tmp_path / "gone.txt", CBA)
    file = tmp_path / "names.txt"
    for content in ("DUPONT\n", "", "\n\n", "name,count\n"):
        file.write_text(content, "utf-8")
        with pytest.raises(LexiconError, match=r"names\.txt: it holds no name .* 'CBA '"):
            Lexicon.load(file, CBA)


def test_names_that_are_left_out_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "names.txt"
    file.write_text("CAB\nDUPONT\n\u4f73\n", "utf-8")
    assert set(load_names(file, CBA)) == {"CAB", ""}
    assert "names.txt: 2 of 3 names left out, such as 'DUPONT'" in caplog.text
    caplog.clear()
    file.write_text("cab\n", "utf-8")
    assert set(load_names(file, CBA)) == {"CAB", ""}
    assert caplog.text == ""


def test_a_lexicon_knows_empty_fields(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("name,count\nA,60\nAB,40\n", "utf-8")
    lexicon = Lexicon.load(file, CBA)
    share, node = lexicon.step(np.zeros(1, int), np.array([lexicon.end]))
    assert node[0] > 0
    assert share[0] == pytest.approx(2 / 102)


def test_names_become_what_the_alphabet_can_write() -> None:
    capitals = Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ -'")
    listed = {"Zoé": 2, "ZOE": 1, "D’Arc": 1, "Anne–Lou": 1, "Œdipe": 1, "Weiß": 1, "X2": 1}
    assert written(listed, capitals) == {
        "ZOE": 3, "D'ARC": 1, "ANNE-LOU": 1, "OEDIPE": 1, "WEISS": 1
    }  # fmt: skip


def test_what_the_alphabet_has_stays_as_it_is() -> None:
    both = Alphabet("ZOEzoeé’ ")
    listed = {"Zoé": 1, "zoe": 1, "Zo’e": 1, "ZO-E": 1, "ZÔE": 1}
    assert written(listed, both) == {"Zoé": 1, "zoe": 1, "Zo’e": 1, "ZOE": 1}
    assert written({"ZOE": 1, "ÉO": 2}, Alphabet("zoe")) == {"zoe": 1, "eo": 2}


def test_a_spreadsheet_may_put_spaces_after_commas(tmp_path: Path) -> None:
    (file := tmp_path / "names.csv").write_text("name, count\nZOE, 3\n")
    assert dict(read_names(file)) == {"ZOE": 3}
