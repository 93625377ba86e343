"""Fonts: names drawn letter by letter in handwriting fonts, straight from a zip of TTF files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from penname.errors import GroundTruthError
from penname.synthesis.ink import (
    Hand,
    Ink,
    base_row,
    canvas_height,
    places,
    warped,
    with_thickness,
)

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WANTED = (  # characters a face is asked for when it is loaded
    "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~£§«°»ÀÂÄÇÈÉÊËÎÏÔÖÙÛÜßàáâäæçèéêëíîïñóôöùúûüŒœ–—’€"
    + LETTERS
    + CAPITALS
)
SIZES = (18, 22, 27, 33, 40, 48)  # heights of a capital; few, for a face in memory is a whole file
ORNATE = 0.05  # of names begin with a larger letter of a font with flourishes
CURSIVE_SHARE = 0.55  # of joined running text goes to fonts whose small letters touch
PLAIN_SHARE = 0.9  # of names go to fonts whose capitals look like a pupil's
# Chosen by eye: capitals without flourishes.
_PLAIN_NAMES = """
amatic-sc annie-use-your-telescope architects-daughter averia-libre bad-script beth-ellen
black-and-white-picture caveat-brush caveat chilanka coming-soon courgette
covered-by-your-grace crafty-girls cute-font dekko delicious-handrawn delius
edu-au-vic-wa-nt-hand edu-au-vic-wa-nt-pre edu-nsw-act-cursive edu-nsw-act-foundation
edu-qld-beginner edu-sa-beginner edu-sa-hand edu-tas-beginner edu-vic-wa-nt-beginner
edu-vic-wa-nt-hand fuzzy-bubbles gaegu gamja-flower give-you-glory gloria-hallelujah gochi-hand
gowun-dodum grape-nuts grechen-fuemen hachi-maru-pop handlee hi-melody indie-flower itim julee
just-another-hand just-me-again-down-here kalam kavivanar kirang-haerang kiwi-maru klee-one
kristi la-belle-aurore liu-jian-mao-cao long-cang loved-by-the-king mali mansalva montez
mynerve nanum-brush-script nanum-pen-script nerko-one neucha nothing-you-could-do oooh-baby
over-the-rainbow pangolin patrick-hand-sc patrick-hand permanent-marker playpen-sans
playwrite-at playwrite-au-qld playwrite-au-vic playwrite-de-grund playwrite-de-sas
playwrite-es playwrite-fr-moderne playwrite-ie playwrite-it-moderna playwrite-ng-modern
playwrite-nz playwrite-us-modern playwrite-za poor-story puppies-play rancho reenie-beanie
rock-salt schoolbell sedgwick-ave sedgwick-ave-display shadows-into-light-two
shadows-into-light short-stack single-day sniglet square-peg sriracha sue-ellen-francisco
sunflower sunshiney swanky-and-moo-moo the-girl-next-door vibur waiting-for-the-sunrise
walter-turncoat yeon-sung yomogi yuji-boku zeyada
"""
PLAIN = frozenset(_PLAIN_NAMES.split())


@dataclass(frozen=True)
class Face:
    """One font file; `ratio` is the height of its capitals over its size."""

    name: str
    data: bytes
    ratio: float
    characters: frozenset[str]
    cursive: bool  # its small letters touch

    def at(self, cap: int) -> ImageFont.FreeTypeFont:
        """Return the font whose capitals are about `cap` half pixels high."""
        nearest = min(SIZES, key=lambda size: abs(size - cap))
        return _opened(self, round(nearest / self.ratio))


class Fonts:
    """Writers that are fonts."""

    def __init__(self, faces: list[Face]) -> None:
        """Take faces that have all capitals."""
        self._faces = faces
        self._cursive = [face for face in faces if face.cursive] or faces
        self._plain = [face for face in faces if face.name in PLAIN] or faces
        self._fancy = [face for face in faces if face.name not in PLAIN] or faces

    @classmethod
    def load(cls, path: Path) -> Fonts:
        """Read every TTF file of the zip at `path` that has all capitals.

        Raises:
            GroundTruthError: when the zip is missing, damaged or has no such font.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(n for n in archive.namelist() if n.lower().endswith(".ttf"))
                visible = [name for name in names if not Path(name).name.startswith(".")]
                files = [(Path(name).stem, archive.read(name)) for name in visible]
        except (OSError, zipfile.BadZipFile) as error:
            raise GroundTruthError(f"{path}: cannot read the fonts ({error})") from None
        faces = [face for name, data in files if (face := _face(path, name, data))]
        if not faces:
            raise GroundTruthError(f"{path}: no font with the capitals A-Z; add TTF files")
        return cls(faces)

    def can_write(self, text: str) -> bool:
        """Return whether one of the fonts has every character."""
        return any(face.characters.issuperset(text.replace(" ", "")) for face in self._faces)

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters in one font that has them."""
        face = self._face(drawn, hand, rng)
        font = face.at(hand.cap)
        units = drawn.split(" ") if hand.joined else list(drawn)
        if hand.joined:  # words stand apart as letters do elsewhere
            hand = replace(hand, gap=hand.space, spread=0.1 * hand.cap, pitch=0.0)
        fonts = [font] * len(units)
        if drawn[0] in CAPITALS and not hand.joined and rng.random() < ORNATE:
            fonts[0] = self._fancy[rng.integers(len(self._fancy))].at(round(1.25 * hand.cap))
        boxes = np.array(  # (L, 2) left and right
            [_box(f, unit, face.ratio, hand.space) for f, unit in zip(fonts, units, strict=True)]
        )
        left, width = places(boxes[:, 1] - boxes[:, 0], hand, max_width, rng)
        picture = Image.new("L", (width, canvas_height(hand.cap)))
        pen = ImageDraw.Draw(picture)
        wobble = rng.normal(0, hand.wobble * hand.cap, len(units))
        for f, unit, x, y in zip(fonts, units, left - boxes[:, 0], wobble, strict=True):
            pen.text((x, base_row(hand.cap) + y), unit, font=f, fill=255, anchor="ls")
        return with_thickness(
            warped(np.asarray(picture), hand, rng), hand.thickness, thinned=not hand.running
        )

    def _face(self, drawn: str, hand: Hand, rng: np.random.Generator) -> Face:
        """Return a face that has the characters: for names mostly a plain one."""
        needed = set(drawn) - {" "}
        faces = self._faces
        if not hand.running:
            faces = self._plain if rng.random() < PLAIN_SHARE else self._fancy
        elif hand.joined and rng.random() < CURSIVE_SHARE:
            faces = self._cursive
        able = [face for face in faces if face.characters >= needed]
        able = able or [face for face in self._faces if face.characters >= needed] or faces
        return able[rng.integers(len(able))]


def _face(path: Path, name: str, data: bytes) -> Face | None:
    """Return the face in a zip, or nothing when it lacks capitals."""
    try:
        has = _characters(data)
        font = ImageFont.truetype(io.BytesIO(data), 64, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise GroundTruthError(f"{path}: {name}.ttf is damaged ({error!r}); take it out") from None
    top = -font.getbbox("H", anchor="ls")[1]
    if not has.issuperset(CAPITALS) or top <= 8:
        return None
    mask = font.getmask("nunmu")
    columns = np.asarray(mask, np.uint8).reshape(mask.size[::-1]).max(axis=0, initial=0)
    inked = np.trim_zeros(columns)  # none of small letters that are blank
    return Face(name, data, top / 64, has, cursive=len(inked) > 0 and bool(inked.min() > 60))


def _characters(data: bytes) -> frozenset[str]:
    """Return what of `WANTED` a TrueType file has a glyph for, by its cmap table (format 4)."""
    tables = {data[i : i + 4]: i for i in range(12, 12 + 16 * _u16(data, 4)[0], 16)}
    cmap = int.from_bytes(data[tables[b"cmap"] + 8 : tables[b"cmap"] + 12])
    for i in range(_u16(data, cmap + 2)[0]):
        at = cmap + int.from_bytes(data[cmap + 8 + 8 * i : cmap + 12 + 8 * i])
        if _u16(data, at)[0] == 4:
            break
    else:
        return frozenset()
    count = _u16(data, at + 6)[0] // 2
    last = _u16(data, at + 14, count)
    first, delta, skip = (_u16(data, at + 16 + 2 * count * k, count) for k in (1, 2, 3))
    found = set()
    for character in WANTED:
        code = ord(character)
        k = int(np.searchsorted(last, code))
        if first[k] > code:
            continue
        glyph = code
        if skip[k]:  # counted from where it stands
            here = at + 16 + 6 * count + 2 * k
            glyph = _u16(data, here + skip[k] + 2 * (code - first[k]))[0]
        if glyph and (glyph + delta[k]) % 65536:
            found.add(character)
    return frozenset(found)


def _u16(data: bytes, at: int, count: int = 1) -> np.ndarray:
    return np.frombuffer(data, ">u2", count, int(at)).astype(np.int64)


@lru_cache(maxsize=512)
def _opened(face: Face, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(face.data), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65536)
def _box(
    font: ImageFont.FreeTypeFont, unit: str, ratio: float, space: float
) -> tuple[float, float]:
    if unit in ("", " "):
        return 0.0, space * font.size * ratio
    left, _, right, _ = font.getbbox(unit, anchor="ls")
    return left, max(right, left + 1)
