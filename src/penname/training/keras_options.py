"""What a Keras file does not say about its model, and a person must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penname.errors import OptionError
from penname.options import check_choices, option


@dataclass(frozen=True)
class KerasOptions:
    """What a Keras file does not say about its model."""

    image: str = option(
        "crop",
        "how pictures are brought to the network's size: cut and padded, fitted or stretched",
        choices=("crop", "fit", "stretch"),
    )
    cut_frames: str = option("0,0", "FIRST,LAST: how many frames training dropped at either end")
    turn: str = option(
        "auto",
        "how pictures are turned; auto: clockwise if the network's input is higher than wide",
        choices=("auto", "upright", "clockwise", "transposed"),
    )
    values: str = option("0,1", "INK,PAPER: what black and white are in the network's input")
    blank: str = option("last", "which label is the CTC blank", choices=("last", "first"))
    width: int = option(0, "width of pictures in pixels, for a network that takes any")

    def __post_init__(self) -> None:
        check_choices(self)
        _ = self.cut, self.ink_paper  # a wrong number is an error now, not on the way

    @property
    def cut(self) -> tuple[int, int]:
        """Frames to drop at the beginning and at the end."""
        return _two(self.cut_frames, "cut-frames", int)

    @property
    def ink_paper(self) -> tuple[float, float]:
        """The values of ink and of paper."""
        return _two(self.values, "values", float)


def _two(text: str, name: str, kind: type[int] | type[float]) -> tuple[Any, Any]:
    try:
        first, second = map(kind, text.split(","))
    except ValueError:
        raise OptionError(f"{name} is {text!r}; give two numbers, as in 0,1") from None
    return first, second
