"""CTC in NumPy: from the network's log_probs to text with spans, and the likelihood of a text.

Greedy decoding takes the best label of every frame, merges repeats and drops blanks (Graves et al.
2006, section 3.2). Confidence comes in two sizes, each with one definition:

- of a character: the largest probability the network gives it in any frame of its span, which
  lies on the likeliest single path that writes the text: `greedy`, or `align` for another text;
- of a line: P(text | image), summed over every alignment that writes the text, `log_likelihood`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from penname.alphabet import BLANK, Alphabet

Labels = Sequence[int] | np.ndarray

IMPOSSIBLE = -1e30  # a log probability that stays finite, so that differences are never nan
SOME = 1 << 15  # probabilities in memory at a time; a few times more or less is as fast
LEAST = 1e-300  # float64 loses at most 5e-324 at a time, and T * L times


@dataclass(frozen=True, slots=True)
class Span:
    """One decoded character in frames [start, end), with its confidence in 0..1."""

    character: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """The reading of one line: its labels, and the characters they stand for."""

    labels: tuple[int, ...]
    characters: tuple[Span, ...]

    @property
    def text(self) -> str:
        """The characters joined up."""
        return "".join(span.character for span in self.characters)


def frames_needed(labels: Labels) -> int:
    """Return the fewest frames that can write `labels`: one each, and a blank between repeats.

    >>> frames_needed([1, 2, 2, 1])
    5
    """
    return len(labels) + sum(bool(a == b) for a, b in pairwise(labels))


def padded(log_probs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the lines (T, C) in one array (N, T, C), filled up with certain blanks."""
    frames = max(map(len, log_probs))
    shape = (len(log_probs), frames, log_probs[0].shape[1])
    lines = np.full(shape, IMPOSSIBLE, dtype=log_probs[0].dtype)
    lines[:, :, BLANK] = 0.0
    for row, line in zip(lines, log_probs, strict=True):
        row[: len(line)] = line
    return lines


def greedy(log_probs: np.ndarray, alphabet: Alphabet) -> list[Decoded]:
    """Return the greedy reading of each line of log_probs (N, T, C)."""
    return _decoded(log_probs, log_probs.argmax(axis=2), alphabet)


def align(log_probs: np.ndarray, labels: Sequence[Labels], alphabet: Alphabet) -> list[Decoded]:
    """Return the reading with labels[n] of each line of log_probs (N, T, C), on its likeliest path.

    The labels must fit: `frames_needed(labels[n])` is at most T.
    """
    assert all(frames_needed(text) <= log_probs.shape[1] for text in labels), log_probs.shape
    return _decoded(log_probs, _best_path(log_probs, labels), alphabet)


def _decoded(log_probs: np.ndarray, path: np.ndarray, alphabet: Alphabet) -> list[Decoded]:
    """Return what paths of labels (N, T) write in log_probs (N, T, C)."""
    rows, frames = path.shape
    begins = np.ones(path.shape, dtype=bool)  # where a run of one label begins, as each line does
    begins[:, 1:] = path[:, 1:] != path[:, :-1]
    starts = np.flatnonzero(begins)  # (runs,), counted through the whole batch
    ends = np.append(starts[1:], path.size)
    peaks = np.take_along_axis(log_probs, path[..., None], axis=2).ravel()
    peaks = np.exp(np.maximum.reduceat(peaks, starts))
    labels = path.ravel()[starts]
    written = labels != BLANK
    found: list[list[tuple[int, Span]]] = [[] for _ in range(rows)]
    runs = (each[written].tolist() for each in (labels, starts, ends, peaks))
    for label, start, end, peak in zip(*runs, strict=True):
        row, first = divmod(start, frames)
        span = Span(alphabet.characters[label - 1], first, end - row * frames, peak)
        found[row].append((label, span))
    return [
        Decoded(tuple(label for label, _ in line), tuple(span for _, span in line))
        for line in found
    ]


def log_likelihood(
    log_probs: np.ndarray, labels: Sequence[Labels], lines: np.ndarray | None = None
) -> np.ndarray:
    """Return log P(text | line), summed over all alignments, of texts n: (N,) float64.

    The forward algorithm (Graves et al. 2006, section 4.1) over labels with blanks between them,
    for all texts at once; -inf where the labels need more frames than there are. Probabilities are
    added up as they are, which is exact while none that matters is too small for float64: a sum
    above `LEAST` has lost less than a billionth. Smaller ones are summed again as logarithms.

    Args:
        log_probs: of the lines (M, T, C).
        labels: of each text (N,).
        lines: the line of each text (N,); None when text n is of line n.
    """
    lines = np.arange(len(labels)) if lines is None else lines
    total = _likelihood(log_probs, labels, lines)
    with np.errstate(divide="ignore"):
        found = np.log(total)
    small = np.flatnonzero(total < LEAST)
    if len(small):
        found[small] = _sum_of_logs(log_probs[lines[small]], [labels[n] for n in small.tolist()])
    return np.asarray(found)


def _likelihood(log_probs: np.ndarray, labels: Sequence[Labels], lines: np.ndarray) -> np.ndarray:
    """Return P(text | line) of texts, as `log_likelihood` does, as far as float64 holds it.

    In each frame, `label[i, n]` is the probability of the paths that wrote the first i labels of
    text n and end in the last of them, `blank[i, n]` of those that end in a blank.
    """
    lengths = np.array([len(text) for text in labels], dtype=np.intp)
    padded = np.full((int(lengths.max(initial=0)), len(labels)), BLANK, dtype=np.intp)  # (L, N)
    for column, text in zip(padded.T, labels, strict=True):
        column[: len(text)] = text
    repeated = len(labels) + np.flatnonzero(padded[1:] == padded[:-1])  # needs a blank before it
    blank, label, both = np.zeros((3, len(padded) + 1, len(labels)))  # (L + 1, N)
    blank[0] = 1.0
    written, before = label[1:], both[:-1]
    for blanks, emitted in _frames(log_probs, padded, lines):
        np.add(blank, label, out=both)
        separated = blank.take(repeated)
        np.multiply(both, blanks, out=blank)
        both.put(repeated, separated)
        written += before
        written *= emitted
    return np.asarray((blank + label)[lengths, np.arange(len(labels))])


def _frames(
    log_probs: np.ndarray, labels: np.ndarray, lines: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, frame by frame, what texts (L, N) get of log_probs (M, T, C) for blanks and labels.

    These are probabilities (N,) and (L, N), made for some frames at a time: few would be slow, and
    all too many.
    """
    where = lines * log_probs.shape[2] + labels
    some = 1 + SOME // (1 + where.size)
    for start in range(0, log_probs.shape[1], some):
        chances = np.exp(log_probs[:, start : start + some].swapaxes(0, 1), dtype=np.float64)
        emitted = chances.reshape(len(chances), -1).take(where, axis=1)  # (some, L, N)
        yield from zip(chances[:, lines, BLANK], emitted, strict=True)


def _sum_of_logs(log_probs: np.ndarray, labels: Sequence[Labels]) -> np.ndarray:
    """Return log P(labels[n] | line n) of any size, from logarithms: (N, T, C) -> (N,)."""
    lengths = np.array([len(line) for line in labels], dtype=np.intp)
    states = _with_blanks(labels, 2 * int(lengths.max(initial=0)) + 1)  # (N, S)
    emitted = np.take_along_axis(log_probs, states[:, None, :], axis=2)  # (N, T, C) -> (N, T, S)
    emitted = np.maximum(emitted.astype(np.float64), IMPOSSIBLE)
    skip_cost = np.where(_may_skip(states), 0.0, IMPOSSIBLE)
    forward = np.full((len(states), states.shape[1] + 2), IMPOSSIBLE)  # two columns before state 0
    forward[:, 1] = 0.0  # where every alignment begins: a step from state 0, a skip from state 1
    for frame in range(emitted.shape[1]):
        ways = np.stack([forward[:, 2:], forward[:, 1:-1], forward[:, :-2] + skip_cost])
        forward[:, 2:] = np.logaddexp.reduce(ways) + emitted[:, frame]
        forward[:, 1] = IMPOSSIBLE
    rows = np.arange(len(states))
    ends = np.logaddexp(forward[rows, 2 * lengths + 2], forward[rows, 2 * lengths + 1])
    return np.where(ends > IMPOSSIBLE / 2, ends, -np.inf)


def _best_path(log_probs: np.ndarray, labels: Sequence[Labels]) -> np.ndarray:
    """Return the labels (N, T) of the likeliest path that writes labels[n] in line n. Viterbi."""
    count, frames, classes = log_probs.shape
    ends = np.array([2 * len(text) for text in labels], dtype=np.intp)
    states = _with_blanks(labels, int(ends.max(initial=0)) + 1)  # (N, S)
    skip_cost = np.where(_may_skip(states), 0.0, IMPOSSIBLE).T
    states = states.T  # (S, N)
    line = np.arange(count)
    score = np.full((len(states) + 2, count), IMPOSSIBLE)  # two before 0, as in `_sum_of_logs`
    score[1] = 0.0
    moves = np.empty((frames, *states.shape), dtype=np.int8)  # how many states the path went on
    for frame in range(frames):
        stay, step, skip = score[2:], score[1:-1], score[:-2] + skip_cost
        best = np.maximum(stay, step)
        moves[frame] = np.where(skip > best, 2, step > stay)
        emitted = log_probs[:, frame].take(line * classes + states)
        score[2:] = np.maximum(best, skip) + np.maximum(emitted, IMPOSSIBLE)
        score[1] = IMPOSSIBLE
    state = ends - (score[ends + 1, line] > score[ends + 2, line])  # last blank, or label before
    path = np.empty((count, frames), dtype=np.intp)
    for frame in reversed(range(frames)):
        path[:, frame] = states[state, line]
        state -= moves[frame, state, line]
    return path


def _with_blanks(labels: Sequence[Labels], width: int) -> np.ndarray:
    """Return the labels with blanks around each: (N, width), filled up with blanks."""
    states = np.full((len(labels), width), BLANK, dtype=np.intp)
    for row, line in zip(states, labels, strict=True):
        row[1 : 2 * len(line) : 2] = line
    return states


def _may_skip(states: np.ndarray) -> np.ndarray:
    """Return which states (N, S) may be entered past the blank before them.

    A label may, unless the label before the blank is the same: the two would become one.
    """
    skips: np.ndarray = states != BLANK
    skips[:, 2:] &= states[:, 2:] != states[:, :-2]
    return skips
