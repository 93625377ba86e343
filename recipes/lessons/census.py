"""How many labels could make CTC fail, and what a network scores that has failed.

python recipes/lessons/census.py [--data FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import labels
import numpy as np
import torch

from penname.ctc import frames_needed


def census(texts: list[str], frames: int) -> dict[str, int]:
    """Return how many labels can trigger each."""
    return {
        "empty": sum(not text for text in texts),
        "characters outside the alphabet": sum(bool(set(t) - set(labels.LETTERS)) for t in texts),
        f"more than {frames} frames": sum(
            frames_needed(list(map(ord, text))) > frames for text in texts
        ),
    }


def dead(texts: list[str]) -> tuple[float, int]:
    """Return the 2021 project's scores of a network whose outputs are all NaN."""
    nothing = int(torch.full((labels.CLASSES,), torch.nan).argmax())  # the first: label 0, an A
    rows, lengths = (each.numpy() for each in labels.batch(texts))
    inside = np.arange(labels.FRAMES) < lengths[:, None]
    return float((rows == nothing)[inside].mean()), int((rows == nothing).all(1).sum())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with names_frequency.csv")
    texts = labels.names(parser.parse_args().data)
    print(f"{len(texts):,} labels")
    for frames in (64, 32, 24, 16, 12, 8):
        print(f"  {census(texts, frames)}")
    characters, words = dead(texts)
    print(f"all outputs NaN: {characters:.2%} correct characters, {words} correct words")


if __name__ == "__main__":
    main()
