"""Model folder: what a Recognizer loads, and everything needed to use it.

    model.onnx   images uint8 (N, 1, H, W) -> log_probs float32 (N, T, C), T = W / stride; where
                 there is a height step, H is what the ink needs
    float.onnx   the same before it was quantised, to be trained on, where it was
    fast.onnx    a faster network for the same images, where there is one: model.onnx then reads
                 what this one doubts
    second.onnx  the network that looks again at what is doubtful, where that is another one
    language.npz how probable a text is, when decoding is a search (see `penname.beam`)
    model.json   alphabet, image spec, stride, decoding, checksum, and where the model comes from
    card.md      what it was trained on and how well it reads, for people

`ModelFolder.save` writes model.json last, and its checksum is verified on load, so a folder that
was only half written or whose files do not belong together is never used. The checksum is that of
model.onnx, with fast.onnx, second.onnx and language.npz after it where they are used.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penname import __version__
from penname.alphabet import Alphabet
from penname.beam import DecodingOptions
from penname.errors import ModelError, PennameError
from penname.files import write_whole
from penname.line_image import ImageSpec, cut_rows, on_canvas, stored_spec
from penname.options import from_json, to_json

if TYPE_CHECKING:
    import numpy as np

    from penname.line_image import Grey

FORMAT = "penname-model"
VERSION = 1
INCLUDED = Path(__file__).parent / "models"
CERTAIN = -1e-6  # float32 log_probs cannot tell a larger log probability from 0
UNLIKELY = math.log(0.01)  # below, a share says less: one in a million is one in a few hundred
LESS = 0.2


@dataclass(frozen=True)
class Calibration:
    """Turns the share that a text has of its line into the share of such readings that are right.

    Platt scaling (Platt 1999) on the logit of the share: without a search, P(text | image). Of
    small shares, which the search does not know well, the order is kept and little of the
    distance (docs/log.md, "Small shares").
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.slope) or not math.isfinite(self.intercept):
            raise ValueError(f"the confidence has {self}; its numbers are finite")

    def confidence(self, log_share: float) -> float:
        """Return sigmoid(slope * evidence(share) + intercept), a number in 0..1."""
        return 0.5 + 0.5 * math.tanh((self.slope * evidence(log_share) + self.intercept) / 2)


def evidence(log_share: float) -> float:
    """Return the logit of a share, small ones drawn together and sure ones cut at `CERTAIN`."""
    drawn = min(log_share, CERTAIN)
    if drawn < UNLIKELY:
        drawn = UNLIKELY + LESS * (drawn - UNLIKELY)
    return drawn - math.log(-math.expm1(drawn))


@dataclass(frozen=True)
class Second:
    """The network that looks again at what is doubtful: of which model, and what it reads."""

    name: str
    created: str  # when that model was, ISO 8601
    height: int  # of its line images, pixels
    writing: float  # how large writing is in them, as a share of the height; 0: as it comes

    def scale(self, image: ImageSpec) -> float:
        """Return the scale at which line images of `image` are drawn anew for it."""
        known = self.writing and image.writing
        return self.height / image.height * (self.writing / image.writing if known else 1.0)


@dataclass(frozen=True)
class Fast:
    """The network that reads all lines first, so that the model's own has only what it doubts."""

    name: str  # of its model
    created: str  # when that model was, ISO 8601
    height_step: int = 0  # of its canvases, as a model's own


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a model; `training` and `created` are kept as the exporter gave them."""

    path: Path
    name: str
    alphabet: Alphabet
    image: ImageSpec
    stride: int  # pixels per frame
    created: str  # when, ISO 8601
    training: dict[str, Any] = field(default_factory=dict)  # options and scores
    confidence: Calibration | None = None
    decoding: DecodingOptions | None = None  # None is greedy
    second: Second | None = None  # None: the network itself alone looks again
    fast: Fast | None = None  # None: the network itself reads all lines
    height_step: int = 0  # pixels of which canvas heights are multiples; 0: all have all rows
    penname: str = __version__  # the version that wrote it

    @property
    def onnx(self) -> Path:
        """The network's file."""
        return self.path / "model.onnx"

    @property
    def float_onnx(self) -> Path:
        """The same network before it was quantised, where it was; training starts from it."""
        return self.path / "float.onnx"

    @property
    def fast_onnx(self) -> Path:
        """The file of the network that reads first."""
        return self.path / "fast.onnx"

    @property
    def second_onnx(self) -> Path:
        """The file of the network that looks again."""
        return self.path / "second.onnx"

    @property
    def language(self) -> Path:
        """The language's file, used when decoding is a search."""
        return self.path / "language.npz"

    @classmethod
    def load(cls, model: str | Path) -> ModelFolder:
        """Return the model folder at a path, or the included model of that name.

        An included name wins over a folder of that name; write `./names` for the folder.

        Raises:
            ModelError: when there is none, or it is damaged or of another version.
        """
        folder = _find(model)
        file = folder / "model.json"
        values = _read(file)
        checksum = values.pop("sha256", None)
        try:
            loaded = cls(folder, **_fields(values))
        except (PennameError, TypeError, ValueError) as error:
            raise ModelError(f"{file}: {error}; export the model again") from error
        if loaded.checksum() != checksum:
            raise ModelError(
                f"{' or '.join(map(str, loaded.files))} is not the file that {file.name} was "
                "written for (sha256 differs); copy or export the model again"
            )
        return loaded

    def canvas(self, line: Grey) -> np.ndarray:
        """Return a line image (H, w) as the network takes it: (1, 1, rows, W) uint8."""
        seen = cut_rows(line, self.height_step)
        return on_canvas([seen], self.image.canvas_width(seen.shape[1]))

    @property
    def files(self) -> list[Path]:
        """The files that reading needs besides model.json."""
        used = {
            self.onnx: True,
            self.fast_onnx: self.fast,
            self.second_onnx: self.second,
            self.language: self.decoding,
        }
        return [file for file, is_used in used.items() if is_used]

    def checksum(self) -> str:
        """Return the sha256 of the files, one after the other.

        Raises:
            ModelError: when one is missing.
        """
        digest = hashlib.sha256()
        for file in self.files:
            try:
                digest.update(file.read_bytes())
            except FileNotFoundError:
                raise ModelError(f"{file}: no such file; copy or export the model again") from None
        return digest.hexdigest()

    def save(self) -> None:
        """Write model.json for the files that are already in the folder.

        Raises:
            ModelError: when one is missing.
        """
        values = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "penname": self.penname,
            "created": self.created,
            "alphabet": self.alphabet.characters,
            "image": to_json(self.image),
            "height_step": self.height_step,
            "stride": self.stride,
            "sha256": self.checksum(),
            "confidence": self.confidence and asdict(self.confidence),
            "decoding": self.decoding and to_json(self.decoding),
            "second": self.second and asdict(self.second),
            "fast": self.fast and asdict(self.fast),
            "training": self.training,
        }
        write_whole(
            self.path / "model.json", json.dumps(values, ensure_ascii=False, indent=1) + "\n"
        )


def included() -> list[str]:
    """Return the names of the models that come with penname."""
    return sorted(file.parent.name for file in INCLUDED.glob("*/model.json"))


def _find(model: str | Path) -> Path:
    if isinstance(model, str) and model in included():
        return INCLUDED / model
    folder = Path(model)
    if not folder.is_dir():
        raise ModelError(
            f"{model}: no such model; give a model folder "
            f"or an included model ({', '.join(included()) or 'there are none'})"
        )
    return folder


def _read(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`, its format and version checked and taken out."""
    try:
        values = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file}: no such file; {file.parent} is not a model folder") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: {error}; copy or export the model again") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ModelError(f'{file}: not a penname model, format is not "{FORMAT}"')
    if (version := values.pop("version", None)) != VERSION:
        raise ModelError(
            f"{file}: version {version}, and this penname reads version {VERSION}; "
            "export the model again or install the penname that made it"
        )
    return values


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of model.json as fields of ModelFolder, every name accounted for."""
    older = {"decoding": None, "second": None, "fast": None, "height_step": 0}
    values = older | values
    names = {each.name for each in fields(ModelFolder)} - {"path"}
    if names != set(values):
        odd = ", ".join(sorted(names ^ set(values)))
        raise ValueError(f"{odd}: missing here or unknown to this penname")
    if not isinstance(values["alphabet"], str):
        raise ValueError("alphabet is not a string of characters")
    for name, least in (("stride", 1), ("height_step", 0)):
        if not isinstance(values[name], int) or values[name] < least:
            raise ValueError(f"{name} is {values[name]!r}, not a number of pixels")
    calibration, decoding = values["confidence"], values["decoding"]
    second, fast = values["second"], values["fast"]
    return values | {
        "alphabet": Alphabet(values["alphabet"]),
        "image": stored_spec(values["image"]),
        "confidence": None if calibration is None else Calibration(**calibration),
        "decoding": None if decoding is None else from_json(DecodingOptions, decoding),
        "second": second and Second(**{"writing": 0.0} | second),  # older models lack it
        "fast": fast and Fast(**fast),
    }
