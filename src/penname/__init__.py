"""penname reads handwriting from images: names first, then any word or line in Latin script.

>>> import penname
>>> recognizer = penname.Recognizer.load("names")  # doctest: +SKIP
>>> recognizer.read(["scans/0001.jpg"])[0].text  # doctest: +SKIP
'BALTHAZAR'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penname.alphabet import Alphabet
    from penname.errors import PennameError
    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder
    from penname.recognizer import Alternative, Character, Prediction, Recognizer

__version__ = "0.1.0"

__all__ = [
    "Alphabet",
    "Alternative",
    "Character",
    "ImageSpec",
    "ModelFolder",
    "PennameError",
    "Prediction",
    "Recognizer",
    "__version__",
]

_HOMES = {
    "Alphabet": "alphabet",
    "Alternative": "recognizer",
    "Character": "recognizer",
    "ImageSpec": "line_image",
    "ModelFolder": "model_folder",
    "PennameError": "errors",
    "Prediction": "recognizer",
    "Recognizer": "recognizer",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import penname` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
