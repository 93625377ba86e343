"""Options of a training run, stored in its checkpoints and in the model it makes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from penname.errors import OptionError
from penname.options import check_choices, option

PRESETS = ("names", "latin", "teacher", "origin", "origin-mish")
RANGES = {
    "seed": (0, 2**63 - 1),
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "validate_every": (1, math.inf),
    "patience": (0, math.inf),
    "learning_rate": (1e-9, 10),
    "warmup": (0, 1),
    "weight_decay": (0, 10),
    "clip": (1e-6, math.inf),
    "ema": (0, 1),
    "augment": (0, 10),
    "dropout": (0, 0.99),
    "shortcut": (0, 100),
    "teaching": (0, 100),
    "matching": (0, 100),
    "height_step": (0, math.inf),
}


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides what a run computes, and when it stops."""

    preset: str = option("names", "the network", choices=PRESETS)
    epochs: int = option(40, "passes over the training lines")
    batch_size: int = option(64, "line images a step")
    learning_rate: float = option(2e-3, "highest learning rate")
    schedule: str = option(
        "onecycle", "learning rate over the run", choices=("onecycle", "constant")
    )
    warmup: float = option(0.1, "part of a onecycle run in which the rate rises; then it falls")
    weight_decay: float = option(0.01, "AdamW weight decay")
    clip: float = option(5.0, "largest gradient norm; longer gradients are scaled down")
    ema: float = option(0.999, "decay of the averaged weights that are scored and exported")
    augment: float = option(1.0, "strength of augmentation; 0 turns it off")
    dropout: float = option(
        0.2, "dropout before, between and after the recurrent layers; origin has its own"
    )
    shortcut: float = option(
        0.2, "weight of the auxiliary CTC head while training; origin has none"
    )
    teaching: float = option(1.0, "weight of the frames of --teacher beside the labels")
    matching: float = option(
        0.0, "weight of the columns of a --teacher whose last stage is as wide, as they are read"
    )
    height_step: int = option(
        0, "let the network, --from another, see the rows its ink needs, a multiple of this; 0: all"
    )
    freeze: str = option(
        "", "parts of the network of --from that stay as they are; stem,stages: the convolutions"
    )
    mix: str = option("", "passes an epoch makes over each --pack, as 1,0.5,8; empty is 1 each")
    patience: int = option(
        0, "stop after this many epochs without a better validation CER; 0, or no such lines: never"
    )
    validate_every: int = option(1, "epochs between two validations")
    save_every: str = option("5m", "time between two checkpoints, as 30s, 5m or 1h")
    time_limit: str = option("", "save and stop after this time, as 8h30m")
    precision: str = option("auto", "arithmetic", choices=("auto", "bf16", "fp32"))
    device: str = option("auto", "where to train: auto, cpu, cuda, cuda:1")
    seed: int = option(1, "seed of weights, order, augmentation and dropout")

    def __post_init__(self) -> None:
        check_choices(self)
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name} is {getattr(self, name)}, not within {low} to {high}")
        if self.height_step and self.preset.startswith("origin"):
            raise OptionError(f"{self.preset} reads all rows; leave --height-step out")
        if self.matching and "stages" in self.freeze:
            raise OptionError("--matching teaches the stages, which --freeze leaves as they are")
        seconds(self.save_every), seconds(self.time_limit), self.passes(0)

    def passes(self, packs: int) -> list[float]:
        """Return how many passes an epoch makes over each of `packs` packs.

        Raises:
            OptionError: when `mix` does not hold one positive number a pack.
        """
        try:
            passes = [float(part) for part in self.mix.split(",")] if self.mix else [1.0] * packs
        except ValueError:
            raise OptionError(f"mix is {self.mix!r}; give numbers, as 1,0.5,8") from None
        if packs and (len(passes) != packs or not all(0 < each < math.inf for each in passes)):
            raise OptionError(f"mix is {self.mix!r} for {packs} packs; one positive number each")
        return passes


@dataclass(frozen=True)
class SelfOptions:
    """Which of its own readings a model learns from."""

    sure: float = option(0.9, "least confidence with which an --unlabelled line is learnt from")

    def __post_init__(self) -> None:
        if not 0 <= self.sure <= 1:
            raise OptionError(f"sure is {self.sure}, not within 0 to 1")


def seconds(text: str) -> float:
    """Return a time such as `8h30m`, `90s` or `15m` in seconds; an empty one is infinite.

    >>> seconds("8h30m")
    30600.0

    Raises:
        OptionError: when it is not a time.
    """
    if not text:
        return float("inf")
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match:
        raise OptionError(f"{text!r} is no time; write it as 8h30m, 15m or 90s")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest
