"""Line image: the one preprocessing, from a file or array to what the network sees.

Packing, training, reading and scoring all call `line_image` with an `ImageSpec` that is stored in
the pack, the checkpoint and the model folder, so training and reading cannot drift apart.

Grey values are uint8, 255 is paper and 0 is ink. A line image is (H, w) with H = `spec.height` and
its true width w; the network sees it on a canvas whose width is w rounded up to `spec.width_step`,
the rest paper. Some networks see no more rows than the ink needs (`needed_rows`). All this depends
on the line alone, so a line reads the same alone and in a batch.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from penname.errors import ImageError, OptionError
from penname.options import check_choices, from_json, option
from penname.rulings import descent, rulings
from penname.writing import densest_rows, writing_size

if TYPE_CHECKING:
    from collections.abc import Iterator

PAPER = 255
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000")
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"),
    *(".bmp", ".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
MAX_PIXELS = 50_000_000  # a line image is some 0.02 megapixels; a page at 600 dpi is 35
MIN_SIDE = 4  # pixels; less cannot hold a letter
LONGEST = 1000  # times one side may be as long as the other; a line of writing is some 50
MIN_CONTRAST = 24  # grey levels between ink and paper; less is an empty image
SPECK = 16  # pixels; as few dark ones are dirt
UNEVEN = 16  # grey levels that paper may differ from end to end before it is evened out
ENLARGED = 4.0  # times a picture is enlarged for small writing, at most
SMALLER = 0.88  # scale of the second look at a doubtful line
INK = 128  # after levels, anything darker is ink
LARGEST = 1e300  # of the numbers of a picture: the difference of two is one too
SUBFILE, SMALL_COPY = 254, 1  # what a page of a TIFF is, and its bit for a small copy of another

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # as in `_quietly`, in workers too

Grey = np.ndarray  # (h, w) uint8
Source = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class ImageSpec:
    """How a picture becomes a line image.

    `fit` keeps the aspect, `crop` cuts or pads to height x max_width at the top left as the 2021
    project did, `stretch` scales both sides to height x max_width.
    """

    height: int = option(64, "height of a line image in pixels")
    max_width: int = option(320, "largest width of a line image in pixels")
    fit: str = option("fit", "how a picture is brought to size", choices=("fit", "crop", "stretch"))
    trim: str = option(
        "all",
        "cut blank sides off, and of pictures higher than a line image blank rows too",
        choices=("none", "sides", "all"),
    )
    rulings: str = option(
        "erase",
        "printed lines and boxes around writing: erase all, closed boxes alone, or none",
        choices=("erase", "boxes", "keep"),
    )
    max_scale: float = option(
        1.25, "largest enlargement, but of writing that is too small for `writing`: 4 times"
    )
    width_step: int = option(32, "canvas widths are multiples of this many pixels")
    writing: float = option(
        0.16, "how large writing is to be, as a share of the height; 0 leaves it as it comes"
    )
    slack: float = option(1.3, "times that it may be larger or smaller")

    def __post_init__(self) -> None:
        check_choices(self)
        if (
            self.height < 8
            or self.max_width < self.width_step
            or self.width_step < 1
            or not 0 < self.max_scale < math.inf
        ):
            raise OptionError(f"no line image fits {self}; height is at least 8")
        if not (0 <= self.writing < math.inf and 1 <= self.slack < math.inf):  # nan is neither
            raise OptionError(
                f"writing is {self.writing} and slack {self.slack}; they are at least 0 and 1"
            )

    def canvas_width(self, width: int) -> int:
        """Return the canvas width in pixels for a line image of true width `width`."""
        return -(-max(width, 1) // self.width_step) * self.width_step


def stored_spec(values: dict[str, Any]) -> ImageSpec:
    """Return the image spec that was stored with a pack, a run or a model.

    What was made before there was a size of writing takes it as it comes, and rulings as well.

    Raises:
        OptionError: for a name that an image spec does not know, or a value that it cannot have.
    """
    return from_json(ImageSpec, {"writing": 0.0, "rulings": "keep"} | values)


def decode(source: Source) -> Grey:
    """Return the grey picture (h, w) uint8 of a path, encoded bytes, PIL image or array.

    Colour, palettes, CMYK, transparency, 16-bit and float values and EXIF rotation are resolved.

    Raises:
        ImageError: when it cannot be read, is too small or too large, or has several pages.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if isinstance(file, np.ndarray):
            return _grey_array(file)
        if isinstance(file, Image.Image):
            return _grey_picture(file)
        with _quietly(), _opened(file) as picture:
            if picture.format == "TIFF":
                numbers, _ = _page_numbers(picture)
                if len(numbers) > 1:
                    raise ImageError(
                        f"it has {len(numbers)} pages; give each as a picture of its own"
                    )
                picture.seek(numbers[0] if numbers else 0)
            picture.draft("L", picture.size)  # a JPEG then decodes its luma only
            return _grey_picture(picture)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        if isinstance(error, OSError) and error.strerror:  # the file, not what is in it
            raise ImageError(f"{source!s}: {error.strerror}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:
            formats = f"not an image in a format read here ({', '.join(FORMATS)})"
            reason = "it is empty" if _is_empty(source) else formats
        raise ImageError(f"cannot read the image: {reason}") from error


def pages(file: Path) -> Iterator[Image.Image | str]:
    """Yield each page of a file of several, or what is wrong with it; nothing of any other file."""
    try:
        with _quietly():
            picture = _opened(file)
            numbers, wrong = _page_numbers(picture)
    except Exception:  # whatever it is, `decode` says it
        return
    with picture:
        for number in numbers if len(numbers) > 1 or wrong else ():
            try:
                with _quietly():
                    picture.seek(number)
                    _check_size(picture.width, picture.height)
                    copied = picture.copy()
            except Exception as error:  # as in `decode`
                yield f"cannot read the page: {error}"
            else:
                yield copied
        if wrong:
            yield f"cannot read the page: {wrong}"


def _page_numbers(picture: Image.Image) -> tuple[list[int], str]:
    """Return the numbers of a picture's pages, and what is wrong with what follows, if it is.

    Small copies of a page, which some TIFFs have beside it, are none, unless all are said to be.
    """
    numbers: list[int] = []
    number = 0
    while True:
        try:
            picture.seek(number)
            kind = getattr(picture, "tag_v2", {}).get(SUBFILE, 0)
        except EOFError:
            return numbers or list(range(number)), ""
        except Exception as error:  # as in `decode`
            return numbers or list(range(number)), str(error)
        if not (isinstance(kind, int) and kind & SMALL_COPY):
            numbers.append(number)
        number += 1


def _opened(file: str | Path | io.BytesIO) -> Image.Image:
    """Open a picture."""
    picture = Image.open(file, formats=FORMATS)
    # Pillow maps uncompressed files that it knows by name, and mixes up the rows of turned ones.
    picture.filename = ""
    return picture


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Pillow's warnings from people: it warns, then reads on or raises, which is told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _is_empty(source: Source) -> bool:
    """Return whether a file, or encoded bytes, hold nothing."""
    if isinstance(source, str | Path):
        return Path(source).stat().st_size == 0
    return isinstance(source, bytes) and not source


def line_image(grey: Grey, spec: ImageSpec) -> Grey:
    """Return the line image (spec.height, w) uint8 of a grey picture; w is its true width."""
    grey = _trimmed(_levels(grey), spec)
    if spec.rulings != "keep":
        without = _without_rulings(grey, boxes_alone=spec.rulings == "boxes")
        grey = grey if without is grey else _trimmed(without, spec)
    if spec.fit == "crop":
        return _pasted(grey[: spec.height, : spec.max_width], spec.height, spec.max_width, 0)
    if spec.fit == "stretch":
        return _resized(grey, spec.max_width, spec.height)
    height, width = grey.shape
    scale = min(spec.height / height, spec.max_width / width, spec.max_scale)
    if spec.writing:
        return _for_writing(grey, scale, spec)
    return _centred(grey, scale, spec.height)


def line_image_or_reason(source: Source, spec: ImageSpec) -> Grey | str:
    """Return the line image (spec.height, w) uint8 of a picture, or why there is none."""
    try:
        return line_image(decode(source), spec)
    except ImageError as error:
        return str(error)


def has_ink(line: Grey) -> bool:
    """Return whether there is anything on a line image; thin strokes may be grey, drawn small."""
    return bool(line.min() < PAPER)


def smaller(line: Grey) -> Grey:
    """Return a line image (H, w) drawn smaller in the middle of one (H, SMALLER * w)."""
    return _centred(line, SMALLER, line.shape[0])


def redrawn(grey: Grey, scale: float, height: int) -> Grey:
    """Return a picture (h, w) at `scale` as a line image (height, scale * w).

    Where not all rows have room, they are those with most writing.
    """
    rows = max(1, int(height / scale))
    if rows < len(grey):
        grey = grey[densest_rows(grey < INK, rows)]
    return _centred(grey, scale, height)


def needed_rows(line: Grey, step: int) -> slice:
    """Return the rows of a line image (H, w) that hold its ink, about as many above it as below.

    They are a multiple of `step`, half of H at least, and have room for an edge of a pixel. A
    `step` of 0 needs all rows.
    """
    height = len(line)
    if not step:
        return slice(0, height)
    inked = np.flatnonzero(line.min(axis=1) < INK)
    if not len(inked):
        return slice(0, height)
    first, end = int(inked[0]), int(inked[-1]) + 1
    count = -(-max(end - first + 2, height // 2) // step) * step
    if count >= height:
        return slice(0, height)
    top = (max(end - count, 0) + min(first, height - count)) // 2  # of all tops that will do
    return slice(top, top + count)


def cut_rows(line: Grey, step: int) -> Grey:
    """Return the rows of a line image that a network with that height step sees: a view."""
    return line[needed_rows(line, step)]


def on_canvas(images: list[Grey], width: int) -> np.ndarray:
    """Return line images (H, w) side by side on one canvas: (N, 1, H, width) uint8."""
    batch = np.full((len(images), 1, images[0].shape[0], width), PAPER, dtype=np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[0, :, : image.shape[1]] = image
    return batch


def _levels(grey: Grey) -> Grey:
    """Stretch ink to 0 and paper to 255; paper is what most of the picture is made of."""
    low, paper, high = _extent(grey)
    if high - low < MIN_CONTRAST:
        return np.full_like(grey, PAPER)
    if paper - low < high - paper:  # white on black
        grey, low, paper = 255 - grey, 255 - high, 255 - paper
    if paper < PAPER:  # no light falls unevenly on paper that is all white
        grey = _even(grey)
        low, paper, _ = _extent(grey)
    if (low, paper) == (0, PAPER):  # every other scanned name
        return grey
    return np.asarray(_stretch(low, paper).take(grey))  # half the time of [grey]


@cache
def _stretch(low: int, paper: int) -> np.ndarray:
    """Return what each grey level becomes when `low` is to be 0 and `paper` 255: (256,) uint8."""
    table = (np.arange(256) - low) * (255 / max(1, paper - low))
    return np.asarray(np.round(np.clip(table, 0, PAPER)), dtype=np.uint8)


def _extent(grey: Grey) -> tuple[int, int, int]:
    """Return the grey levels of what is darkest and lightest and, in the middle, the median.

    Darkest are 0.2 % of the pixels, or a tenth of the dark ones where these are few: a short name
    on a large sheet. Less than `SPECK` of them are no writing.
    """
    ink = np.compress((grey < PAPER).ravel(), grey)  # most of a crop is white, and is not counted
    counts = np.bincount(ink, minlength=256)
    counts[PAPER] = grey.size - ink.size
    until = counts.cumsum()
    paper = int(until.searchsorted(grey.size / 2))
    dark = int(until[max(0, paper - MIN_CONTRAST)])
    light = grey.size - int(until[min(PAPER, paper + MIN_CONTRAST)])
    few = [min(grey.size * 0.002, max(SPECK, each * 0.1)) for each in (dark, light)]
    low, high = until.searchsorted([few[0], grey.size - few[1]])
    return int(low), paper, int(high)


def _even(grey: Grey) -> Grey:
    """Divide out light that changes along the line, seen on the paper of each square of it."""
    blocks = np.array_split(grey, max(1, round(grey.shape[1] / max(grey.shape[0], 16))), axis=1)
    light = np.array([np.percentile(block, 80) for block in blocks])
    if light.max() - light.min() < UNEVEN or light.min() < UNEVEN:
        return grey
    widths = np.array([block.shape[1] for block in blocks])
    along = np.interp(np.arange(grey.shape[1]), widths.cumsum() - widths / 2, light)
    return np.asarray(np.minimum(grey * (light.max() / along), PAPER), dtype=np.uint8)


def _trimmed(grey: Grey, spec: ImageSpec) -> Grey:
    """Cut blank sides and rows off, as the image spec has it."""
    if spec.trim != "none":
        grey = _trim_sides(grey)
    return _trim_rows(grey, spec.height) if spec.trim == "all" else grey


def _trim_sides(grey: Grey) -> Grey:
    """Cut blank columns off both sides, leaving a margin of a tenth of the height."""
    columns = np.flatnonzero(grey.min(axis=0) < INK)
    if not len(columns):
        return grey
    margin = max(2, grey.shape[0] // 10)
    return grey[:, max(0, columns[0] - margin) : columns[-1] + 1 + margin]


def _trim_rows(grey: Grey, least: int) -> Grey:
    """Cut blank rows off a picture that is higher than `least`, down to `least` rows."""
    rows = np.flatnonzero(grey.min(axis=1) < INK)
    if not len(rows) or grey.shape[0] <= least:
        return grey
    margin = max(2, (rows[-1] - rows[0]) // 10)
    top, bottom = rows[0] - margin, rows[-1] + 1 + margin
    missing = max(0, least - (bottom - top))
    top = min(max(0, top - missing // 2), grey.shape[0] - least)
    return grey[top : max(bottom, top + least)]


def _without_rulings(grey: Grey, *, boxes_alone: bool) -> Grey:
    """Return the picture without rulings, turned so that they were level; itself without any."""
    ink = grey < INK
    rows_down = descent(ink)
    if rows_down is None:
        return grey
    found = rulings(ink, rows_down, boxes_alone=boxes_alone)
    if not found.any():
        return grey
    grey = np.where(found, np.uint8(PAPER), grey)
    degrees = math.degrees(math.atan2(rows_down, grey.shape[1]))
    turned = Image.fromarray(grey).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=PAPER)
    return np.asarray(turned)


def _for_writing(grey: Grey, scale: float, spec: ImageSpec) -> Grey:
    """Return the picture at `scale`, or at what brings its writing within the slack."""
    large = writing_size(grey < INK) * scale / (spec.writing * spec.height)
    times = min(max(large, 1 / spec.slack), spec.slack) / large if large else 1.0
    if times != 1:
        scale = min(scale * times, ENLARGED, spec.max_width / grey.shape[1])
        return redrawn(grey, scale, spec.height)
    return _centred(grey, scale, spec.height)


def _centred(grey: Grey, scale: float, height: int) -> Grey:
    """Return the picture scaled, in the middle of as many rows as `height`."""
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    scaled = grey if size == grey.shape[::-1] else _resized(grey, *size)
    return _pasted(scaled, height, size[0], (height - size[1]) // 2)


def _pasted(grey: Grey, height: int, width: int, top: int) -> Grey:
    if grey.shape == (height, width):
        return grey
    image = np.full((height, width), PAPER, dtype=np.uint8)
    image[top : top + grey.shape[0], : grey.shape[1]] = grey
    return image


def _resized(grey: Grey, width: int, height: int) -> Grey:
    # Pillow's bilinear filter widens with the reduction, so thin strokes fade but never vanish.
    picture = Image.fromarray(np.ascontiguousarray(grey))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _grey_picture(picture: Image.Image) -> Grey:
    _check_size(picture.width, picture.height)
    if picture.mode == "L" and picture.format == "JPEG" and "exif" not in picture.info:
        return np.asarray(picture)  # the common case, nothing to resolve
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        return _grey_array(np.asarray(picture))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        return _over_paper(np.asarray(picture.convert("RGBA").convert("LA")))
    if picture.mode not in ("1", "L", "RGB"):
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("L"))


def _over_paper(grey_alpha: np.ndarray) -> Grey:
    """Lay (h, w, 2) grey and alpha over white, or over black when what is visible is light."""
    grey, alpha = grey_alpha[..., 0].astype(np.float32), grey_alpha[..., 1] / np.float32(255)
    light = (grey * alpha).sum() > 128 * max(float(alpha.sum()), 1.0) and float(alpha.min()) < 0.5
    paper = 0 if light else PAPER
    return np.asarray(np.round(grey * alpha + paper * (1 - alpha)), dtype=np.uint8)


def _grey_array(array: np.ndarray) -> Grey:
    """Return any image array as (h, w) uint8; other than 8-bit values are scaled to their range."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"an image array is (h, w) or (h, w, 1..4), not {array.shape}")
    _check_size(array.shape[1], array.shape[0])
    if array.dtype != np.uint8:
        array = _eight_bit(array)
    if array.ndim == 2:
        return array
    if array.shape[2] == 1:
        return array[..., 0]
    if array.shape[2] == 2:
        return _over_paper(array)
    mode = "RGB" if array.shape[2] == 3 else "RGBA"
    return _grey_picture(Image.frombytes(mode, array.shape[1::-1], array.tobytes()))


def _eight_bit(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise ImageError(f"cannot read the image: an array of {array.dtype}, not of numbers")
    values = array.astype(np.float64)
    values[~(np.abs(values) < LARGEST)] = 0.0  # infinite, no number, or beyond all measure
    low, high = min(float(values.min()), 0.0), float(values.max())  # pale paper stays pale
    if high == low:
        return np.full(array.shape, PAPER, dtype=np.uint8)
    return np.asarray((values - low) * (255 / (high - low)), dtype=np.uint8)


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"the image is {width} x {height} pixels; at least {MIN_SIDE} a side")
    if max(width, height) > LONGEST * min(width, height):
        raise ImageError(
            f"the image is {width} x {height} pixels, one side over {LONGEST:,} times the other; "
            "cut lines out of it first"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the image is {width} x {height} pixels, over the limit of {MAX_PIXELS:,}; "
            "cut lines out of it first"
        )
