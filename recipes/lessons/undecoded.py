"""Words flat while characters rise: frames that are compared with letters, and what then scores.

python recipes/lessons/undecoded.py [--data validation.parquet] [--names FOLDER]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import labels
import numpy as np
import readings

from penname.metrics import cer, correct_characters, exact, ratio

Scores = tuple[float, float]


def of_frames(paths: list[np.ndarray], references: list[str]) -> Scores:
    """Score as the 2021 project did: frame i against letter i, all 64 frames against the label.

    Args:
        paths: best label of each frame, in the project's numbers: A is 0, and so is the blank.
        references: the texts.
    """
    right = total = words = 0
    rows = labels.batch(references)[0].numpy()
    for path, row, reference in zip(paths, rows, references, strict=True):
        frames = np.zeros(labels.FRAMES, dtype=np.int64)  # a narrower crop ends in blanks
        frames[: min(len(path), labels.FRAMES)] = path[: labels.FRAMES]
        right += int((frames == row)[: len(reference)].sum())
        total += len(reference)
        words += int((frames == row).all())
    return right / total, words / len(references)


def of_texts(pairs: list[tuple[str, str]]) -> tuple[float, float, float]:
    """Return correct characters by position, exact match and 1 - CER of decoded texts."""
    sums = [np.sum([measure(*pair) for pair in pairs], axis=0)
            for measure in (correct_characters, exact, cer)]  # fmt: skip
    rates = [ratio(int(above), int(below)) for above, below in sums]
    return rates[0], rates[1], 1 - rates[2]


def of_constants(names: list[str]) -> tuple[str, float, float]:
    """Return the text that scores best on every picture without a look, and its two scores."""
    longest = max(map(len, names))
    columns = [Counter(n[i] for n in names if len(n) > i) for i in range(longest)]
    best = "".join(column.most_common(1)[0][0] for column in columns)
    by_position, words, _ = of_texts([(name, best[: len(name)]) for name in names])
    return best, by_position, words


def damaged(references: list[str]) -> dict[str, tuple[float, float, float]]:
    """Return what `of_texts` gives when every reading has the same one mistake."""
    mistakes = {
        "right": lambda t: t,
        "first letter missing": lambda t: t[1:],
        "last letter missing": lambda t: t[:-1],
        "a letter too many in front": lambda t: "I" + t,
        "last letter wrong": lambda t: t[:-1] + "?",
    }
    return {name: of_texts([(t, spoil(t)) for t in references])
            for name, spoil in mistakes.items()}  # fmt: skip


def in_their_numbers(path: np.ndarray, characters: str) -> np.ndarray:
    """Return labels of our alphabet (blank 0) in the project's numbers (blank and A both 0)."""
    return np.array([0, *(labels.LETTERS.find(c) for c in characters)])[path]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="crops with their texts; default: the 30 samples")
    parser.add_argument("--names", type=Path, help="folder with names_frequency.csv")
    given = parser.parse_args()
    reader, references, best = readings.paths(given.data)
    texts = [readings.collapsed(reader, path) for path in best]
    by_position, words, similar = of_texts(list(zip(references, texts, strict=True)))
    print(f"{len(references)} crops, the included model, greedy")
    print(f"  decoded:    characters {by_position:.1%}, words {words:.1%}, 1 - CER {similar:.1%}")
    theirs = [in_their_numbers(path, reader.model.alphabet.characters) for path in best]
    characters, words = of_frames(theirs, references)
    print(f"  its frames: characters {characters:.1%}, words {words:.1%}")
    names = labels.names(given.names)
    nothing = [np.zeros(labels.FRAMES, dtype=np.int64)] * len(names)
    print(f"{len(names):,} names, no network")
    print("  always blank, frames:  characters {:.1%}, words {:.3%}".format(
        *of_frames(nothing, names)))  # fmt: skip
    best_text, characters, words = of_constants(names)
    print(f"  always {best_text[:8]}...:    characters {characters:.1%}, words {words:.3%}")
    for name, scores in damaged(references).items():
        print("  {:27} characters {:6.1%}, words {:6.1%}, 1 - CER {:6.1%}".format(name, *scores))


if __name__ == "__main__":
    main()
