"""Two mistakes in adding up scores: means of means, and reference and hypothesis swapped.

python recipes/lessons/averages.py [--data validation.parquet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import readings

from penname.metrics import cer, ratio

Pairs = list[tuple[str, str]]


def corpus(pairs: Pairs) -> float:
    """Return the CER as penname gives it: all edits over all reference characters."""
    edits, lengths = zip(*(cer(*pair) for pair in pairs), strict=True)
    return ratio(sum(edits), sum(lengths))


def of_lines(pairs: Pairs) -> float:
    """Return the mean of the lines' own rates."""
    return float(np.mean([edits / length for edits, length in (cer(*pair) for pair in pairs)]))


def of_batches(pairs: Pairs, size: int) -> float:
    """Return the mean of the batches' rates; the last batch, however small, counts as one."""
    return float(np.mean([corpus(pairs[i : i + size]) for i in range(0, len(pairs), size)]))


def swapped(pairs: Pairs) -> float:
    """Return the CER with the arguments in the wrong order: over the hypotheses' length."""
    return corpus([(hypothesis, reference) for reference, hypothesis in pairs])


def shortened(pairs: Pairs, part: float) -> Pairs:
    """Return the pairs with hypotheses cut to a part, as by a network that has just begun."""
    return [(r, h[: round(part * len(h))]) for r, h in pairs]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="crops with their texts; default: the 30 samples")
    pairs = readings.pairs(parser.parse_args().data)
    print(f"CER of {len(pairs)} crops, the included model, greedy")
    print(f"  over the corpus {corpus(pairs):.2%}, mean of lines {of_lines(pairs):.2%}")
    by_length = sorted(pairs, key=lambda pair: len(pair[0]))
    for size in (7, 32, 64):
        drawn, ordered = of_batches(pairs, size), of_batches(by_length, size)
        print(f"  mean of batches of {size:2}: {drawn:.2%}; sorted by length {ordered:.2%}")
    print("reference and hypothesis swapped")
    for part in (1, 0.75, 0.5, 0.25, 0):
        short = shortened(pairs, part)
        found = f"right {corpus(short):8.1%}, swapped {swapped(short):8.1%}"
        print(f"  {part:4.0%} of each reading: {found}")
    long = [(r, h + h) for r, h in pairs]
    print(f"  each reading twice:   right {corpus(long):8.1%}, swapped {swapped(long):8.1%}")


if __name__ == "__main__":
    main()
