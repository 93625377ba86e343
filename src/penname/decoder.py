"""Decoder: from what the network gives for lines to their texts, best first.

A greedy reading that is certain stays. The others are searched for, with the language of the
model. What is doubtful then can be looked at once more, by another network or as a line image
drawn a little smaller, and its texts are weighed by all looks so far, together with what is right
in one place of one and in another place of the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from penname import ctc
from penname.beam import Candidate, DecodingOptions, search, together, weigh
from penname.language import Language

if TYPE_CHECKING:
    from penname.alphabet import Alphabet
    from penname.lexicon import Lexicon

NARROW = {"beam": 8, "characters": 4, "certain": 0.9}  # less time, as well read (docs/log.md)
RECOMBINED = 40  # texts of a line that are weighed, at most; 14 on average

Lines = Mapping[int, np.ndarray]  # index -> log_probs (T, C)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a line's greedy text is written, and the texts found for it, best first; never none."""

    greedy: ctc.Decoded
    texts: list[Candidate]

    @property
    def share(self) -> float:
        """The best text's share of what all texts are worth."""
        return self.texts[0].share


class Decoder:
    """Finds texts: greedily, or by search when it has a language and options."""

    def __init__(
        self,
        alphabet: Alphabet,
        language: Language | None = None,
        options: DecodingOptions | None = None,
    ) -> None:
        self.alphabet, self.language, self.options = alphabet, language, options

    def with_words(self, words: Lexicon, *, strict: bool) -> Decoder:
        """Return a decoder whose language has other words, and no others if `strict`."""
        language = (self.language or Language.uniform(words)).with_words(words, strict=strict)
        return Decoder(self.alphabet, language, self.options or DecodingOptions())

    def quick(self) -> Decoder:
        """Return a decoder that doubts nothing."""
        options = self.options and replace(self.options, look_again=0.0)
        return Decoder(self.alphabet, self.language, options)

    def narrow(self) -> Decoder:
        """Return a decoder that follows fewer texts, for lines that are read anew if doubtful."""
        if not self.options:
            return self
        narrow = {name: min(most, getattr(self.options, name)) for name, most in NARROW.items()}
        return Decoder(self.alphabet, self.language, replace(self.options, **narrow))

    @property
    def strict(self) -> bool:
        """Whether only the words of a list can be written."""
        return self.language is not None and self.language.strict

    @property
    def together(self) -> int:
        """How many lines are best searched at once."""
        return together(self.options or DecodingOptions())

    def greedy(self, lines: Lines) -> dict[int, Reading]:
        """Return the greedy reading of each line."""
        log_probs = ctc.padded(list(lines.values()))  # (N, T, C)
        decoded = ctc.greedy(log_probs, self.alphabet)
        likelihoods = ctc.log_likelihood(log_probs, [line.labels for line in decoded])
        shares = np.exp(np.minimum(likelihoods, 0.0)).tolist()
        return {
            index: Reading(line, [Candidate(line.labels, share)])
            for index, line, share in zip(lines, decoded, shares, strict=True)
        }

    def uncertain(self, greedy: Mapping[int, Reading]) -> list[int]:
        """Return the lines whose greedy reading is to be searched for something better."""
        if not (self.language and self.options):
            return []
        certain = _certain(greedy, self.language, self.options)
        return [index for index in greedy if index not in certain]

    def searched(self, greedy: Mapping[int, Reading], lines: Lines) -> dict[int, Reading]:
        """Return readings by search for the lines given."""
        if not (self.language and self.options):
            return {}
        found = search(list(lines.values()), self.language, self.options)
        readings = {}
        for index, texts in zip(lines, found, strict=True):
            read = greedy[index].greedy
            unfound = Candidate(() if self.strict else read.labels, 0.0)
            readings[index] = Reading(read, texts or [unfound])
        return readings

    def doubtful(self, readings: Mapping[int, Reading]) -> list[int]:
        """Return the lines that are worth another look."""
        least = self.options.look_again if self.language and self.options else 0.0
        return [i for i, reading in readings.items() if reading.share < least]

    def weighed(
        self, readings: Mapping[int, Reading], looks: Sequence[Lines]
    ) -> dict[int, Reading]:
        """Return readings for the lines of the last look, by all looks."""
        assert self.language, "a line is doubtful to a search alone"
        assert self.options, "a line is doubtful to a search alone"
        last = looks[-1]
        found = search(list(last.values()), self.language, self.options)
        labels: dict[int, list[tuple[int, ...]]] = {}
        for index, more in zip(last, found, strict=True):
            seen = [x.labels for x in (*readings[index].texts, *more) if x.share]
            texts = seen if self.strict else recombined(seen)
            room = len(looks[0][index])  # a higher line image has more frames
            if each := [text for text in dict.fromkeys(texts) if ctc.frames_needed(text) <= room]:
                labels[index] = each
        frames = [[look[index] for index in labels] for look in looks]
        weighed = weigh(frames, list(labels.values()), self.language, self.options)
        return {
            index: Reading(readings[index].greedy, texts)
            for index, texts in zip(labels, weighed, strict=True)
        }

    def written(self, readings: Mapping[int, Reading], lines: Lines) -> dict[int, ctc.Decoded]:
        """Return how the best text of each reading is written in its line's first look."""
        written = {index: reading.greedy for index, reading in readings.items()}
        best = {index: reading.texts[0].labels for index, reading in readings.items()}
        others = [index for index, labels in best.items() if labels != written[index].labels]
        others.sort(key=lambda index: len(lines[index]))
        for start in range(0, len(others), self.together):
            group = others[start : start + self.together]
            log_probs = ctc.padded([lines[index] for index in group])  # (N, T, C)
            aligned = ctc.align(log_probs, [best[index] for index in group], self.alphabet)
            written |= zip(group, aligned, strict=True)
        return written


def recombined(texts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the texts, best first, and the best with one difference of another put in, each.

    A long line has several doubtful places, and a search keeps few of the texts that differ in
    more than one. The best of these becomes the first of the next look, so differences add up.
    """
    from rapidfuzz.distance import Levenshtein  # 25 ms that most pictures do without

    found = list(texts)
    for other in texts[1:]:
        for step in Levenshtein.opcodes(texts[0], other):
            if step.tag != "equal":
                put_in = other[step.dest_start : step.dest_end]
                found.append(texts[0][: step.src_start] + put_in + texts[0][step.src_end :])
    return list(dict.fromkeys(found))[:RECOMBINED]


def _certain(
    greedy: Mapping[int, Reading], language: Language, options: DecodingOptions
) -> set[int]:
    """Return the indices of the greedy readings that need no search."""
    certain = [i for i, reading in greedy.items() if reading.share >= options.certain]
    if not language.strict:
        return set(certain)
    listed = np.isfinite(language.log_prob([greedy[index].greedy.labels for index in certain]))
    return {index for index, known in zip(certain, listed, strict=True) if known}
