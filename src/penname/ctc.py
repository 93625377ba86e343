"""CTC in NumPy: from the network's log_probs to text with spans, and the likelihood of a text.

Greedy decoding takes the best label of every frame, merges repeats and drops blanks (Graves et al.
2006, section 3.2). Confidence comes in two sizes, each with one definition:

- of a character: the largest probability the network gives it in any frame of its span, which
  lies on the likeliest single path that writes the text: `greedy`, or `align` for another text;
- of a line: P(text | image), summed over every alignment that writes the text, `log_likelihood`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penname.alphabet import BLANK, Alphabet

Labels = Sequence[int] | np.ndarray

IMPOSSIBLE = -1e30  # a log probability that stays finite, so that differences are never nan
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
    values = np.asarray(labels)
    return len(values) + int((values[1:] == values[:-1]).sum())


def greedy(log_probs: np.ndarray, alphabet: Alphabet) -> Decoded:
    """Return the greedy reading of one line's log_probs (T, C)."""
    return greedy_batch(log_probs[None], alphabet)[0]


def greedy_batch(log_probs: np.ndarray, alphabet: Alphabet) -> list[Decoded]:
    """Return the greedy reading of each line of log_probs (N, T, C)."""
    rows, frames, _ = log_probs.shape
    path = log_probs.argmax(axis=2)  # (N, T, C) -> (N, T)
    begins = np.ones(path.shape, dtype=bool)  # where a run of one label begins, as each line does
    begins[:, 1:] = path[:, 1:] != path[:, :-1]
    starts = np.flatnonzero(begins)  # (runs,), counted through the whole batch
    ends = np.append(starts[1:], path.size)
    peaks = np.exp(np.maximum.reduceat(log_probs.max(axis=2).ravel(), starts))
    labels = path.ravel()[starts]
    found: list[list[tuple[int, Span]]] = [[] for _ in range(rows)]
    for run in np.flatnonzero(labels != BLANK):
        row, start = divmod(int(starts[run]), frames)
        character = alphabet.characters[labels[run] - 1]
        span = Span(character, start, int(ends[run]) - row * frames, float(peaks[run]))
        found[row].append((int(labels[run]), span))
    return [
        Decoded(tuple(label for label, _ in line), tuple(span for _, span in line))
        for line in found
    ]


def align(log_probs: np.ndarray, labels: Labels, alphabet: Alphabet) -> Decoded:
    """Return the reading with these labels of one line's log_probs (T, C), on its likeliest path.

    The labels must fit: `frames_needed(labels)` is at most T.
    """
    assert frames_needed(labels) <= len(log_probs), (labels, log_probs.shape)
    states = _with_blanks([labels], 2 * len(labels) + 1)  # (1, S)
    emitted = np.maximum(log_probs[:, states[0]].astype(np.float64), IMPOSSIBLE)  # (T, S)
    path = _best_path(emitted, _may_skip(states)[0])
    spans = []
    for index, label in enumerate(labels):
        frames = np.flatnonzero(path == 2 * index + 1)
        peak = float(np.exp(log_probs[frames, label].max()))
        character = alphabet.characters[label - 1]
        spans.append(Span(character, int(frames[0]), int(frames[-1]) + 1, peak))
    return Decoded(tuple(int(label) for label in labels), tuple(spans))


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
    where = lines * log_probs.shape[2] + padded
    blank, label, both = np.zeros((3, len(padded) + 1, len(labels)))  # (L + 1, N)
    blank[0] = 1.0
    for frame in log_probs.swapaxes(0, 1):  # (M, C)
        chances = np.exp(frame, dtype=np.float64)
        np.add(blank, label, out=both)
        separated = blank.take(repeated)
        np.multiply(both, chances[lines, BLANK], out=blank)
        both.put(repeated, separated)
        label[1:] += both[:-1]
        label[1:] *= chances.take(where)
    return np.asarray((blank + label)[lengths, np.arange(len(labels))])


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


def _best_path(emitted: np.ndarray, may_skip: np.ndarray) -> np.ndarray:
    """Return the state in each frame of the likeliest path: (T, S), (S,) -> (T,). Viterbi."""
    frames, states = emitted.shape
    skip_cost = np.where(may_skip, 0.0, IMPOSSIBLE)
    score = np.full(states + 2, IMPOSSIBLE)  # two before state 0, as in `log_likelihood`
    score[1] = 0.0
    moves = np.empty((frames, states), dtype=np.intp)  # how many states back the path came from
    for frame in range(frames):
        ways = np.stack([score[2:], score[1:-1], score[:-2] + skip_cost])
        moves[frame] = ways.argmax(axis=0)
        score[2:] = ways.max(axis=0) + emitted[frame]
        score[1] = IMPOSSIBLE
    path = np.empty(frames, dtype=np.intp)
    state = states - 1 - int(score[-2] > score[-1])  # the last blank, or the label before it
    for frame in reversed(range(frames)):
        path[frame] = state
        state -= moves[frame, state]
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
