"""The language network: learned, written, mixed into a language, and read with."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from test_export import ALPHABET, line, trained

from penname.alphabet import Alphabet
from penname.beam import DecodingOptions
from penname.cli import main
from penname.errors import ModelError, OptionError, TrainingError
from penname.language import NETWORK, WORDS, Language
from penname.language_network import LanguageNetwork
from penname.lexicon import Lexicon
from penname.model_folder import ModelFolder
from penname.recognizer import Recognizer
from penname.training import language_network as training
from penname.training.export import export_model
from penname.training.language_network import FILE, CharacterLSTM, Step, Texts, train_language
from penname.training.language_options import LanguageOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AB = Alphabet("AB C")
LISTED = {f"{a * 3} {b * 4}": 5 for a, b in product("ABC", "ABC")}
OPTIONS = LanguageOptions(
    steps=300, symbols=1024, cells=24, learning_rate=0.02, precision="fp32", device="cpu"
)


def table(folder: Path, names: dict[str, int] = LISTED) -> Path:
    file = folder / "texts.csv"
    rows = "".join(f"{name},{count}\n" for name, count in names.items())
    file.write_text("name,count\n" + rows, "utf-8")
    return file


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    assert train_language(table(folder), [], AB, folder / "run", OPTIONS)
    return folder / "run" / FILE


@pytest.fixture
def network(learned: Path) -> LanguageNetwork:
    return LanguageNetwork(learned, AB)


def symbols(texts: list[str], length: int = 0) -> np.ndarray:
    """Return start, labels and end of each text, filled up with 0."""
    wide = max(length, *(len(text) + 2 for text in texts))
    rows = np.zeros((len(texts), wide), dtype=np.int64)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text) + 2] = [len(AB) + 2, *AB.encode(text), len(AB) + 1]
    return rows


def log_prob(network: LanguageNetwork, text: str) -> float:
    return float(network.steps(symbols([text])).sum())


def test_it_has_learned_what_the_texts_are_like(network: LanguageNetwork) -> None:
    """All texts are three of one letter and four of another, which no six characters tell."""
    assert log_prob(network, "BBB CCCC") > np.log(1 / 9) - 1
    for unlike in ("BBB CCC", "BBBB CCC", "BBB CCCB", "BB CCCC", "CBCB BBC"):
        assert log_prob(network, unlike) < log_prob(network, "BBB CCCC") - 3


def test_probabilities_sum_to_1_after_every_prefix(network: LanguageNetwork) -> None:
    for prefix in ("", "A", "AAA", "AAA B", "C C"):
        rows = np.repeat(symbols([prefix]), len(AB) + 2, axis=0)
        rows[:, len(prefix) + 1] = range(len(AB) + 2)
        rows[0, len(prefix) + 1] = 1  # a text has no 0 before its end
        p = np.exp(network.steps(rows)[:, len(prefix)])
        assert p[1:].sum() == pytest.approx(1)


def test_texts_are_worth_the_same_alone_and_together(network: LanguageNetwork) -> None:
    texts = ["".join(text) for n in range(5) for text in product("ABC", repeat=n)]
    together = network.steps(symbols(texts, 12))
    for text, row in zip(texts, together, strict=True):
        alone = network.steps(symbols([text]))[0]
        np.testing.assert_allclose(row[: len(text) + 1], alone, atol=1e-5)
    assert network.steps(symbols(["A"])[:0]).shape == (0, 2)


def test_beginnings_are_computed_once(
    network: LanguageNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    step = LanguageNetwork._step

    def counted(self: LanguageNetwork, last: np.ndarray, *state: np.ndarray) -> list[np.ndarray]:
        rows.append(len(last))
        return step(self, last, *state)

    monkeypatch.setattr(LanguageNetwork, "_step", counted)
    network.steps(symbols(["AAB", "AAC", "AAB", "A"]))
    assert rows == [1, 1, 1, 2]  # start, A, AA, and then B and C


def test_the_file_computes_what_the_network_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    lstm = CharacterLSTM(len(AB) + 2, replace(OPTIONS, cells=40)).eval()
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.mul_(3)  # fresh weights make all symbols nearly alike
    training.write_language(lstm, AB, tmp_path / FILE)
    rows = symbols(["AAB CCAB", "C", "BA AB"])
    with torch.no_grad():
        logits = lstm(torch.from_numpy(rows[:, :-1]))[..., 1:]
    expected = np.pad(torch.log_softmax(logits, -1).numpy(), ((0, 0), (0, 0), (1, 0)))
    chosen = np.take_along_axis(expected, rows[:, 1:, None], 2)[..., 0]
    found = LanguageNetwork(tmp_path / FILE, AB).steps(rows)
    assert np.ptp(chosen) > 1
    np.testing.assert_allclose(found[rows[:, 1:] != 0], chosen[rows[:, 1:] != 0], atol=0.02)


def test_a_file_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstm = CharacterLSTM(len(AB) + 2, OPTIONS)
    given = Step(lstm)
    given.bias += torch.arange(len(given.bias))
    monkeypatch.setattr(training, "_check_parity", _with(given, training._check_parity))
    with pytest.raises(TrainingError, match=r"language\.onnx: torch and ONNX Runtime differ by"):
        training.write_language(lstm, AB, tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


def _with(step: Step, check: Callable[..., None]) -> Callable[..., None]:
    return lambda _step, written: check(step, written)


def test_a_language_mixes_it_with_its_characters_and_leaves_words_alone(
    learned: Path, network: LanguageNetwork, tmp_path: Path
) -> None:
    names = {"AAA BBBB": 3, "AB": 1}
    plain = Language.build(names, AB)
    plain.save(tmp_path / "language.npz")
    language = Language.load(tmp_path / "language.npz", learned)
    assert Language.load(tmp_path / "language.npz").network is None
    texts = ["AAA BBBB", "AB", "", "CCC AAAA", "B", "AAA BBB"]
    labels = [AB.encode(text) for text in texts]
    for text, given in zip(texts, language.log_prob(labels), strict=True):
        words = names.get(text, 0) / 4
        prefix, grams = plain.nothing, []
        for symbol in [*AB.encode(text), plain.end]:
            after = plain.extend(prefix, np.array([symbol]))
            ratio = after.log_prob - prefix.log_prob
            ratio += np.log1p(prefix.odds) - np.log1p(after.odds)  # without the words
            grams.append(float(np.exp(ratio[0])))
            prefix = after
        steps = np.exp(network.steps(symbols([text]))[0])
        characters = np.prod((1 - NETWORK) * np.array(grams) + NETWORK * steps)
        assert np.exp(given) == pytest.approx(WORDS * words + (1 - WORDS) * characters, rel=1e-4)
    near, far = language.log_prob([AB.encode(text) for text in ("CCC AAAA", "CAC ACAA")])
    assert near - far > np.subtract(*plain.log_prob([AB.encode("CCC AAAA"), AB.encode("CAC ACAA")]))


def test_other_words_keep_it_and_a_strict_list_does_without(learned: Path, tmp_path: Path) -> None:
    Language.build(LISTED, AB).save(tmp_path / "language.npz")
    language = Language.load(tmp_path / "language.npz", learned)
    words = Lexicon.build({"AB": 1}, AB)
    assert language.with_words(words, strict=False).network is language.network
    strict = language.with_words(words, strict=True)
    labels = [AB.encode("AB"), AB.encode("AAA BBBB")]
    np.testing.assert_array_equal(strict.log_prob(labels), [0, -np.inf])


def test_a_damaged_file_or_one_of_another_alphabet_is_named(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"language\.onnx: its alphabet 'AB C' is not .*'ABC'"):
        LanguageNetwork(learned, Alphabet("ABC")).check()
    broken = tmp_path / FILE
    broken.write_bytes(learned.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"language\.onnx: .*export the model again"):
        LanguageNetwork(broken, AB).steps(symbols(["A"]))


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EVERY", 3)
    options = replace(OPTIONS, steps=7, dropout=0.2)
    listed = table(tmp_path)
    text = tmp_path / "novel.txt"
    text.write_text("AB BA AAA BBBB\n" * 9, "utf-8")
    assert train_language(listed, [text], AB, tmp_path / "whole", options)
    learn, steps = training._learn, iter(range(100))

    def killed(*given: object) -> None:
        if next(steps) == 5:
            raise MemoryError
        learn(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_learn", killed)
    with pytest.raises(MemoryError):
        train_language(listed, [text], AB, tmp_path / "run", options)
    with pytest.raises(TrainingError, match="--resume"):
        train_language(listed, [text], AB, tmp_path / "run", options)
    other = replace(options, seed=2)
    with pytest.raises(TrainingError, match="its options are not these"):
        train_language(listed, [text], AB, tmp_path / "run", other, resume=True)
    with pytest.raises(TrainingError, match="its words are not these"):
        train_language(listed, [], AB, tmp_path / "run", options, resume=True)
    assert not (tmp_path / "run" / FILE).exists()
    assert train_language(listed, [text], AB, tmp_path / "run", options, resume=True)
    one, two = ((tmp_path / run / FILE).read_bytes() for run in ("whole", "run"))
    assert one == two
    assert next(steps) == 10  # five, one that was killed, and four from step 3 on


def test_a_run_that_is_told_to_stop_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []
    learn = training._learn

    def told(*given: object) -> None:
        learn(*given)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)
        stopped.append(1)

    monkeypatch.setattr(training, "_learn", told)
    assert not train_language(table(tmp_path), [], AB, tmp_path / "run", OPTIONS)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-00000001"]
    assert stopped == [1]


def test_a_loss_that_is_not_finite_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "score", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match="no finite loss at step 300; lower --learning-rate"):
        train_language(table(tmp_path), [], AB, tmp_path / "run", OPTIONS)
    assert not (tmp_path / "run").exists()


def test_running_text_is_cut_at_words(tmp_path: Path) -> None:
    text = tmp_path / "novel.txt"
    text.write_text("AB  CCC A\n\nBBBB Aé CA\n" + "A" * 70 + "\n", "utf-8")
    texts = Texts(table(tmp_path), [text], AB, replace(OPTIONS, listed=0))
    seen = set()
    for step in range(60):
        for row in texts.batch(step):
            assert row[0] == len(AB) + 2
            labels = row[1:][row[1:] != 0]
            if len(labels):
                assert labels[-1] == len(AB) + 1
                seen.add(AB.decode(labels[:-1].tolist()))
    assert seen == {"AB CCC A", "CCC A", "A", "BBBB", "CA"}  # whole words, none with é


def test_a_batch_holds_whole_words_as_long_as_it_may(tmp_path: Path) -> None:
    text = tmp_path / "novel.txt"
    text.write_text(" ".join(["ABC"] * 100) + "\n", "utf-8")
    texts = Texts(table(tmp_path), [text], AB, OPTIONS)
    rows = texts._stretches(texts.begins[:5], 16)
    assert rows.shape == (5, 17)
    assert {AB.decode(row[1:][row[1:] != 0][:-1].tolist()) for row in rows} == {"ABC ABC ABC ABC"}


def test_the_texts_that_are_scored_are_never_learned(tmp_path: Path) -> None:
    names = {f"{a}{b}{c}": 1 for a, b, c in product("ABC", repeat=3)} | LISTED
    texts = Texts(table(tmp_path, names), [], AB, OPTIONS)
    assert len(texts.left_out) == 1  # of 36, one in fifty
    drawn = {tuple(row[1:][row[1:] != 0][:-1]) for step in range(40) for row in texts.batch(step)}
    assert len(drawn) == 35
    assert tuple(texts.left_out[0]) not in drawn


def test_texts_are_drawn_by_the_root_of_their_counts(tmp_path: Path) -> None:
    texts = Texts(table(tmp_path, {"CCC": 1, "AAA": 900, "BBB": 100}), [], AB, OPTIONS)
    drawn = Counter(int(row[1]) for step in range(40) for row in texts.batch(step))
    assert drawn.keys() == {1, 2}  # CCC is scored
    assert drawn[1] / drawn[2] == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize("listed", [0.0, 0.25, 0.5])
def test_more_and_more_batches_are_of_the_list(tmp_path: Path, listed: float) -> None:
    text = tmp_path / "novel.txt"
    text.write_text("B B B B B B B B B\n" * 9, "utf-8")
    options = replace(OPTIONS, listed=listed, steps=400, symbols=64)
    texts = Texts(table(tmp_path), [text], AB, options)
    rows = [texts.batch(step)[0] for step in range(400)]
    of_list = [row[1] == row[2] for row in rows]  # AAA BBBB, and not B B B
    first, last = np.mean(of_list[:200]), np.mean(of_list[200:])
    assert (first, last) == pytest.approx((listed / 2, 3 * listed / 2), abs=0.1)


def test_bad_input_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "novel.txt"
    binary.write_bytes(b"caf\xe9")
    with pytest.raises(TrainingError, match=r"novel\.txt: .*save it as UTF-8"):
        train_language(table(tmp_path), [binary], AB, tmp_path / "run", OPTIONS)
    with pytest.raises(TrainingError, match="too few texts"):
        train_language(table(tmp_path, {"A": 1}), [], AB, tmp_path / "run", OPTIONS)
    for wrong in ({"steps": 0}, {"dropout": 1.0}, {"listed": 1.1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            LanguageOptions(**wrong)


def test_a_model_reads_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, "names")
    names = tmp_path / "names.csv"
    names.write_text("name,count\nAB,1\nBA,3\nABBA,2\n", "utf-8")
    command = ["train-language", "--language", str(names), "--alphabet", ALPHABET.characters]
    command += ["--out", str(tmp_path / "language"), "--steps", "3", "--cells", "16"]
    assert main([*command, "--device", "cpu"]) == 0
    file = tmp_path / "language" / FILE
    assert capsys.readouterr().out == f"{file}\n"
    with pytest.raises(OptionError, match="beside a --language"):
        export_model(tmp_path / "run", tmp_path / "model", "mine", language_network=file)
    options = DecodingOptions(look_again=1.0, certain=1.0)
    place = tmp_path / "model"
    export = partial(
        export_model, tmp_path / "run", place, "mine", language=names, decoding=options
    )
    folder = export(language_network=file)
    assert folder.language_onnx.read_bytes() == file.read_bytes()
    lines = [line(i, run.spec) for i in range(6)]
    with_network = [p.confidence for p in Recognizer.load(folder.path).read_lines(lines)]
    folder.language_onnx.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"language\.onnx is not the file"):
        ModelFolder.load(folder.path)
    export()
    assert not folder.language_onnx.exists()
    without = [p.confidence for p in Recognizer.load(folder.path).read_lines(lines)]
    assert with_network != without
