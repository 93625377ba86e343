"""CTC prefix beam search in NumPy, with a language, over the lines of a batch at once.

A text is worth P(text | image) * P(text) ** weight * e ** (bonus * characters): the first summed
over all alignments, the second from a `Language`. The bonus makes up for what each character costs
by the second (Hannun et al. 2014, for words). Their search (algorithm 1) keeps, frame by frame,
the best prefixes of each line; the texts it ends with are scored again, exactly.

Worth is kept as it is, not as a logarithm, scaled to 1 for the best prefix of each line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from penname import ctc
from penname.alphabet import BLANK
from penname.errors import OptionError
from penname.options import option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penname.language import Language, Prefixes

QUIET = 1e-3  # a frame with no character likelier than this only separates those around it
NEGLIGIBLE = 1e-4  # a prefix or text worth less than this share of the best is not followed
IMPROBABLE = 1e-9  # and this is it for a strict language, as the name may be written otherwise
WIDE = {"beam": 32, "characters": 16}  # for a strict language, at least
FAR = 0.25  # power of P(text | image) in a strict share: chosen for lists with and without the name
AGREEING = 0.1  # 1 is the mean, 0 the geometric mean, with lines 0.2 points CER apart (docs/log.md)
PREFIXES = 2048  # followed at once: 64 lines; a name takes 0.4 ms so, 0.7 among 8, and 2.3 alone
TINY = np.finfo(float).tiny
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of the rolling hash that tells prefixes apart
INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))  # takes the last label off the hash
MOST = 20.0  # largest weight of the language, and largest bonus


@dataclass(frozen=True)
class DecodingOptions:
    """How texts are found in what the network gives."""

    language_weight: float = option(0.4, "weight of log P(text) beside log P(text | image)")
    word_share: float = option(0.0, "share of the words' bigrams in log P of a whole text")
    length_bonus: float = option(0.0, "nats that each character adds to a text's worth")
    beam: int = option(32, "prefixes kept per line and frame")
    characters: int = option(8, "characters tried per frame, the likeliest")
    candidates: int = option(6, "texts scored exactly per line")
    certain: float = option(0.97, "a greedy reading with this probability is taken as it is")
    look_again: float = option(0.7, "a reading with a smaller share is looked at again")

    def __post_init__(self) -> None:
        for name in ("beam", "characters", "candidates"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it is at least 1")
        if not 0 <= self.language_weight <= MOST:  # beyond, worths are too small for numbers
            raise OptionError(
                f"language_weight is {self.language_weight}; it is at least 0 and at most {MOST:g}"
            )
        if not -MOST <= self.length_bonus <= MOST:
            raise OptionError(
                f"length_bonus is {self.length_bonus}; it is at most {MOST:g} up or down"
            )
        for name in ("word_share", "certain", "look_again"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it is a share, 0 to 1")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text the line may hold, as labels, and its share of what all texts are worth."""

    labels: tuple[int, ...]
    share: float


@dataclass(frozen=True, slots=True)
class _Beams:
    """The prefixes kept for each of N lines, B each, best first; some may be worth nothing."""

    identity: np.ndarray  # (N, B) hash of the labels; 0 when worth nothing
    last: np.ndarray  # (N, B) last label; 0 when there is none
    blank: np.ndarray  # (N, B) worth of the alignments that end with a blank
    label: np.ndarray  # (N, B) and of those that end with the last label
    known: Prefixes  # (N, B) what the language needs of them
    came: np.ndarray  # (N, B) from which of the prefixes before, counted through the lines
    added: np.ndarray  # (N, B) by which label; BLANK when it is the same prefix

    def first(self, lines: int) -> _Beams:
        """Return the prefixes of the first lines."""
        slots = self.last.shape[1]
        chosen = np.arange(lines * slots).reshape(lines, slots)
        return _Beams(*(getattr(self, each.name).take(chosen) for each in fields(self)))


def together(options: DecodingOptions) -> int:
    """Return how many lines are searched at once, which takes least time a line."""
    return max(1, PREFIXES // options.beam)


def search(
    log_probs: Sequence[np.ndarray] | np.ndarray, language: Language, options: DecodingOptions
) -> list[list[Candidate]]:
    """Return the best texts of each line, best first, from log_probs (T, C) of any lengths.

    What was not searched is taken to please the language as much as the best text does, so the
    shares of a line's texts sum to at most 1, and with weight 0 a share is P(text | image).

    A strict language weighs its words against each other alone, but all of them lose by how far
    the best of them, P(text | image), is from the picture. It may leave a line without any text.
    """
    if language.strict:
        wide = {name: max(least, getattr(options, name)) for name, least in WIDE.items()}
        options = replace(options, **wide)
    order = sorted(range(len(log_probs)), key=lambda line: len(log_probs[line]))
    found: dict[int, list[Candidate]] = {}
    for start in range(0, len(order), size := together(options)):
        batch = order[start : start + size]
        texts = _search_batch(ctc.padded([log_probs[line] for line in batch]), language, options)
        found.update(zip(batch, texts, strict=True))
    return [found[line] for line in range(len(log_probs))]


def weigh(
    looks: Sequence[Sequence[np.ndarray]],
    texts: Sequence[Sequence[tuple[int, ...]]],
    language: Language,
    options: DecodingOptions,
) -> list[list[Candidate]]:
    """Return the texts of each line, best first, by several looks at it.

    A look holds the log_probs (T, C) of each line, of any T. The looks' mean says what all texts
    are worth together. Of that, P(text | image) is nearly in proportion to the geometric mean (a
    product of experts, Hinton 2002), because in a long line one doubts here and another there: to
    the power mean with the exponent `AGREEING`, with which a look that sees nothing of a text
    makes it unlikely, not impossible.
    """
    found: list[list[Candidate]] = []
    for start in range(0, len(texts), size := together(options)):
        batch = texts[start : start + size]
        every = [text for line in batch for text in line]
        row = np.repeat(np.arange(len(batch)), [len(line) for line in batch])
        padded = (ctc.padded(look[start : start + size]) for look in looks)
        seen = np.array([ctc.log_likelihood(log_probs, every, row) for log_probs in padded])
        mean = np.logaddexp.reduce(seen) - np.log(len(looks))
        likelihoods = np.logaddexp.reduce(AGREEING * seen) / AGREEING
        with np.errstate(invalid="ignore"):  # a line without any possible text
            scale = _sums(mean, row, len(batch)) - _sums(likelihoods, row, len(batch))
        likelihoods += np.nan_to_num(scale)[row]
        pleasing = text_pleasing(every, language.log_prob(every), language, options)
        found += _candidates(every, row, likelihoods, pleasing, lines=len(batch), language=language)
    return [line[: options.candidates] for line in found]


def log_pleasing(
    log_prob: np.ndarray, characters: int | Sequence[int], options: DecodingOptions
) -> np.ndarray:
    """Return the logarithm of what texts, or parts, are worth before any image.

    `log_prob` is the language's and `characters` how many they are, each or all alike. What is
    impossible stays so with weight 0.
    """
    weight = max(options.language_weight, TINY)
    return np.asarray(weight * log_prob + options.length_bonus * np.asarray(characters))


def text_pleasing(
    texts: Sequence[ctc.Labels],
    log_prob: np.ndarray,
    language: Language,
    options: DecodingOptions,
) -> np.ndarray:
    """Return the logarithm of what whole texts are worth before any image.

    `log_prob` is that of their characters. Where the language has word bigrams, log P(text) is a
    mean of both: a search meets half-written words, so only whole texts are judged by words too.
    """
    if language.bigrams and options.word_share:
        words = language.log_prob_by_bigrams(texts)
        log_prob = (1 - options.word_share) * log_prob + options.word_share * words
    return log_pleasing(log_prob, list(map(len, texts)), options)


def _sums(logarithms: np.ndarray, row: np.ndarray, lines: int) -> np.ndarray:
    """Return the logarithms (lines,) of the sums of the numbers in each row."""
    sums = np.full(lines, -np.inf)
    np.logaddexp.at(sums, row, logarithms)
    return sums


def _search_batch(
    log_probs: np.ndarray, language: Language, options: DecodingOptions
) -> list[list[Candidate]]:
    """Return the best texts of each line of log_probs (N, T, C), best first."""
    frames, counts = _busy_frames(np.exp(log_probs))
    order = np.argsort(-counts, kind="stable")
    worth, known, steps = _followed(frames[order], counts[order], language, options)
    ended = language.extend(known, np.full(worth.shape, language.end))
    worth = worth * np.exp(log_pleasing(ended.log_prob - known.log_prob, 0, options))
    kept = np.flatnonzero(_kept(worth, options.candidates))
    texts, row = _texts(steps, kept), order[kept // options.beam]
    likelihoods = ctc.log_likelihood(log_probs, texts, row)
    pleasing = text_pleasing(texts, ended.log_prob.take(kept), language, options)
    return _candidates(texts, row, likelihoods, pleasing, lines=len(log_probs), language=language)


def _followed(
    frames: np.ndarray, counts: np.ndarray, language: Language, options: DecodingOptions
) -> tuple[np.ndarray, Prefixes, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the best prefixes of each line when its frames are through, and the steps to them.

    Frames are probabilities (N, T, C), of which each line has so many, most first (N,). What comes
    back is what the prefixes are worth and what the language needs of them, each (N, B), and of
    each step what `_Beams` says of the lines that went on.
    """
    symbols = _likeliest(frames, options.characters)
    beams = _start(len(frames), options.beam, language)
    worth, known = np.empty(beams.last.shape), language.nothing.take(np.zeros_like(beams.last))
    steps = []
    for step in range(frames.shape[1] + 1):
        going = int(np.count_nonzero(counts > step))
        if going < len(beams.last):
            over = np.arange(going * options.beam, beams.last.size)
            worth.put(over, (beams.blank + beams.label).take(over))
            known.put(over, beams.known.take(over))
            beams = beams.first(going)
        if going:
            tried = symbols[:going, step]
            beams = _advance(beams, frames[:going, step], tried, language, options)
            steps.append((beams.came, beams.added))
    return worth, known, steps


def _likeliest(frames: np.ndarray, characters: int) -> np.ndarray:
    """Return the blank and the likeliest labels of each frame (N, T, C): (N, T, 1 + K)."""
    left = frames.copy()
    found = np.full((*frames.shape[:2], 1 + min(characters, frames.shape[2] - 1)), BLANK)
    for k in range(1, found.shape[2]):
        np.put_along_axis(left, found[:, :, k - 1 : k], -1.0, axis=2)
        found[:, :, k] = left.argmax(axis=2)
    return found


def _texts(steps: list[tuple[np.ndarray, np.ndarray]], kept: np.ndarray) -> list[tuple[int, ...]]:
    """Return the labels of prefixes of the last step, from what `_Beams` says of each step."""
    labels, place = np.full((len(kept), len(steps)), BLANK, dtype=np.intp), kept.copy()
    for column, (came, added) in zip(labels.T[::-1], steps[::-1], strict=True):
        going = np.flatnonzero(place < came.size)  # of lines that had not ended
        before = place[going]
        column[going] = added.take(before)
        place[going] = came.take(before)
    return [tuple(text[text != BLANK].tolist()) for text in labels]


def _kept(worth: np.ndarray, candidates: int) -> np.ndarray:
    """Return the mask of each line's best texts, those worth next to nothing left out: (N, B)."""
    kept = np.zeros(worth.shape, dtype=bool)
    np.put_along_axis(kept, np.argsort(-worth, axis=1, kind="stable")[:, :candidates], True, axis=1)
    kept &= worth > NEGLIGIBLE * worth.max(axis=1, keepdims=True)
    return kept


def _candidates(
    texts: list[tuple[int, ...]],
    row: np.ndarray,
    likelihoods: np.ndarray,
    pleasing: np.ndarray,
    *,
    lines: int,
    language: Language,
) -> list[list[Candidate]]:
    """Return each line's texts, best first, of some lines none; `row` is the line of each."""
    found = [np.flatnonzero(row == line) for line in range(lines)]
    shares = _strict_shares if language.strict else _shares
    return [
        shares([texts[i] for i in line], likelihoods[line], pleasing[line]) if len(line) else []
        for line in found
    ]


def _shares(
    texts: list[tuple[int, ...]], likelihoods: np.ndarray, pleasing: np.ndarray
) -> list[Candidate]:
    """Return one line's texts as candidates, best first."""
    order = np.argsort(-likelihoods - pleasing, kind="stable")
    worth = np.exp(likelihoods + pleasing - pleasing[order[0]])
    unseen = max(1 - np.exp(likelihoods).sum(), 0.0)
    shares = (worth / (worth.sum() + unseen)).tolist()
    return [Candidate(texts[i], shares[i]) for i in order]


def _strict_shares(
    texts: list[tuple[int, ...]], likelihoods: np.ndarray, pleasing: np.ndarray
) -> list[Candidate]:
    """Return one line's names as candidates, best first."""
    worth = likelihoods + pleasing
    order = np.argsort(-worth, kind="stable")
    shares = np.exp(worth - worth.max())
    shares *= np.exp(FAR * likelihoods[order[0]]) / shares.sum()
    return [Candidate(texts[i], float(shares[i])) for i in order]


def _busy_frames(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames with something to say, and one of the quiet ones between.

    They are (N, T', C), the first ones of each line, and how many of them it has is (N,).
    """
    busy = probabilities[:, :, BLANK + 1 :].max(axis=2) > QUIET  # (N, T)
    kept = busy.copy()
    kept[:, 1:] |= busy[:, :-1]
    counts = kept.sum(axis=1)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : counts.max(initial=0), None]
    return np.take_along_axis(probabilities, order, axis=1), counts


def _start(lines: int, slots: int, language: Language) -> _Beams:
    """Return the empty prefix for each line, and others worth nothing."""
    nothing, zero = np.zeros((lines, slots)), np.zeros((lines, slots), dtype=np.intp)
    blank, identity = nothing.copy(), zero.astype(np.uint64)
    blank[:, 0] = identity[:, 0] = 1
    return _Beams(identity, zero, blank, nothing, language.nothing.take(zero), zero, zero)


def _advance(
    beams: _Beams,
    frame: np.ndarray,
    symbols: np.ndarray,
    language: Language,
    options: DecodingOptions,
) -> _Beams:
    """Return the best prefixes after a frame of probabilities (N, C), trying symbols (N, 1 + K)."""
    line = frame.shape[1] * np.arange(len(frame))[:, None]
    label = beams.label * frame.take(line + beams.last)
    again = beams.last[:, :, None] == symbols[:, None, :]  # needs a blank between
    worth = np.where(again, beams.blank[..., None], (beams.blank + beams.label)[..., None])
    worth *= frame.take(line + symbols)[:, None, :]  # (N, B, 1 + K)
    blank, new = worth[:, :, 0].copy(), worth[:, :, 1:]  # `new` is a view
    new[new < (IMPROBABLE if language.strict else NEGLIGIBLE)] = 0.0
    _meet(beams, again, label, worth, options)
    worth[:, :, 0] += label
    least = worth[:, :, 0].min(axis=1) * np.exp(-options.length_bonus)
    new[new < least[:, None, None]] = 0.0  # for nothing makes one worth more than the bonus
    return _best(beams, blank, label, worth, symbols, language, options)


def _meet(
    beams: _Beams,
    again: np.ndarray,
    label: np.ndarray,
    worth: np.ndarray,
    options: DecodingOptions,
) -> None:
    """Move what extensions are worth, (N, B, 1 + K), to the label (N, B) of prefixes they are.

    `again` says which symbols are the last label of which prefix (N, B, 1 + K).
    """
    slots, width = worth.shape[1:]
    parent = (beams.identity - beams.last.astype(np.uint64)) * INVERSE
    tried = np.asarray(again.any(axis=2))
    met = (beams.identity[:, :, None] == parent[:, None, :]) & tried[:, None, :]  # (N, B, B)
    met = np.flatnonzero(met)
    before = met // slots
    prefix = before // slots * slots + met % slots
    extension = before * width + again.argmax(axis=2).take(prefix)
    step = beams.known.log_prob.take(prefix) - beams.known.log_prob.take(before)
    label.reshape(-1)[prefix] += worth.take(extension) * np.exp(log_pleasing(step, 1, options))
    worth.put(extension, 0.0)


def _best(
    beams: _Beams,
    blank: np.ndarray,
    label: np.ndarray,
    worth: np.ndarray,
    symbols: np.ndarray,
    language: Language,
    options: DecodingOptions,
) -> _Beams:
    """Return the best of the prefixes as they were and of the new ones."""
    lines, slots, width = worth.shape
    symbols = np.repeat(symbols, slots, axis=0)  # (N * B, 1 + K)
    tried = np.flatnonzero((worth > 0) & (symbols != BLANK).reshape(worth.shape))
    prefixes, source = beams.known, np.repeat(np.arange(lines * slots), width)
    if len(tried):
        before = beams.known.take(tried // width)
        extended = language.extend(before, symbols.take(tried))
        step = extended.log_prob - before.log_prob
        worth.put(tried, worth.take(tried) * np.exp(log_pleasing(step, 1, options)))
        prefixes = beams.known.and_then(extended)
        source[tried] = lines * slots + np.arange(len(tried))

    order = np.argsort(-worth.reshape(lines, -1), axis=1)[:, : options.beam]
    chosen = order + slots * width * np.arange(lines)[:, None]  # (N, B), counted through the lines
    best, came, added = worth.take(chosen), chosen // width, symbols.take(chosen)
    grown = added != BLANK
    identity = beams.identity.take(came)
    identity = np.where(grown, identity * MULTIPLIER + added.astype(np.uint64), identity)
    scale = np.maximum(best[:, :1], TINY)
    return _Beams(
        np.where(best > 0, identity, np.uint64(0)),
        np.where(grown, added, beams.last.take(came)),
        np.where(grown, 0.0, blank.take(came)) / scale,
        np.where(grown, best, label.take(came)) / scale,
        prefixes.take(np.where(best > 0, source.take(chosen), came)),
        came,
        added,
    )
