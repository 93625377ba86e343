"""Look of names: what a crop of a French school form holds besides a name, and where.

Sizes, places and shares were measured on the Kaggle names crops: 35 % are 388 pixels wide with a
printed "NOM :" or "PRENOM :" at the left, 25 % are 324 x 44 and plain, 40 % are 284 wide, where
the printed word stands above the name or is cut off. All lengths here are in pixels of the crop;
`Sheet` doubles them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from penname.synthesis.ink import SCALE, Ink, base_row
from penname.synthesis.paper import BOLD, THIN, Sheet, printed

Neighbour = Callable[[str], tuple[Ink, int]]  # "code" or "date" -> ink and capital height
CUT = 0.06  # of names in a frame that allows it are cut by the upper or lower edge, by up to 30 %


@dataclass(frozen=True)
class Frame:
    """One kind of crop: its size, and where a name may stand in it."""

    share: float
    width: int
    height: tuple[int, int]
    left: tuple[float, float]  # of the name
    base: tuple[float, float]  # of the name, from the top; negative from the bottom
    decorate: Callable[[Sheet, float, np.random.Generator, Neighbour], None]
    cuts: bool = False  # names may be cut by an edge; elsewhere print stands there


def _plain(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """Nothing but the name."""


def _label_left(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """NOM : at the left, the foot of the school's code above."""
    x = float(rng.choice((0.0, 3.0, 5.0, 12.0)) + rng.uniform(-2, 2))
    row = base - rng.uniform(0, 4)
    sheet.put(printed("NOM :", 37, bold=True), x, row - BOLD)
    above = row - rng.uniform(23, 24.5)
    if above > -1:
        sheet.put(printed("CODE RNE / UAI :", 108, bold=True), x, above - BOLD)
    if above > -4:
        _pen(sheet, "code", x + rng.uniform(112, 122), above + rng.uniform(0, 4), write)
    if x > 8:
        _page_number(sheet, x - rng.uniform(0, 3), rng)


def _forename_left(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """PRENOM : at the left, a turned page number over its first letter, the birth date below."""
    x = float(rng.uniform(-3, 11))
    row = float(rng.uniform(14.5, 16))
    sheet.put(printed("PRENOM :", 64, bold=True), x, row - BOLD)
    if x > 2 or rng.random() < 0.3:
        _page_number(sheet, x + rng.uniform(-1, 8), rng)
    below = row + rng.uniform(22, 24.5)
    if below - 14 < sheet.ink.shape[0] / SCALE:
        sheet.put(printed("NE(E) LE :", 66, bold=True), x, below - BOLD)
        _pen(sheet, "date", x + rng.uniform(75, 95), below + rng.uniform(0, 3), write)
        if rng.random() < 0.6:
            sheet.put(printed("CLASSE :", 62, bold=True), x + rng.uniform(250, 262), below - BOLD)


def _label_above(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """NOM over the name, the foot of the school's code at the top right."""
    x = float(rng.uniform(29, 37))
    row = base - rng.uniform(21.5, 24)
    sheet.put(printed("NOM", 28), x, row - THIN)
    above = row - rng.uniform(14, 16.5)
    sheet.put(printed("CODE UAI / RNE", 97), x, above - THIN - 2)
    if rng.random() < 0.85:
        _pen(sheet, "code", rng.uniform(148, 160), above + rng.uniform(-2, 2), write)


def _forename_above(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """PRENOM well over the name, the head of the next line of print below."""
    x = float(rng.uniform(28, 45))
    row = float(rng.uniform(14.5, 16))
    sheet.put(printed("PRENOM", 54), x, row - THIN)
    _next_line(sheet, x, row + 47, rng)


def _cut_above(sheet: Sheet, base: float, rng: np.random.Generator, write: Neighbour) -> None:
    """The feet of a printed word at the top edge, or the heads of the next line at the bottom."""
    u = rng.random()
    if u < 0.22:
        word, width = ("PRENOM", 54) if rng.random() < 0.6 else ("NOM", 28)
        sheet.put(printed(word, width), rng.uniform(18, 36), rng.uniform(1, 3.5) - THIN)
    elif u < 0.3:
        _next_line(sheet, rng.uniform(15, 25), sheet.ink.shape[0] / SCALE - rng.uniform(1, 5), rng)


def _next_line(sheet: Sheet, x: float, top: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.85:
        sheet.put(printed("DATE DE NAISSANCE", 130), x, top)
    else:
        sheet.put(printed("NE(E) LE", 58), x, top)
    sheet.put(printed("CLASSE", 47), x + 145, top)


FRAMES = (
    Frame(0.19, 388, (36, 36), (78, 97), (24, 33), _label_left, cuts=True),
    Frame(0.16, 388, (15, 35), (80, 96), (16, 20), _forename_left),
    Frame(0.25, 324, (44, 44), (7, 15), (29, 34), _plain, cuts=True),
    Frame(0.23, 284, (31, 31), (14, 26), (20, 27), _cut_above, cuts=True),
    Frame(0.075, 284, (45, 50), (20, 36), (38, 43), _label_above),
    Frame(0.095, 284, (62, 72), (18, 36), (47, 53), _forename_above),
)
PLAIN_FRAME = Frame(1.0, 284, (34, 48), (4, 24), (-16, -10), _plain)
_SHARES = np.cumsum([frame.share for frame in FRAMES])


def a_frame(look: str, rng: np.random.Generator) -> Frame:
    """Return one kind of crop of the look "names", or the one of "plain"."""
    if look == "plain":
        return PLAIN_FRAME
    return FRAMES[int(np.searchsorted(_SHARES, rng.random() * _SHARES[-1], "right"))]


def place(
    sheet: Sheet, name: Ink, cap: int, frame: Frame, rng: np.random.Generator
) -> tuple[float, float]:
    """Lay the name on the sheet where the frame has it; return its left end and its baseline.

    The name's ink must fit the sheet's width. It is made lower where it is too high, and stands
    whole but for a share `CUT` where the frame allows that.
    """
    height = sheet.ink.shape[0]
    rows = np.flatnonzero(name.max(axis=1))
    squeeze = 1.0
    if len(rows) and (tall := rows[-1] + 1 - rows[0]) > height:
        size = name.shape[1], int(name.shape[0] * height / (tall + 2))
        squeeze = size[1] / name.shape[0]
        name = np.asarray(Image.fromarray(name).resize(size, Image.Resampling.BILINEAR))
        rows = np.flatnonzero(name.max(axis=1))
    base = float(rng.uniform(*frame.base))
    foot = base_row(cap) * squeeze
    top = (base if base > 0 else height / SCALE + base) * SCALE - foot
    if len(rows):
        highest, lowest = -rows[0], height - rows[-1] - 1
        top = float(np.clip(top, highest, lowest))
        if frame.cuts and rng.random() < CUT:
            off = float(rng.uniform(0.05, 0.3)) * (rows[-1] - rows[0])
            top = highest - off if rng.random() < 0.5 else lowest + off
    room = (sheet.ink.shape[1] - name.shape[1]) / SCALE - 2
    left = min(float(rng.uniform(*frame.left)), max(room, 1.0))
    sheet.put(name, left, top / SCALE)
    return left, float((top + foot) / SCALE)


def fitted(name: Ink, width: int) -> Ink:
    """Return the name, made narrower where it is wider than a sheet of `width` half pixels."""
    if name.shape[1] <= width - 8:
        return name
    size = width - 8, name.shape[0]
    return np.asarray(Image.fromarray(name).resize(size, Image.Resampling.BILINEAR))


def _pen(sheet: Sheet, kind: str, x: float, base: float, write: Neighbour) -> None:
    """Lay a neighbour's ink with its baseline at row `base`."""
    ink, cap = write(kind)
    sheet.put(ink, x, base - base_row(cap) / SCALE)


def _page_number(sheet: Sheet, right: float, rng: np.random.Generator) -> None:
    """Lay a page number, turned to read upwards, so that it ends at column `right`."""
    text = "".join(f"{rng.integers(100):02d}:" for _ in range(3))[: rng.integers(2, 9)]
    number = np.rot90(printed(text, round(6.2 * len(text)), bold=True))
    left = right - number.shape[1] / SCALE
    sheet.wipe(left - 3, right)
    height = sheet.ink.shape[0] / SCALE
    sheet.put(number, left, rng.uniform(0.2, 0.9) * height - number.shape[0] / SCALE * rng.random())
    if rng.random() < 0.6:
        sheet.put(np.full((sheet.ink.shape[0], 1), 255, np.uint8), left - rng.uniform(2, 5), 0)
