"""Render: one synthetic crop with its text, from one generator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from penname.errors import OptionError
from penname.synthesis import look_lines, look_names
from penname.synthesis.damage import Spot, damaged
from penname.synthesis.ink import SCALE, Hand
from penname.synthesis.paper import Sheet, developed, pressed
from penname.synthesis.texts import as_written

if TYPE_CHECKING:
    from penname.synthesis.kit import Kit, SynthOptions

FAINT = 0.02  # of names are in ink so pale that some of it is lost
JOINED = 0.5  # of names in small letters are written in one go


def render(
    text: str | None, rng: np.random.Generator, kit: Kit, options: SynthOptions
) -> tuple[np.ndarray, str, str]:
    """Return one crop (h, w) uint8, its text and its ink source; `None` picks a text."""
    source = _source(options, rng, own_text=text is None)
    if options.look == "lines":
        hand = Hand.of_line(rng)
        ink, text = kit.line(source, text, hand, rng)
        grey = look_lines.developed(ink, hand, kit.others(source), kit.grain, rng)
        return grey, text, source
    text = kit.texts.pick(rng, options.invented) if text is None and source != "words" else text
    return *_name(text, source, rng, kit, options.look), source


def _name(
    text: str | None, source: str, rng: np.random.Generator, kit: Kit, look: str
) -> tuple[np.ndarray, str]:
    frame = look_names.a_frame(look, rng)
    sheet = Sheet(frame.width, int(rng.integers(frame.height[0], frame.height[1] + 1)))
    hand = Hand.drawn(rng)
    room = sheet.ink.shape[1] - round(frame.left[1] * SCALE) - 4
    if text is None:
        name, text = kit.words.write(hand, room, rng)
    else:
        drawn = as_written(text, rng)
        small = sum(c.islower() for c in drawn) > len(drawn) / 2
        hand = replace(hand, joined=small and rng.random() < JOINED)
        name = kit.writer(source).write(drawn, hand, room, rng)
    limit = int(rng.integers(300, 530))
    name = look_names.fitted(name, sheet.ink.shape[1])
    name = pressed(name, limit, rng, faint=look == "names" and rng.random() < FAINT)
    left, base = look_names.place(sheet, name, hand.cap, frame, rng)
    others = kit.neighbours(source)
    if look == "names":
        ends = left * SCALE, left * SCALE + name.shape[1]
        spot = Spot(*ends, base * SCALE, hand.cap, hand.thickness)
        damaged(sheet, spot, lambda: others.near("code", hand.thickness, rng)[0], rng)
    frame.decorate(sheet, base, rng, lambda kind: others.near(kind, hand.thickness, rng))
    return developed(sheet, limit, kit.grain, rng), text


def _source(options: SynthOptions, rng: np.random.Generator, *, own_text: bool) -> str:
    weights = {n: w for n, w in options.weights.items() if own_text or n != "words"}
    if sum(weights.values()) <= 0:
        raise OptionError("recorded words cannot write a given text; give another source weight")
    sums = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(sums, rng.random() * sums[-1], "right"))]
