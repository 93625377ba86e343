"""The one preprocessing: every way to store a picture gives the same line image."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from penname.errors import ImageError, OptionError
from penname.line_image import (
    INK,
    PAPER,
    ImageSpec,
    decode,
    has_ink,
    line_image,
    needed_rows,
    on_canvas,
    pages,
    redrawn,
    smaller,
    stored_spec,
)
from penname.options import from_json
from penname.writing import writing_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = ImageSpec(height=48, writing=0.0)
CROP = ImageSpec(height=64, max_width=256, fit="crop", trim="none")
STRETCH = ImageSpec(height=64, max_width=256, fit="stretch", trim="none")


def drawing(width: int = 200, height: int = 60) -> Image.Image:
    """Return black strokes on white, with grey edges and nothing symmetric: mode L."""
    picture = Image.new("L", (width * 4, height * 4), 255)
    draw = ImageDraw.Draw(picture)
    draw.line([(120, 200), (200, 40), (280, 200)], fill=0, width=14)
    draw.line([(150, 140), (250, 140)], fill=0, width=10)
    draw.line([(400, 40), (400, 200), (520, 200)], fill=0, width=16)
    draw.ellipse([600, 60, 700, 200], outline=0, width=12)
    return picture.resize((width, height), Image.Resampling.BOX)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def with_alpha(picture: Image.Image, ink: int) -> Image.Image:
    """Return ink of one grey on nothing: all of the drawing is in the alpha channel."""
    picture_with_alpha = Image.new("LA", picture.size, ink)
    picture_with_alpha.putalpha(ImageOps.invert(picture))
    return picture_with_alpha


def as_uint16(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def turned(picture: Image.Image) -> bytes:
    """Return a picture stored on its side, with the EXIF tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(picture.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


WAYS: dict[str, Callable[[Image.Image], Image.Image | np.ndarray | bytes]] = {
    "RGB": lambda p: p.convert("RGB"),
    "RGBA": lambda p: p.convert("RGBA"),
    "CMYK": lambda p: p.convert("RGB").convert("CMYK"),
    "YCbCr": lambda p: p.convert("YCbCr"),
    "palette": lambda p: p.convert("P"),
    "16-bit": as_uint16,
    "32-bit": lambda p: p.convert("I"),
    "float": lambda p: p.convert("F"),
    "PNG": lambda p: saved(p, "PNG"),
    "16-bit PNG": lambda p: saved(as_uint16(p), "PNG"),
    "palette PNG": lambda p: saved(p.convert("P"), "PNG"),
    "TIFF": lambda p: saved(p, "TIFF"),
    "CMYK TIFF": lambda p: saved(p.convert("RGB").convert("CMYK"), "TIFF"),
    "BMP": lambda p: saved(p, "BMP"),
    "WEBP": lambda p: saved(p.convert("RGB"), "WEBP", lossless=True),
    "JPEG": lambda p: saved(p, "JPEG", quality=98),
    "colour JPEG": lambda p: saved(p.convert("RGB"), "JPEG", quality=98),
    "CMYK JPEG": lambda p: saved(p.convert("RGB").convert("CMYK"), "JPEG", quality=98),
    "EXIF-rotated": turned,
    "inverted": ImageOps.invert,
    "inverted PNG": lambda p: saved(ImageOps.invert(p), "PNG"),
    "dark ink on nothing": lambda p: with_alpha(p, 0),
    "light ink on nothing": lambda p: with_alpha(p, 255),
    "light ink on nothing, PNG": lambda p: saved(with_alpha(p, 255), "PNG"),
    "array": np.asarray,
    "array (h, w, 1)": lambda p: np.asarray(p)[..., None],
    "array (h, w, 3)": lambda p: np.asarray(p.convert("RGB")),
    "array (h, w, 4)": lambda p: np.asarray(p.convert("RGBA")),
    "float array 0..1": lambda p: np.asarray(p) / 255,
    "float array 0..255": lambda p: np.asarray(p).astype(np.float32),
    "uint16 array": lambda p: np.asarray(p).astype(np.uint16) * 257,
    "bool array": lambda p: np.asarray(p) > 127,
    "faint": lambda p: np.asarray(p) // 4 + 150,
}
TOLERANCE = {  # mean grey levels, where the way itself loses something
    "JPEG": 1.0,
    "colour JPEG": 1.0,
    "CMYK JPEG": 1.0,
    "palette": 1.5,
    "palette PNG": 1.5,
    "bool array": 5.0,
}


@pytest.mark.parametrize(
    ("inked", "step", "expected"),
    [
        ([20, 40], 0, slice(0, 64)),  # no step: all rows
        ([], 16, slice(0, 64)),  # no ink, nothing to go by
        ([30, 33], 16, slice(16, 48)),  # half of the rows at least
        ([17, 46], 16, slice(16, 48)),  # an edge on both sides
        ([17, 47], 16, slice(8, 56)),
        ([0, 10], 16, slice(0, 32)),  # the picture's own edge
        ([50, 63], 16, slice(32, 64)),
        ([4, 60], 16, slice(0, 64)),
        ([10, 40], 24, slice(5, 53)),
        ([2, 60], 24, slice(0, 64)),  # 72 rows it has not
    ],
)
def test_the_rows_that_ink_needs_have_it_in_the_middle(
    inked: list[int], step: int, expected: slice
) -> None:
    line = np.full((64, 20), PAPER, dtype=np.uint8)
    line[inked, 5] = 0
    assert needed_rows(line, step) == expected


@pytest.mark.parametrize("spec", [SPEC, CROP, STRETCH], ids=lambda spec: spec.fit)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_store_a_picture_gives_the_same_line_image(way: str, spec: ImageSpec) -> None:
    expected = line_image(decode(drawing()), spec).astype(int)
    found = line_image(decode(WAYS[way](drawing())), spec).astype(int)
    if way != "bool array":  # without grey edges, the sides may be trimmed a pixel elsewhere
        assert found.shape == expected.shape
    width = min(found.shape[1], expected.shape[1])
    difference = np.abs(found[:, :width] - expected[:, :width]).mean()
    assert difference <= TOLERANCE.get(way, 0.5)


def test_pale_paper_is_as_blank_in_16_bits_as_in_8() -> None:
    pale = np.random.default_rng(0).integers(254, 256, (40, 200))
    for picture in (pale.astype(np.uint8), (pale * 257).astype(np.uint16), pale / 255):
        assert line_image(decode(picture), SPEC).min() == PAPER


def test_a_smaller_line_image_keeps_its_middle_and_its_height() -> None:
    line = np.full((48, 100), PAPER, dtype=np.uint8)
    line[14:34, 25:75] = 0  # 20 x 50 of ink in the middle
    found = smaller(line)
    assert found.shape == (48, 88)
    rows, columns = (np.unique(each) for each in np.nonzero(found < INK))
    assert (rows[0] + rows[-1], columns[0] + columns[-1]) == (47, 87)
    assert (len(rows), len(columns)) == (18, 44)
    assert smaller(np.zeros((8, 1), dtype=np.uint8)).shape == (8, 1)


def test_a_line_image_is_drawn_at_another_height() -> None:
    line = np.full((48, 100), PAPER, dtype=np.uint8)
    line[16:32, 20:80] = 0
    assert redrawn(line, 1, 48) is line
    found = redrawn(line, 0.75, 36)
    assert found.shape == (36, 75)
    rows, columns = (np.unique(each) for each in np.nonzero(found < INK))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (12, 23, 15, 59)
    line[40:46, 20:24] = 0  # less writing than above: these rows go
    lower = redrawn(line, 1, 24) < INK
    assert lower.shape == (24, 100)
    assert np.count_nonzero(lower) == 16 * 60
    higher = redrawn(line, 1, 64)
    assert np.array_equal(higher[8:56], line)
    assert higher.shape == (64, 100)


def test_a_path_reads_as_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "line.jpg"
    file.write_bytes(saved(drawing(), "JPEG"))
    np.testing.assert_array_equal(decode(file), decode(file.read_bytes()))
    np.testing.assert_array_equal(decode(str(file)), decode(file))


@pytest.mark.parametrize(("width", "height"), [(200, 60), (350, 60), (120, 40), (600, 60)])
def test_fit_keeps_the_aspect(width: int, height: int) -> None:
    spec = ImageSpec(height=48, trim="none")
    picture = np.full((height, width), 255, np.uint8)
    side = height // 2
    picture[5 : 5 + side, 10 : 10 + side] = 0  # a square stays one
    scale = min(48 / height, 320 / width, 1.25)
    image = line_image(picture, spec)
    assert image.shape == (48, round(width * scale))
    dark = image < 128
    across, down = dark.any(axis=0).sum(), dark.any(axis=1).sum()
    assert across == pytest.approx(side * scale, abs=1)
    assert down == pytest.approx(side * scale, abs=1)


def test_fit_enlarges_no_more_than_max_scale_and_centres() -> None:
    picture = np.full((16, 100), 255, np.uint8)
    picture[:, 40:50] = 0
    image = line_image(picture, ImageSpec(height=48, trim="none", max_scale=1.25))
    assert image.shape == (48, 125)
    rows = np.flatnonzero(image.min(axis=1) < 128)
    assert (rows[0], rows[-1]) == (14, 33)  # 20 rows, 14 above and 14 below


def test_crop_cuts_or_pads_at_the_top_left() -> None:
    small, large = np.full((30, 100), 255, np.uint8), np.full((90, 300), 255, np.uint8)
    small[:10, :10] = large[:10, :10] = 0
    padded, cut = line_image(small, CROP), line_image(large, CROP)
    assert padded.shape == cut.shape == (64, 256)
    for image in (padded, cut):
        np.testing.assert_array_equal(image[:10, :10], 0)
        assert (image == 0).sum() == 100
        assert (image == PAPER).sum() == 64 * 256 - 100


def test_stretch_scales_each_side_on_its_own() -> None:
    picture = np.full((32, 512), 255, np.uint8)
    picture[8:24, 128:256] = 0
    image = line_image(picture, STRETCH)
    assert image.shape == (64, 256)
    dark = image < 128
    assert dark.any(axis=1).sum() == 32
    assert dark.any(axis=0).sum() == 64


def test_trimming_cuts_blank_sides_to_a_margin() -> None:
    picture = np.full((40, 500), 255, np.uint8)
    picture[10:30, 200:250] = 0
    image = line_image(picture, ImageSpec(height=40))
    assert image.shape == (40, 4 + 50 + 4)  # a margin of a tenth of the height
    np.testing.assert_array_equal(np.flatnonzero(image.min(axis=0) < 128), np.arange(4, 54))
    untrimmed = line_image(picture, ImageSpec(height=40, max_width=512, trim="none"))
    assert untrimmed.shape == (40, 500)


def test_faint_ink_becomes_black_and_tinted_paper_white() -> None:
    picture = np.full((48, 200), 180, np.uint8)
    picture[20:30, 50:100] = 120
    image = line_image(picture, ImageSpec(height=48, trim="none"))
    assert set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize("white", [0.0, 0.3, 0.9])
def test_levels_are_read_off_the_sorted_pixels(white: float) -> None:
    rng = np.random.default_rng(5)
    grey = rng.integers(220, 250, (30, 50)).astype(np.uint8)
    ink = rng.random(grey.shape) < 0.3
    grey[ink] = rng.integers(10, 200, ink.sum())
    grey[rng.random(grey.shape) < white] = PAPER
    ordered = sorted(grey.ravel().tolist())
    low, paper = ordered[3 - 1], ordered[750 - 1]  # 0.2 % and half of 1,500
    levels = [round(max(0, min(PAPER, (i - low) * PAPER / (paper - low)))) for i in range(256)]
    line = line_image(grey, ImageSpec(height=30, max_width=64, max_scale=1, trim="none", writing=0))
    assert line.tolist() == [[levels[level] for level in row] for row in grey.tolist()]


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("spec", [SPEC, CROP, STRETCH], ids=lambda spec: spec.fit)
def test_a_blank_picture_is_paper(grey: int, spec: ImageSpec) -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (50, 200))
    picture = np.clip(grey + noise, 0, 255).astype(np.uint8)
    image = line_image(picture, spec)
    assert image.shape[0] == spec.height
    assert (image == PAPER).all()


@pytest.mark.parametrize("white_on_black", [False, True])
def test_a_few_strokes_on_a_large_sheet_are_read_as_alone_and_dirt_is_not(
    white_on_black: bool,
) -> None:
    name = np.full((40, 100), PAPER, dtype=np.uint8)
    name[10:30, 20:80:12] = 60  # five strokes of 20 pixels: 2.5 % of it, and 0.03 % of the sheet
    name[10:30, 21:81:12] = 190  # and their grey edges
    sheet, dirty = np.full((400, 900), PAPER, dtype=np.uint8), np.full((400, 900), PAPER, np.uint8)
    sheet[180:220, 400:500] = name
    dirty[200, 400:415] = 0  # 15 pixels
    alone, lost, nothing = (
        line_image(255 - each if white_on_black else each, ImageSpec(max_scale=1, writing=0))
        for each in (name, sheet, dirty)
    )
    assert [int((each < INK).sum()) for each in (alone, lost)] == [100, 100]
    assert alone.min() == lost.min() == 0
    assert nothing.min() == PAPER


def test_the_canvas_depends_on_the_line_alone() -> None:
    widths = {1: 32, 31: 32, 32: 32, 33: 64, 320: 320, 0: 32}
    assert {width: SPEC.canvas_width(width) for width in widths} == widths


def test_on_canvas_puts_lines_at_the_left_on_paper() -> None:
    lines = [np.full((48, 10), 7, np.uint8), np.full((48, 32), 9, np.uint8)]
    batch = on_canvas(lines, 32)
    assert batch.shape == (2, 1, 48, 32)
    assert batch.dtype == np.uint8
    assert (batch[0, 0, :, :10] == 7).all()
    assert (batch[0, 0, :, 10:] == PAPER).all()
    assert (batch[1] == 9).all()


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_an_uncompressed_tiff_is_turned_from_a_path_as_from_bytes(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    encoded = saved(drawing().convert(mode), "TIFF", tiffinfo={274: orientation})
    (file := tmp_path / "turned.tif").write_bytes(encoded)
    found = decode(file)
    assert found.shape == ((60, 200) if orientation < 5 else (200, 60))
    assert np.array_equal(found, decode(encoded))
    assert sorted(found.ravel()) == sorted(decode(drawing().convert(mode)).ravel())


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_a_cut_file_of_pages_yields_those_before_the_cut(tmp_path: Path, whole: int) -> None:
    """To count the pages of a TIFF is to read the directories of all, which may be damaged."""
    picture = drawing()
    encoded = saved(picture, "TIFF", save_all=True, append_images=[picture, picture])
    (file := tmp_path / "cut.tif").write_bytes(encoded[: (2 * whole + 1) * len(encoded) // 6])
    *read, wrong = list(pages(file))[: whole + 1]
    assert [np.array_equal(np.asarray(each), np.asarray(picture)) for each in read] == [
        True
    ] * whole
    assert isinstance(wrong, str)
    assert wrong.startswith("cannot read the page: ")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "it is empty"),
        (b"just some text", "not an image in a format read here"),
        (saved(drawing(), "PNG")[:60], "cannot read the image"),
        (saved(drawing(), "JPEG")[:200], "cannot read the image"),
        (saved(drawing(), "TIFF", save_all=True, append_images=[drawing()]), "^it has 2 pages"),
        (Image.new("L", (3, 40)), "3 x 40 pixels; at least 4 a side"),
        (Image.new("L", (4_001, 4)), "4001 x 4 pixels, one side over 1,000 times the other"),
        (saved(Image.new("1", (12_000, 5_000)), "PNG"), "12000 x 5000 pixels, over the limit"),
        (np.zeros((4, 5, 6, 7)), r"\(h, w\) or \(h, w, 1..4\)"),
        (np.zeros((0, 30), np.uint8), "at least 4 a side"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_picture_that_cannot_be_read_says_why(
    source: bytes | Image.Image | np.ndarray, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(source)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    half = Image.open(io.BytesIO(saved(drawing(), "JPEG")[:600]))
    with pytest.raises(ImageError, match=r"cannot read the image: .*truncated"):
        decode(half)  # Pillow decodes it when it is first looked at
    with pytest.raises(ImageError, match="cannot read the image"):
        decode(np.full((9, 9), "a"))
    with pytest.raises(ImageError, match=r"gone\.png: No such file"):
        decode(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="directory"):
        decode(tmp_path)


def test_a_spec_that_fits_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="'squash'; choose fit, crop or stretch"):
        ImageSpec(fit="squash")
    with pytest.raises(OptionError, match="no line image fits"):
        ImageSpec(max_width=16)
    with pytest.raises(OptionError, match="no line image fits"):
        ImageSpec(height=4)


def strokes() -> np.ndarray:
    """Return three upright strokes of ink in a picture with little margin."""
    grey = np.full((40, 240), PAPER, np.uint8)
    for left in (20, 110, 200):
        grey[6:34, left : left + 4] = 20
    return grey


def test_light_that_changes_along_the_line_is_evened_out() -> None:
    along = np.linspace(110, 230, 240)
    shaded = (strokes() / PAPER * along).astype(np.uint8)
    even, expected = (line_image(g, SPEC) for g in (shaded, strokes()))
    assert even.shape == expected.shape
    assert (np.abs(even.astype(int) - expected) > 60).mean() < 0.02
    assert min(even[:, :3].min(), even[:, -3:].min()) > 230  # paper at both ends


def test_even_paper_is_left_as_it_is() -> None:
    grey = np.where(strokes() == PAPER, 200, 40).astype(np.uint8)
    np.testing.assert_array_equal(line_image(grey, SPEC), line_image(strokes(), SPEC))


def test_blank_rows_are_cut_from_a_high_picture_and_not_below_the_height() -> None:
    spec = ImageSpec(height=48, max_width=320, writing=0.0)
    padded = np.pad(strokes(), ((50, 90), (0, 0)), constant_values=PAPER)
    image = line_image(padded, spec)
    kept = line_image(padded, ImageSpec(height=48, max_width=320, trim="sides", writing=0.0))
    # 28 rows of ink stay 28 high on 48 rows; with 180 rows they shrink to 28 * 48 / 180.
    assert [int((i.min(axis=1) < 128).sum()) for i in (image, kept)] == [28, 7]
    ink = np.flatnonzero(image.min(axis=1) < 128)
    assert abs((ink[0] + ink[-1]) / 2 - 23.5) <= 2  # and stand in the middle


def test_rows_at_the_edge_of_the_picture_are_never_lost() -> None:
    for top in (0, 72):
        grey = np.full((100, 200), PAPER, np.uint8)
        grey[top : top + 28, 50:150] = 0
        image = line_image(grey, ImageSpec(height=48, max_width=320, writing=0.0))
        assert image.shape[0] == 48
        assert int((image.min(axis=1) < 128).sum()) == 28


def test_an_unknown_trim_is_refused() -> None:
    with pytest.raises(OptionError, match="trim is 'rows'"):
        ImageSpec(trim="rows")


def written(times: float = 1.0, above: int = 0, below: int = 0, pen: int = 6) -> np.ndarray:
    """Return a zigzag 32 rows high, drawn `times` as large, with blank rows: grey (h, w)."""
    picture = Image.new("L", (960, 160), PAPER)
    tops = [(x, 16 if x // 32 % 2 else 144) for x in range(64, 896, 32)]
    ImageDraw.Draw(picture).line(tops, fill=0, width=2 * pen)
    size = round(240 * times), round(40 * times)
    grey = np.asarray(picture.resize(size, Image.Resampling.BOX))
    return np.pad(grey, ((above, below), (0, 0)), constant_values=PAPER)


WRITING = ImageSpec(height=48, max_width=400, trim="sides", writing=10 / 48, slack=1.05)


@pytest.mark.parametrize("trim", ["sides", "all"])
@pytest.mark.parametrize(("above", "below"), [(0, 0), (60, 60), (20, 150), (200, 0)])
@pytest.mark.parametrize("times", [0.6, 1, 2.5, 4])
def test_writing_is_as_large_whatever_the_resolution_and_the_margins(
    times: float, above: int, below: int, trim: str
) -> None:
    spec = replace(WRITING, trim=trim)
    line = line_image(written(times, above, below), spec)
    assert line.shape[0] == 48
    assert writing_size(line < INK) == pytest.approx(10.0, rel=0.13)
    rows = np.flatnonzero((line < INK).any(axis=1))
    assert rows[0] > 0  # nothing is cut off
    assert rows[-1] < 47


def test_margins_alone_decide_how_large_writing_is_without_the_rule() -> None:
    found = [
        writing_size(line_image(written(1, above, above), replace(WRITING, writing=0.0)) < INK)
        for above in (0, 40)
    ]
    assert found == pytest.approx([21.0, 7.0], rel=0.2)


@pytest.mark.parametrize(("slack", "expected"), [(1.0, 10.0), (1.2, 12.0), (1.4, 14.0)])
def test_writing_is_brought_to_the_edge_of_its_slack(slack: float, expected: float) -> None:
    line = line_image(written(4), replace(WRITING, height=96, writing=10 / 96, slack=slack))
    assert writing_size(line < INK) == pytest.approx(expected, rel=0.05)


def test_writing_within_its_slack_is_left_as_it_comes() -> None:
    spec = replace(WRITING, writing=0.0)
    line = line_image(written(), spec)
    large = writing_size(written() < INK) * line.shape[1] / (written() < INK).shape[1]
    for writing in (large * 1.25, large / 1.25):
        near = replace(WRITING, writing=writing / 48, slack=1.45)
        np.testing.assert_array_equal(line_image(written(), near), line)
        far = replace(near, slack=1.05)
        assert line_image(written(), far).shape != line.shape


def test_rows_that_have_no_room_are_those_without_writing() -> None:
    grey = written(1, 60, 60)
    grey[:6, 40:200:40] = 0  # pieces of other lines, 55 rows away from the writing
    grey[-6:, 20:220:40] = 0
    line, alone = (line_image(each, WRITING) < INK for each in (grey, written(1, 60, 60)))
    assert int(line.any(axis=1).sum()) == pytest.approx(int(alone.any(axis=1).sum()), abs=2)
    assert writing_size(line) == pytest.approx(writing_size(alone), rel=0.1)


def test_small_writing_is_enlarged_no_further_than_there_is_room() -> None:
    assert line_image(written(0.25), replace(WRITING, max_width=64)).shape == (48, 64)
    tiny = line_image(written(0.25), replace(WRITING, writing=8.0))
    assert tiny.shape[1] <= 4 * 60  # `ENLARGED` times its width


def test_a_dash_is_not_enlarged() -> None:
    dash = np.full((32, 400), PAPER, dtype=np.uint8)
    dash[14:18, 20:380] = 0
    expected = line_image(dash, replace(WRITING, writing=0.0))
    np.testing.assert_array_equal(line_image(dash, WRITING), expected)


def test_a_size_of_writing_that_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match=r"writing is -1\.0 and slack 1\.3; they are at least 0"):
        ImageSpec(writing=-1.0)
    with pytest.raises(OptionError, match="they are at least 0 and 1"):
        ImageSpec(slack=0.9)
    with pytest.raises(OptionError, match="writing is nan"):
        ImageSpec(writing=float("nan"))


def test_a_spec_of_before_takes_writing_as_it_comes() -> None:
    before = {k: v for k, v in asdict(SPEC).items() if k not in ("writing", "slack")}
    assert stored_spec(before).writing == 0
    assert stored_spec(asdict(WRITING)) == WRITING


def scanned(*kinds: bytes) -> bytes:
    """Return a TIFF with a page for each: what its tag 254 holds, a type and four bytes."""
    first, *others = [drawing() if kind[2] != 1 else drawing(50, 15) for kind in kinds]
    encoded = bytearray(
        saved(first, "TIFF", save_all=True, append_images=others, tiffinfo={254: 0})
    )
    at = int.from_bytes(encoded[4:8], "little")
    for kind in kinds:
        count = int.from_bytes(encoded[at : at + 2], "little")
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if int.from_bytes(encoded[entry : entry + 2], "little") == 254:
                encoded[entry + 2 : entry + 4], encoded[entry + 8 : entry + 12] = kind[:2], kind[2:]
        at = int.from_bytes(encoded[at + 2 + 12 * count : at + 6 + 12 * count], "little")
    return bytes(encoded)


PAGE, COPY, WORD = b"\4\0\0\0\0\0", b"\4\0\1\0\0\0", b"\2\0A\0\0\0"


@pytest.mark.parametrize("kinds", [(PAGE, COPY), (COPY, PAGE), (PAGE,), (COPY,), (WORD,)])
def test_a_small_copy_beside_a_page_is_no_page(tmp_path: Path, kinds: tuple[bytes, ...]) -> None:
    (file := tmp_path / "scan.tif").write_bytes(encoded := scanned(*kinds))
    assert list(pages(file)) == []
    shown = drawing(50, 15) if kinds == (COPY,) else drawing()
    assert np.array_equal(decode(file), np.asarray(shown))
    assert np.array_equal(decode(encoded), np.asarray(shown))


@pytest.mark.parametrize("kinds", [(PAGE, PAGE), (COPY, COPY), (WORD, PAGE), (PAGE, COPY, PAGE)])
def test_pages_are_told_whatever_they_are_said_to_be(
    tmp_path: Path, kinds: tuple[bytes, ...]
) -> None:
    (file := tmp_path / "scan.tif").write_bytes(scanned(*kinds))
    assert [isinstance(page, Image.Image) for page in pages(file)] == [True, True]
    with pytest.raises(ImageError, match="it has 2 pages"):
        decode(file)


def test_a_page_before_a_damaged_pointer_is_one(recwarn: pytest.WarningsRecorder) -> None:
    whole = saved(drawing(), "TIFF")
    start = int.from_bytes(whole[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(whole[start : start + 2], "little")
    damaged = whole[:end] + (len(whole) - 3).to_bytes(4, "little") + whole[end + 4 :]
    assert np.array_equal(decode(damaged), np.asarray(drawing()))
    assert not recwarn


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_photograph_is_turned_as_its_camera_says(mode: str) -> None:
    """A grey JPEG takes another way than others, and phones write EXIF."""
    turned = Image.Exif()
    turned[0x112] = 6
    found = decode(saved(drawing().convert(mode), "JPEG", exif=turned))
    assert found.shape == (200, 60)
    upright = decode(saved(drawing().convert(mode), "JPEG"))
    assert np.abs(np.rot90(found).astype(int) - upright).max() < 64


def test_thin_ink_that_is_grey_is_ink() -> None:
    line = np.full((48, 64), PAPER, np.uint8)
    assert not has_ink(line)
    line[20, 10:30] = 180
    assert has_ink(line)


def test_a_transparent_palette_lies_on_paper() -> None:
    """All of it is black, and what is paper is nothing."""
    ink = np.asarray(drawing()) < INK
    picture = Image.fromarray(ink.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0] * 2)
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=0)
    assert np.array_equal(decode(stream.getvalue()), np.where(ink, 0, PAPER))


@pytest.mark.parametrize("values", [{"width_step": 0}, {"max_scale": 0.0}, {"height": 7}])
def test_specs_that_no_line_image_fits_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="no line image fits"):
        ImageSpec(**values)


def test_a_float_picture_may_have_holes() -> None:
    whole = np.asarray(drawing(), np.float32) / 255
    holed = whole.copy()
    holed[0, :5] = np.nan
    assert np.array_equal(decode(holed)[1:], decode(whole)[1:])


def test_what_pillow_warns_of_is_not_passed_on(recwarn: pytest.WarningsRecorder) -> None:
    exif = Image.Exif()
    exif[0x10E] = "a description that is cut off"
    cut = exif.tobytes()[:-20]
    assert decode(saved(drawing(), "JPEG", exif=cut)).shape == (60, 200)
    assert not recwarn


def test_what_pillow_logs_is_not_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    many = bytearray(saved(drawing(), "TIFF", tiffinfo={277: 1}))
    start = int.from_bytes(many[4:8], "little")
    entries = int.from_bytes(many[start : start + 2], "little")
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        if int.from_bytes(many[entry : entry + 2], "little") == 277:  # samples a pixel
            many[entry + 8] = 99
    with pytest.raises(ImageError, match="not an image in a format read here"):
        decode(bytes(many))
    assert not caplog.records


def test_numbers_beyond_all_others_are_no_more_than_dirt() -> None:
    picture = np.asarray(drawing(), np.float32) / 255
    for odd in (np.inf, -np.inf, np.nan):
        spoilt = picture.copy()
        spoilt[0, 0] = odd
        assert np.array_equal(decode(spoilt)[1:], decode(picture)[1:])
    for large in (3e38, 1e308):
        beyond = picture.astype(np.float64)
        beyond[0, :2] = large, -large
        assert decode(beyond).shape == (60, 200)
    with pytest.raises(ImageError, match="an array of complex64, not of numbers"):
        decode(picture.astype(np.complex64))


@pytest.mark.parametrize("name", ["max_scale", "writing", "slack"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_specs_without_end_are_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=r"no line image fits|they are at least 0 and 1"):
        from_json(ImageSpec, {name: value})
