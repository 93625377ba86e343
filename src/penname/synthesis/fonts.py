"""Fonts: names drawn letter by letter in handwriting fonts, straight from a zip of TTF files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
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
SIZES = (18, 22, 27, 33, 40)  # heights of a capital; few, for a face in memory is a whole file
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

    def at(self, cap: int) -> ImageFont.FreeTypeFont:
        """Return the font whose capitals are about `cap` half pixels high."""
        nearest = min(SIZES, key=lambda size: abs(size - cap))
        return _opened(self, round(nearest / self.ratio))


class Fonts:
    """Writers that are fonts."""

    def __init__(self, faces: list[Face]) -> None:
        """Take faces that have all capitals."""
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
                files = [(Path(name).stem, archive.read(name)) for name in names]
        except (OSError, zipfile.BadZipFile) as error:
            raise GroundTruthError(f"{path}: cannot read the fonts ({error})") from None
        faces = [face for name, data in files if (face := _face(name, data))]
        if not faces:
            raise GroundTruthError(f"{path}: no font with the capitals A-Z; add TTF files")
        return cls(faces)

    def write(self, drawn: str, hand: Hand, max_width: int, rng: np.random.Generator) -> Ink:
        """Return the ink of the drawn characters in one font."""
        faces = self._plain if rng.random() < PLAIN_SHARE else self._fancy
        face = faces[rng.integers(len(faces))]
        font = face.at(hand.cap)
        boxes = np.array([_box(font, c, face.ratio) for c in drawn])  # (L, 2) left and right
        left, width = places(boxes[:, 1] - boxes[:, 0], hand, max_width, rng)
        picture = Image.new("L", (width, canvas_height(hand.cap)))
        pen = ImageDraw.Draw(picture)
        wobble = rng.normal(0, hand.wobble * hand.cap, len(drawn))
        for character, x, y in zip(drawn, left - boxes[:, 0], wobble, strict=True):
            pen.text((x, base_row(hand.cap) + y), character, font=font, fill=255, anchor="ls")
        return with_thickness(warped(np.asarray(picture), hand, rng), hand.thickness)


def _face(name: str, data: bytes) -> Face | None:
    """Return the face, or nothing when it lacks capitals (they look like the missing sign)."""
    font = ImageFont.truetype(io.BytesIO(data), 64)
    signs = {bytes(font.getmask(c)) for c in (*CAPITALS, "\uffff")}
    top = -font.getbbox("H", anchor="ls")[1]
    return Face(name, data, top / 64) if len(signs) > len(CAPITALS) - 1 and top > 8 else None


@lru_cache(maxsize=512)
def _opened(face: Face, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(face.data), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65536)
def _box(font: ImageFont.FreeTypeFont, character: str, ratio: float) -> tuple[float, float]:
    if character == " ":
        return 0.0, 0.55 * font.size * ratio
    left, _, right, _ = font.getbbox(character, anchor="ls")
    return left, max(right, left + 1)
