"""Synthetic crops, from a data folder small enough to be made here."""

from __future__ import annotations

import csv
import io
import unicodedata
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from penname.cli import main
from penname.ctc import frames_needed
from penname.errors import GroundTruthError, ImageError, OptionError
from penname.ground_truth.pack_folder import Pack
from penname.line_image import ImageSpec, line_image
from penname.options import from_json, to_json
from penname.synthesis import (
    Kit,
    SynthOptions,
    contact_sheet,
    generate,
    look_names,
    render,
    synthesise,
)
from penname.synthesis.corpus import LATIN, Corpus
from penname.synthesis.damage import RATES, Damage, Spot, damaged
from penname.synthesis.fonts import WANTED, Fonts
from penname.synthesis.glyphs import Glyphs
from penname.synthesis.ink import (
    Hand,
    base_row,
    canvas_height,
    places,
    stamped,
    warped,
    with_thickness,
)
from penname.synthesis.look_names import Frame, place
from penname.synthesis.marks import marks_of, spelled, writable
from penname.synthesis.paper import Sheet
from penname.synthesis.strokes import Strokes, Words, _leaned
from penname.synthesis.texts import LONGEST, NAMES, Texts, as_written

renders = import_module("penname.synthesis.render")  # the package has a function of that name
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RECORDED = CAPITALS + CAPITALS.lower() + "0123456789"
SOURCES = ("fonts", "glyphs", "strokes", "words")
LISTED = ["THOMAS", "LEA", "JEAN-LUC", "DI PASQUALE", "N'DIAYE", "ZOE", "MAXIMILIEN"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder: Pillow's own font, drawn glyphs, triangles as pen strokes."""
    folder = tmp_path_factory.mktemp("data")
    with (folder / "names_frequency.csv").open("w", newline="") as stream:
        rows = [(name, 100 // (i + 1)) for i, name in enumerate(LISTED)]
        csv.writer(stream).writerows([("name", "count"), *rows])
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert isinstance(font.path, io.BytesIO)
    with zipfile.ZipFile(folder / "handwriting_fonts.zip", "w") as archive:
        archive.writestr("fonts/plain.ttf", font.path.getvalue())
    glyphs = [_glyph(c, font) for c in RECORDED]
    codes = np.array([ord(c) for c in RECORDED], np.uint8)
    np.savez(folder / "emnist_characters.npz", images=np.stack(glyphs), ascii=codes)
    triangle = [[0, 200, 60, 0, 120, 200], [30, 120, 90, 120]]
    _write_strokes(folder / "unipen_chars_strokes.parquet", [(c, triangle) for c in RECORDED])
    words = [("Bonjour", triangle), ("ICI", triangle), ("a1", triangle)]
    _write_strokes(folder / "unipen_words_strokes.parquet", words)
    return folder


def _glyph(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    picture = Image.new("L", (28, 28))
    ImageDraw.Draw(picture).text((6, 22), character, font=font, fill=255, anchor="ls")
    return np.asarray(picture)


def _write_strokes(path: Path, rows: list[tuple[str, list[list[int]]]]) -> None:
    _of_writers(path, [(text, "w", strokes) for text, strokes in rows])


def _of_writers(path: Path, rows: list[tuple[str, str, list[list[int]]]]) -> Path:
    texts, writers, strokes = zip(*rows, strict=True)
    points = pa.array(strokes, pa.list_(pa.list_(pa.int16())))
    pq.write_table(pa.table({"text": texts, "writer": writers, "strokes": points}), path)
    return path


def _only(source: str, **values: object) -> SynthOptions:
    return from_json(SynthOptions, {**{name: float(name == source) for name in SOURCES}, **values})


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_draws_dark_ink_and_a_text_of_the_alphabet(data: Path, source: str) -> None:
    options = _only(source, look="plain")
    kit = Kit(data)
    for i in range(20):
        grey, text, made = render(None, np.random.default_rng(i), kit, options)
        assert made == source
        assert text
        assert not NAMES.missing(text)
        assert grey.dtype == np.uint8
        # 4 pixels a letter is a third of the thinnest letter there is, 30 % is a blot
        assert 4 * len(text.replace(" ", "")) < np.count_nonzero(grey < 100) < 0.3 * grey.size
        assert np.median(grey) > 245


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(data: Path) -> None:
    kit, options = Kit(data), SynthOptions()
    first = render(None, np.random.default_rng([1, 5]), kit, options)
    again = render(None, np.random.default_rng([1, 5]), Kit(data), options)
    other = render(None, np.random.default_rng([2, 5]), kit, options)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1:] == again[1:]
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()


def test_a_pack_does_not_depend_on_the_number_of_workers(data: Path, tmp_path: Path) -> None:
    # 300 pictures are two chunks, so that two workers can finish in either order
    done: list[tuple[int, int]] = []
    for workers in (1, 2):
        options = SynthOptions(lines=300, workers=workers, validation=0.2)
        out = tmp_path / str(workers)
        made = synthesise(out, options, data, progress=lambda *at: done.append(at))
        assert made == 300
    one, two = Pack.open(tmp_path / "1"), Pack.open(tmp_path / "2")
    assert done == [(256, 300), (300, 300)] * 2
    assert (tmp_path / "1/pixels.bin").read_bytes() == (tmp_path / "2/pixels.bin").read_bytes()
    assert one.texts == two.texts
    assert one.splits == two.splits
    assert 30 < one.splits.count("validation") < 90
    assert set(one.sources) == set(SOURCES)


def test_a_pack_holds_line_images_of_its_spec(data: Path, tmp_path: Path) -> None:
    spec = ImageSpec(height=32, max_width=256)
    synthesise(tmp_path / "pack", SynthOptions(lines=5, seed=9), data, spec)
    pack = Pack.open(tmp_path / "pack")
    grey, text, source = render(None, np.random.default_rng([9, 3]), Kit(data), SynthOptions())
    assert np.array_equal(pack.image(3), line_image(grey, spec))
    assert (pack.texts[3], pack.sources[3], pack.splits[3]) == (text, source, "train")
    assert pack.alphabet == NAMES


def test_every_text_fits_the_frames_of_its_line_image(data: Path) -> None:
    kit, spec = Kit(data), ImageSpec()
    for i in range(200):
        grey, text, _ = render(None, np.random.default_rng(i), kit, SynthOptions())
        frames = line_image(grey, spec).shape[1] / 4
        assert frames >= frames_needed(NAMES.encode(text)), text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of lines; the last has a sign that no ink draws and must never be picked."""
    file = tmp_path_factory.mktemp("text") / "corpus.txt"
    file.write_text("Où est l’été ?\nGroßröhrsdorf, 12 rue du Bœuf\nM^r Ω\n", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("source", SOURCES)
def test_lines_are_grey_and_say_what_the_corpus_says(data: Path, corpus: str, source: str) -> None:
    options = _only(source, look="lines", text=corpus)
    kit = Kit(data, text=corpus)
    greys = 0
    for i in range(20):
        grey, text, made = render(None, np.random.default_rng(i), kit, options)
        assert made == source
        assert text
        assert not LATIN.missing(text)
        assert "Ω" not in text
        frames = line_image(grey, ImageSpec(max_width=2000, trim="sides")).shape[1] / 4
        assert frames >= frames_needed(LATIN.encode(text)), text
        assert np.median(grey) - grey.min() > 25
        greys += len(np.unique(grey)) > 40
    assert greys > 10


def test_a_line_does_not_depend_on_the_lines_made_before_it(data: Path, corpus: str) -> None:
    # workers make other lines first, and what a kit keeps must not come from their generators
    options = SynthOptions(look="lines", text=corpus)
    used, fresh = Kit(data, text=corpus), Kit(data, text=corpus)
    made = [render(None, np.random.default_rng([3, i]), used, options) for i in range(12)]
    assert {source for _, _, source in made} >= {"fonts", "strokes", "words"}
    for i in (11, 10, 9, 8):
        again = render(None, np.random.default_rng([3, i]), fresh, options)
        assert again[0].tobytes() == made[i][0].tobytes()
        assert again[1:] == made[i][1:]


def test_a_pack_of_lines_has_the_alphabet_of_latin(data: Path, corpus: str, tmp_path: Path) -> None:
    options = SynthOptions(lines=5, workers=1, look="lines", text=corpus)
    synthesise(tmp_path / "pack", options, data)
    recipe = Path(__file__).parents[1] / "recipes/latin/alphabet.txt"
    alphabet = Pack.open(tmp_path / "pack").alphabet
    assert alphabet == LATIN
    assert alphabet.characters == recipe.read_text(encoding="utf-8").removesuffix("\n")


def test_stretches_of_the_corpus_are_as_long_as_its_lines() -> None:
    lines = ["aa bb cc dd ee ff gg hh"] * 5 + ["ii jj"] * 5
    texts = Corpus(lines)
    rng = np.random.default_rng(0)
    words = set(" ".join(lines).split())
    drawn = [text for text in (texts.pick(rng) for _ in range(2000)) if set(text.split()) <= words]
    assert len(drawn) > 1700  # the others are patterns: dates, amounts, addresses
    short = sum(len(text) <= 5 for text in drawn) / len(drawn)
    assert 0.4 < short < 0.6
    assert any(text not in lines for text in drawn)


def test_a_table_is_drawn_by_count_and_never_cut(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("name,count\nBad Düben,900\nOelsnitz,100\n", "utf-8")
    texts = Corpus.load(tmp_path / "places.csv", 0.5)
    drawn = [texts.pick(np.random.default_rng(i)) for i in range(2000)]
    assert set(drawn) == {"Bad Düben", "Oelsnitz"}
    assert abs(drawn.count("Bad Düben") / 2000 - 0.75) < 0.04  # 30 : 10 by square roots
    with pytest.raises(GroundTruthError, match=r"none\.txt"):
        Corpus.load(tmp_path / "none.txt", 0.5)


def test_marks_make_accented_and_double_letters_writable() -> None:
    assert writable("Œuvre naïve à 3,50 € (ß)")
    assert not writable("Łódź")
    assert spelled("œuf") == "oeuf"
    hand = Hand.of_line(np.random.default_rng(0))
    high = marks_of("\u0301", 0.0, 100.0, hand, 1.0)[0][:, 1].min()
    low = marks_of("\u0301", 0.0, 100.0, hand, 0.66)[0][:, 1].min()
    assert low - high == pytest.approx(0.34 * hand.cap, abs=0.01)  # over e, lower than over E


def test_a_font_writes_what_its_table_of_characters_has(data: Path) -> None:
    fonts = Fonts.load(data / "handwriting_fonts.zip")
    assert fonts.can_write("12 rue de l'Arc, (Lyon)?")
    assert not fonts.can_write("été")  # Pillow's font has ASCII alone
    font = ImageFont.load_default(24)  # FreeType's own answer: what it lacks looks like U+FFFF
    missing = bytes(font.getmask("\uffff"))
    assert len(WANTED) > 130
    for character in WANTED:
        assert fonts.can_write(character) == (bytes(font.getmask(character)) != missing), character


def test_texts_fit_their_line_images_or_the_width_is_named(
    data: Path, corpus: str, tmp_path: Path
) -> None:
    options = SynthOptions(lines=60, workers=1, look="lines", text=corpus)
    narrow = ImageSpec(height=16, max_width=96, width_step=32)  # "Großröhrsdorf, ..." needs more
    synthesise(tmp_path / "pack", options, data, narrow)
    pack = Pack.open(tmp_path / "pack")
    needs = [frames_needed(LATIN.encode(text)) for text in pack.texts]
    assert all(need <= width // 4 for need, width in zip(needs, pack.widths, strict=True))
    assert max(needs) > 15
    too_narrow = ImageSpec(height=16, max_width=32, width_step=32)
    (tmp_path / "long.csv").write_text("name,count\nGrande Rue,1\n", encoding="utf-8")
    options = replace(options, text=str(tmp_path / "long.csv"), fonts=1.0)
    with pytest.raises(OptionError, match=r"max_width 32.*Grande Rue"):
        synthesise(tmp_path / "none", options, data, too_narrow)


def test_a_given_text_is_drawn_and_never_by_recorded_words(data: Path, corpus: str) -> None:
    kit = Kit(data)
    for i in range(20):
        grey, text, source = render("ANNE-LISE", np.random.default_rng(i), kit, SynthOptions())
        assert text == "ANNE-LISE"
        assert source != "words"
        assert grey.min() < 60
    kit, options = Kit(data, text=corpus), SynthOptions(look="lines", text=corpus)
    assert render("Zoe, 12 ans", np.random.default_rng(0), kit, options)[1] == "Zoe, 12 ans"
    with pytest.raises(OptionError, match="cannot write 'Ω'"):
        render("Ω", np.random.default_rng(0), kit, options)
    with pytest.raises(OptionError, match="given text"):
        render("ANNE", np.random.default_rng(0), kit, _only("words"))


def test_a_missing_file_is_named_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    broken.mkdir()
    (broken / "names_frequency.csv").write_bytes((data / "names_frequency.csv").read_bytes())
    files = ("handwriting_fonts.zip", "emnist_characters.npz", "unipen_chars", "unipen_words")
    for source, file in zip(SOURCES, files, strict=True):
        with pytest.raises(GroundTruthError, match=file):
            synthesise(tmp_path / "out", _only(source), broken)
    assert not (tmp_path / "out").exists()


def test_damaged_material_is_named_and_what_a_mac_adds_is_left_out(
    data: Path, tmp_path: Path
) -> None:
    npz, fonts = tmp_path / "glyphs.npz", tmp_path / "fonts.zip"
    npz.write_bytes((data / "emnist_characters.npz").read_bytes()[:5000])
    with pytest.raises(GroundTruthError, match=r"glyphs\.npz: cannot read the glyphs"):
        Glyphs.load(npz)
    with zipfile.ZipFile(data / "handwriting_fonts.zip") as archive:
        plain = archive.read("fonts/plain.ttf")
    with zipfile.ZipFile(fonts, "w") as archive:
        archive.writestr("fonts/plain.ttf", plain)
        archive.writestr("__MACOSX/fonts/._plain.ttf", bytes(100))
    assert Fonts.load(fonts).can_write("ANNE")
    with zipfile.ZipFile(fonts, "a") as archive:
        archive.writestr("fonts/half.ttf", bytes(100))
    with pytest.raises(GroundTruthError, match=r"fonts\.zip: half\.ttf is damaged"):
        Fonts.load(fonts)


def test_a_font_may_have_blank_small_letters(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = Image.new("L", (154, 0)).im
    monkeypatch.setattr(ImageFont.FreeTypeFont, "getmask", lambda *_: blank)
    fonts = Fonts.load(data / "handwriting_fonts.zip")
    assert fonts.can_write("ANNE")
    assert [face.cursive for face in fonts._faces] == [False]  # nothing of it is joined


def test_a_list_may_end_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "N.CSV").write_text("name,count\nDUPONT,12\n")
    corpus = Corpus.load(tmp_path / "N.CSV", 0.5)
    assert {corpus.pick(np.random.default_rng(i)) for i in range(20)} == {"DUPONT"}


def test_a_sheet_is_not_written_into_the_pack(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["synth", "--data", str(data), "--out", str(tmp_path / "pack"), "--lines", "1"]
    (tmp_path / "pack").mkdir()
    assert main([*words, "--sheet", str(tmp_path / "pack" / "s.png")]) == 2
    assert "s.png lies in" in capsys.readouterr().err
    (tmp_path / "pack").rmdir()
    assert main([*words, "--sheet", str(tmp_path / "s.png"), "--workers", "1"]) == 0
    assert "1 pictures in" in capsys.readouterr().err
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width > 500


def test_texts_that_a_source_cannot_write_are_no_endless_search(data: Path, tmp_path: Path) -> None:
    (tmp_path / "signs.csv").write_text("\ufeffname,count\n£5,1\n§ 3,2\n", "utf-8")
    kit = Kit(data, text=str(tmp_path / "signs.csv"))
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match="glyphs can write none of 1000 texts, such as"):
        kit.line("glyphs", None, Hand.of_line(rng), rng)


def test_options_refuse_what_cannot_be_made() -> None:
    with pytest.raises(OptionError, match="weights"):
        SynthOptions(fonts=0, glyphs=0, strokes=0, words=0)
    with pytest.raises(OptionError, match="look"):
        SynthOptions(look="pages")
    with pytest.raises(OptionError, match="--text"):
        SynthOptions(look="lines")
    with pytest.raises(OptionError, match="workers"):
        SynthOptions(workers=-1)
    with pytest.raises(OptionError, match="seed is -1"):
        SynthOptions(seed=-1)
    with pytest.raises(OptionError, match="validation is 3"):
        SynthOptions(validation=3.0)
    assert from_json(SynthOptions, to_json(SynthOptions(seed=4))) == SynthOptions(seed=4)


def test_names_come_by_flattened_count_and_invented_ones_are_new(data: Path) -> None:
    texts = Texts(["AA", "BB"], np.array([900, 100]), flatten=0.5)
    rng = np.random.default_rng(0)
    drawn = [texts.pick(rng, 0.0) for _ in range(4000)]
    simple = [name for name in drawn if len(name) == 2]
    # 30 : 10 by square roots; 90 : 10 by counts and 50 : 50 by names are far away
    assert abs(simple.count("AA") / len(simple) - 0.75) < 0.03
    listed = Texts.load(data / "names_frequency.csv", 0.5)
    invented = {listed.pick(rng, 1.0) for _ in range(300)}
    assert len(invented - set(LISTED)) > 50
    assert all(not NAMES.missing(text) and 0 < len(text) <= LONGEST for text in invented)


def test_a_writer_draws_one_character_for_each_of_the_text() -> None:
    rng = np.random.default_rng(0)
    drawn = [as_written("ÉLISE-ANNE".replace("É", "E"), rng) for _ in range(500)]
    assert all(len(text) == len("ELISE-ANNE") for text in drawn)
    assert any("i" in text and "S" in text for text in drawn)  # a dotted i among capitals
    assert any("É" in text for text in drawn)
    assert sum(text == text.upper() for text in drawn) > 200


def test_letters_keep_their_order_and_fit_the_width() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        hand = Hand.drawn(rng)
        widths = rng.uniform(4, hand.cap, rng.integers(1, 20))
        left, width = places(widths, hand, 360, rng)
        assert left.min() >= 0
        assert (left + widths).max() <= width
        assert (np.diff(left + widths / 2) > -4).all()
        if widths.sum() < 200:
            assert width <= 370


def test_a_pen_leaves_no_gap_and_lifts_between_lines() -> None:
    ink = np.zeros((40, 100), np.uint8)
    lines = [np.array([(5, 10), (90, 10)], np.float32), np.array([(5, 30), (90, 35)], np.float32)]
    stamped(ink, lines, 3.0)
    assert (ink[10, 5:90] == 255).all()
    assert not ink[15:26].any()
    assert (ink[:20].any(axis=1)).sum() in (3, 4)


def test_strokes_come_to_the_wanted_thickness() -> None:
    for drawn, wanted in ((2, 4.0), (7, 3.0), (3, 3.0)):
        ink = np.zeros((60, 60), np.uint8)
        ink[10:50, 20 : 20 + drawn] = 255
        now = np.count_nonzero(with_thickness(ink, wanted)[30] > 127)
        assert abs(now - wanted) <= 1


def test_a_sheet_cuts_what_is_outside() -> None:
    sheet = Sheet(10, 5)
    sheet.put(np.full((4, 4), 200, np.uint8), -1, 4)
    sheet.put(np.full((4, 4), 100, np.uint8), 50, 50)
    assert np.argwhere(sheet.ink).tolist() == [[8, 0], [8, 1], [9, 0], [9, 1]]


@pytest.mark.parametrize("damage", [damage for _, damage in RATES])
def test_damage_adds_ink_and_never_takes_any(damage: Damage) -> None:
    changed = 0
    for i in range(20):
        sheet = Sheet(200, 36)
        sheet.put(np.full((26, 160), 200, np.uint8), 60, 10)
        before = sheet.ink.copy()
        spot = Spot(120.0, 280.0, 46.0, 26.0, 2.5)
        damage(sheet, spot, lambda: np.full((62, 90), 255, np.uint8), np.random.default_rng(i))
        assert (sheet.ink >= before).all()
        changed += int((sheet.ink != before).any())
    assert changed >= 15


def test_damage_befalls_as_many_names_as_its_rates_say() -> None:
    rng, hit = np.random.default_rng(0), 0
    spot = Spot(120.0, 280.0, 46.0, 26.0, 2.5)
    for _ in range(3000):
        sheet = Sheet(200, 36)
        damaged(sheet, spot, lambda: np.full((62, 90), 255, np.uint8), rng)
        hit += int(sheet.ink.any())
    rate = sum(rate for rate, _ in RATES)
    assert abs(hit / 3000 - rate) < 0.02
    assert rate < 0.1


def test_names_stand_whole_but_for_a_few_that_an_edge_cuts() -> None:
    frame = Frame(1.0, 284, (40, 40), (14, 26), (20, 27), lambda *_: None, cuts=True)
    name = np.zeros((72, 100), np.uint8)
    name[21:51] = 255  # capitals of 30 half pixels on row 51
    rng, cut = np.random.default_rng(0), []
    for _ in range(2000):
        sheet = Sheet(284, 40)
        place(sheet, name, 30, frame, rng)
        rows = int(sheet.ink.any(axis=1).sum())
        assert rows >= 20  # at least two thirds can be seen
        cut.append(rows < 30)
    assert 0.04 < np.mean(cut) < 0.075
    sheet = Sheet(284, 40)
    for _ in range(200):  # where the frame has print at its edges, the name stands whole
        place(sheet, name, 30, replace(frame, cuts=False), rng)
        assert sheet.ink.any(axis=1).sum() >= 30
        sheet.ink[:] = 0


def test_a_contact_sheet_shows_synthetic_and_real_crops(data: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((30, 100), 77, np.uint8)).save(stream, "PNG")
    images = [{"bytes": stream.getvalue(), "path": "a"}] * 3
    pq.write_table(pa.table({"image": images}), tmp_path / "real.parquet")
    out = tmp_path / "sheet.png"
    contact_sheet(out, 3, tmp_path / "real.parquet", kit=Kit(data), options=SynthOptions())
    with Image.open(out) as page:
        pixels = np.asarray(page.convert("L"))
    assert pixels.shape == (2 * 76, 4 * 392)
    assert (abs(pixels[:30, 392:492].astype(int) - 77) < 8).all()  # the second place is a real crop
    assert pixels[:14, :200].max() > 250  # the first a synthetic one


def test_real_crops_of_a_contact_sheet_come_from_any_pictures(data: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    Image.fromarray(np.full((30, 100), 77, np.uint8)).save(real / "1.png")
    content = (real / "1.png").read_bytes()
    pq.write_table(pa.table({"image": [content]}), tmp_path / "bytes.parquet")
    sheets = []
    for source in (real, tmp_path / "bytes.parquet"):
        out = tmp_path / "sheet.png"
        contact_sheet(out, 1, source, kit=Kit(data), options=SynthOptions())
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[1]
    pq.write_table(pa.table({"image": pa.array([None], pa.binary())}), tmp_path / "none.parquet")
    with pytest.raises(ImageError, match=r"none\.parquet:1: "):
        contact_sheet(out, 1, tmp_path / "none.parquet", kit=Kit(data), options=SynthOptions())


def test_a_contact_sheet_of_lines_has_one_height(data: Path, corpus: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((24, 900), 77, np.uint8)).save(stream, "PNG")
    pq.write_table(pa.table({"image": [{"bytes": stream.getvalue()}]}), tmp_path / "real.parquet")
    options = SynthOptions(look="lines", text=corpus)
    kit = Kit(data, text=corpus)
    contact_sheet(tmp_path / "s.png", 1, tmp_path / "real.parquet", kit=kit, options=options)
    with Image.open(tmp_path / "s.png") as page:
        pixels = np.asarray(page.convert("L"))
    assert pixels.shape == (52, 1440)
    real = abs(pixels.astype(int) - 77) < 8
    assert real[:48, 720:1436].all()  # enlarged to 48 rows and cut at the column's end
    assert not real[48:].any()
    assert not real[:, 1436:].any()


def test_the_command_writes_a_pack_and_a_sheet(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    flags = ("--lines", "5", "--workers", "1", "--height", "32", "--sheet", str(sheet))
    assert main(["synth", "--data", str(data), "--out", str(tmp_path / "pack"), *flags]) == 0
    pack = Pack.open(tmp_path / "pack")
    assert (len(pack), pack.spec.height) == (5, 32)
    with Image.open(sheet) as page:
        assert page.size == (4 * 392, 12 * 76)
    assert "5 pictures" in capsys.readouterr().err


def test_every_picture_of_a_pack_has_a_seed_of_its_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "CHUNK", 4)
    options = SynthOptions(lines=8, workers=1)
    synthesise(tmp_path / "pack", options, data)
    kit = Kit(data)
    made = [render(None, np.random.default_rng([0, i]), kit, options)[1] for i in range(8)]
    assert Pack.open(tmp_path / "pack").texts == made
    assert made[:4] != made[4:]


def test_sources_are_drawn_by_their_weights(data: Path) -> None:
    kit, options = Kit(data), SynthOptions(fonts=9, glyphs=1, strokes=0, words=0)
    made = [render(None, np.random.default_rng(i), kit, options)[2] for i in range(100)]
    assert 80 < made.count("fonts") < 98  # 90, give or take three standard deviations


def test_a_name_is_damaged_and_then_gets_its_printed_label(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    frame = replace(look_names.FRAMES[0], decorate=lambda *_: done.append("print"))
    monkeypatch.setattr(look_names, "a_frame", lambda *_: frame)
    monkeypatch.setattr(renders, "damaged", lambda *_: done.append("damage"))
    render(None, np.random.default_rng(0), Kit(data), SynthOptions())
    assert done == ["damage", "print"]


def test_writing_leans_to_the_right() -> None:
    """Fonts, scanned letters and pens: the top lies further right than the foot."""
    rng = np.random.default_rng(0)
    hand = replace(Hand.drawn(rng), cap=30, slant=0.4, wobble=0.0, sizes=0.0, turn=0.0)
    ink = np.zeros((canvas_height(30), 200), np.uint8)
    ink[base_row(30) - 29 : base_row(30) + 1, 98:103] = 255
    out = warped(ink, hand, rng)
    rows = np.flatnonzero(out.max(axis=1) > 127)
    top, foot = (np.average(np.arange(200), weights=out[row]) for row in (rows[2], rows[-3]))
    assert 0.2 * (rows[-3] - rows[2]) < top - foot < 0.6 * (rows[-3] - rows[2])
    upright = np.array([(0, 0), (0, 200)], np.float32)
    top, foot = _leaned(upright, 0.2, 1.0, 0.3, 60.0)
    assert 5 < top[0] - foot[0] < 25


def test_the_letters_of_a_name_are_one_writer_s(tmp_path: Path) -> None:
    peak, dash = [[0, 200, 60, 0, 120, 200]], [[0, 200, 120, 200]]  # three points, and two
    rows = [(c, "a", peak) for c in RECORDED] + [(c, "b", dash) for c in RECORDED]
    strokes = Strokes(_of_writers(tmp_path / "strokes.parquet", rows))
    kinds = set()
    for i in range(20):
        rng = np.random.default_rng(i)
        own = strokes._owner("ABC", rng)
        hand = replace(Hand.drawn(rng), slant=0.0)
        points = {len(strokes._letter(c, own, hand, rng)[0]) for c in "ABC" * 3}
        assert len(points) == 1
        kinds |= points
    assert kinds == {2, 3}


def test_the_words_of_a_line_are_one_writer_s(tmp_path: Path) -> None:
    peak = [[0, 200, 60, 0, 120, 200]]
    texts = ["aa", "ab", "ac", "BA", "BB", "BC"]
    rows = [(text, "lower" if text.islower() else "upper", peak) for text in texts]
    words = Words(_of_writers(tmp_path / "words.parquet", rows))
    lines = []
    for i in range(10):
        rng = np.random.default_rng(i)
        lines.append(words.write_line(9, Hand.of_line(rng), 4000, rng)[1].replace(" ", ""))
    assert all(line.islower() or line.isupper() for line in lines)
    assert len({line.islower() for line in lines}) == 2


def test_a_corpus_may_be_decomposed(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(unicodedata.normalize("NFD", "été à Düren\n"), "utf-8")
    corpus = Corpus.load(tmp_path / "t.txt", 0.5)
    assert "été à Düren" in {corpus.pick(np.random.default_rng(i)) for i in range(40)}
