"""Options of training a language network, stored in its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from penname.errors import OptionError
from penname.options import option


@dataclass(frozen=True)
class LanguageOptions:
    """Everything that decides what a language network becomes."""

    steps: int = option(7000, "batches to learn from")
    symbols: int = option(10240, "characters in a batch, all texts filled up to one length")
    cells: int = option(512, "cells of the LSTM")
    learning_rate: float = option(2e-3, "highest learning rate")
    dropout: float = option(0.1, "dropout before and after the LSTM")
    listed: float = option(
        0.45, "share of the batches that are of the list; it rises to twice that"
    )
    precision: str = option("auto", "arithmetic", choices=("auto", "bf16", "fp32"))
    device: str = option("auto", "where to train: auto, cpu, cuda, cuda:1")
    seed: int = option(1, "seed of weights, texts and dropout")

    def __post_init__(self) -> None:
        for name in ("steps", "symbols", "cells"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it is at least 1")
        for name, most in (("learning_rate", 1), ("dropout", 0.99), ("listed", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise OptionError(f"{name} is {getattr(self, name)}, not within 0 to {most}")
