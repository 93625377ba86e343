"""Make new names of real handwriting: the beginning of one crop and the end of another.

A network that sees ten thousand names often enough learns the names; pieces of them joined anew
are real ink whose text no list of names foretells. Crops are cut only where no ink stands between
two letters, and joined only to crops written about as large, at the same height.

Usage: recombine.py cuts PACK MODEL CUTS.json    where a model finds the gaps of a pack's lines
       recombine.py join PACK CUTS.json OUT LINES SEED    a pack of new lines
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from penname import ctc
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.line_image import on_canvas
from penname.recognizer import Recognizer

SURE = 0.5  # least share of the label itself: other labels may be wrong
CLEAR = 40  # most ink (255 a black pixel) in a column that may be cut
ALIKE = 1.25  # largest ratio of the heights of two hands that are joined
LETTERS = 14  # longest new name


@dataclass(frozen=True)
class Piece:
    """A crop, its text, where it may be cut, and where its writing stands (rows)."""

    line: np.ndarray
    text: str
    cuts: dict[int, int]  # number of characters before the cut -> column
    middle: float
    height: float


def gaps(line: np.ndarray, spans: tuple[ctc.Span, ...], stride: int) -> dict[int, int]:
    """Return the clear columns between characters, by the number of characters before them."""
    ink = (255 - line.astype(np.int64)).clip(min=64) - 64  # paper is not quite white
    columns = ink.sum(axis=0)
    found = {}
    for i, (left, right) in enumerate(pairwise(spans)):
        start = (left.start + left.end) * stride // 2
        stop = min((right.start + right.end) * stride // 2, len(columns))
        if start < stop:
            clear = start + np.flatnonzero(columns[start:stop] <= CLEAR)
            if len(clear):
                found[i + 1] = int(clear[len(clear) // 2])
    return found


def find_cuts(pack: Pack, recognizer: Recognizer) -> dict[str, dict[str, float]]:
    """Return the gaps of the lines whose label the model believes, as shares of their widths."""
    model, found = recognizer.model, {}
    for i, text in enumerate(pack.texts):
        line = pack.image(i)
        width = pack.spec.canvas_width(line.shape[1])
        log_probs = recognizer.network(on_canvas([line], width))
        labels = tuple(model.alphabet.encode(text).tolist())
        if not labels or ctc.log_likelihood(log_probs, [labels])[0] < np.log(SURE):
            continue
        spans = ctc.align(log_probs, [labels], model.alphabet)[0].characters
        cuts = gaps(line, spans, model.stride)
        if cuts:
            found[pack.ids[i]] = {str(n): x / line.shape[1] for n, x in cuts.items()}
    return found


def pieces(pack: Pack, cuts: dict[str, dict[str, float]]) -> list[Piece]:
    """Return the crops that can be cut."""
    made = []
    for i, (name, text) in enumerate(zip(pack.ids, pack.texts, strict=True)):
        if name not in cuts:
            continue
        line = pack.image(i)
        places = {int(n): round(x * line.shape[1]) for n, x in cuts[name].items()}
        rows = (255 - line[:, min(places.values()) :].astype(np.float64)).sum(axis=1)  # (H,)
        rows /= rows.sum() or 1.0
        middle = float(rows @ np.arange(len(rows)))
        height = float(np.sqrt(rows @ (np.arange(len(rows)) - middle) ** 2))
        made.append(Piece(line, text, places, middle, max(height, 1.0)))
    return made


def join(one: Piece, other: Piece, rng: np.random.Generator) -> Piece | None:
    """Return the beginning of one and the end of the other, or nothing if they do not fit."""
    if not 1 / ALIKE < one.height / other.height < ALIKE:
        return None
    left = int(rng.choice(list(one.cuts)))
    right = int(rng.choice(list(other.cuts)))
    text = one.text[:left] + other.text[right:]
    if len(text) > LETTERS:
        return None
    head, tail = one.line[:, : one.cuts[left]], other.line[:, other.cuts[right] :]
    shift = round(one.middle - other.middle)
    moved = np.full_like(tail, 255)
    source = tail[max(0, -shift) : len(tail) - max(0, shift)]
    moved[max(0, shift) : max(0, shift) + len(source)] = source
    cuts = {n: x for n, x in one.cuts.items() if n <= left}
    cuts |= {
        n - right + left: x - other.cuts[right] + one.cuts[left]
        for n, x in other.cuts.items()
        if n > right
    }
    return Piece(np.hstack([head, moved]), text, cuts, one.middle, one.height)


def recombine(pack: Pack, cuts: dict[str, dict[str, float]], out: Path, n: int, seed: int) -> None:
    """Write a pack of `n` new lines; every third one is joined from three crops."""
    rng = np.random.default_rng(seed)
    stock = pieces(pack, cuts)
    print(f"{len(stock):,} of {len(pack):,} lines can be cut")
    if len(stock) < 2:
        sys.exit("too few lines can be cut: the model that found the gaps reads too little")
    with PackWriter(out, pack.alphabet, pack.spec, {"recombined": n, "seed": seed}) as writer:
        made = 0
        while made < n:
            new: Piece | None = stock[rng.integers(len(stock))]
            for _ in range(1 + (rng.random() < 1 / 3)):
                new = new and join(new, stock[rng.integers(len(stock))], rng)
            if new is None or not new.text.strip() or new.line.shape[1] > pack.spec.max_width:
                continue
            writer.add(
                new.line,
                new.text,
                file=f"recombined/{made:06d}",
                source="recombined",
                split="train",
            )
            made += 1


def main() -> None:
    """Find cuts, or join."""
    step, pack = sys.argv[1], Pack.open(sys.argv[2])
    if step == "cuts":
        cuts = find_cuts(pack, Recognizer.load(sys.argv[3]))
        Path(sys.argv[4]).write_text(json.dumps(cuts), "utf-8")
    else:
        cuts = json.loads(Path(sys.argv[3]).read_text("utf-8"))
        recombine(pack, cuts, Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))


if __name__ == "__main__":
    main()
