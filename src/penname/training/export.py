"""Export: the best averaged weights of a run to a model folder that reads without torch.

The folder is made beside its place and its files moved in at the end, model.json last; torch and
ONNX Runtime must agree first, at widths and batch sizes other than the export's.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penname.alphabet import Alphabet
from penname.beam import DecodingOptions
from penname.calibrate import calibrate
from penname.errors import ModelError, OptionError, TrainingError
from penname.files import work_folder
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.language import build_language
from penname.line_image import stored_spec
from penname.model_folder import INCLUDED, Fast, ModelFolder, Second, included
from penname.options import from_json
from penname.training.checkpoint import load_tensors
from penname.training.graph import Exported, check_parity, round_weights, write_onnx
from penname.training.model import STRIDE, build
from penname.training.options import TrainOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of the run's description.
KEPT = ("options", "parameters", "lines", "packs", "from", "teacher", "scores")
# Of a model folder, in the order in which they take their places.
FILES = ("model.onnx", "fast.onnx", "second.onnx", "float.onnx", "language.npz", "model.json")

COLUMNS = SourceOptions()


def export_model(
    run: Path,
    out: Path,
    name: str,
    *,
    language: Path | None = None,
    running: Sequence[Path] = (),
    decoding: DecodingOptions | None = None,
    second: str | Path | None = None,
    fast: str | Path | None = None,
    calibration: Sequence[Path] = (),
    columns: SourceOptions = COLUMNS,
) -> ModelFolder:
    """Write the best weights of a training run to the model folder `out`.

    Args:
        run: the `--out` of a training run, with its `best/`.
        out: the model folder; files of an earlier export are replaced, `card.md` is left alone.
        name: what the model calls itself.
        language: a list of texts that decoding prefers, one a line, or a CSV name,count.
        running: text files, a paragraph a line, to count word bigrams in beside these texts; they
            are counted when the `word_share` of decoding is not 0.
        decoding: how texts are found with the language; None is the usual way.
        second: a model whose network looks again at what is doubtful, the second one where that
            model has two; it needs a language.
        fast: a model whose network reads first, and leaves this one what it doubts, the fast one
            where that model has two; it needs a language.
        calibration: ground truth that was not trained on, to calibrate the confidence.
        columns: which columns of it hold what.

    Raises:
        OptionError: another network or other decoding than the usual without a language, or running
            text without a share of the words.
        TrainingError: no run there, or torch and ONNX Runtime disagree.
        LexiconError: the language cannot be built from its table and the running text.
        ModelError: there is no such other model, or it cannot be used (`with_second`, `with_fast`).
        GroundTruthError: the confidence cannot be calibrated on this ground truth.
    """
    if (second or fast) and not language:
        raise OptionError("what is doubtful is found by a search, which needs a --language")
    if decoding not in (None, DecodingOptions()) and not language:
        raise OptionError("the options of decoding are those of a search, which needs a --language")
    decoding = decoding or DecodingOptions()
    if running and not decoding.word_share:
        raise OptionError("--text is counted in words; give the share they have, --word-share 0.4")
    training, exported = load_best(run)
    out.mkdir(parents=True, exist_ok=True)
    with work_folder(out, "export") as partial:
        folder = _network(training, exported, partial, name)
        if language:
            counted = running if decoding.word_share else None
            build_language(language, folder.alphabet, folder.language, counted)
            folder = replace(folder, decoding=decoding)
            if second:
                folder = with_second(folder, ModelFolder.load(second))
            if fast:
                folder = with_fast(folder, ModelFolder.load(fast))
            folder.save()
        if calibration:
            folder = calibrate(folder, read_sources(calibration, columns))
        return move_into(folder, out)


def with_second(folder: ModelFolder, other: ModelFolder) -> ModelFolder:
    """Return a model folder, not saved, in which a network of another model looks again.

    Raises:
        ModelError: it writes other characters, in other frames, or needs other canvases or rows.
    """
    _check_frames(folder, other)
    if other.height_step:
        raise ModelError(
            f"{other.path} sees the rows of the ink alone; such a network can read first, --fast"
        )
    if folder.image.width_step % other.image.width_step:
        raise ModelError(
            f"{other.path}: its canvases are multiples of {other.image.width_step} pixels, and "
            f"those of {folder.name} of {folder.image.width_step}; pack both alike"
        )
    shutil.copyfile(other.second_onnx if other.second else other.onnx, folder.second_onnx)
    image = other.image
    second = other.second or Second(other.name, other.created, image.height, image.writing)
    return replace(folder, second=second)


def with_fast(folder: ModelFolder, other: ModelFolder) -> ModelFolder:
    """Return a model folder, not saved, in which a network of another model reads first.

    Raises:
        ModelError: it writes other characters, in other frames, or reads other line images.
    """
    _check_frames(folder, other)
    if other.image != folder.image:
        raise ModelError(
            f"{other.path} reads {other.image}, and {folder.name} {folder.image}; pack both alike"
        )
    shutil.copyfile(other.fast_onnx if other.fast else other.onnx, folder.fast_onnx)
    fast = other.fast or Fast(other.name, other.created, other.height_step)
    return replace(folder, fast=fast)


def _check_frames(folder: ModelFolder, other: ModelFolder) -> None:
    """Raise a `ModelError` unless both write the same characters in the same frames."""
    for what, theirs, ours in (
        ("alphabet", other.alphabet.characters, folder.alphabet.characters),
        ("stride", other.stride, folder.stride),
    ):
        if theirs != ours:
            raise ModelError(
                f"{other.path}: its {what} is {theirs!r}, not {ours!r}; only a model that "
                "writes the same characters in the same frames can be used beside it"
            )


@contextmanager
def changed(out: Path) -> Iterator[ModelFolder]:
    """Give a copy of a model folder to change, which takes its place when nothing went wrong.

    Raises:
        ModelError: there is no model folder.
        OptionError: it is an included model.
    """
    if not out.exists() and out.name in included():
        raise OptionError(f"included models stay as they are; copy {INCLUDED / out.name} first")
    ModelFolder.load(out)
    with work_folder(out, "change") as partial:
        for file in filter(Path.is_file, out.iterdir()):
            shutil.copyfile(file, partial / file.name)
        folder = ModelFolder.load(partial)
        yield folder
        move_into(folder, out)


def move_into(folder: ModelFolder, out: Path) -> ModelFolder:
    """Put the files of a model folder into `out`, in place of those of an earlier export."""
    for file in FILES:
        if (made := folder.path / file).exists():
            made.replace(out / file)
        else:
            (out / file).unlink(missing_ok=True)
    return replace(folder, path=out)


def load_best(run: Path) -> tuple[dict[str, Any], Exported]:
    """Return the description and the network, in evaluation mode, of a run's best weights."""
    file = run / "best" / "training.json"
    try:
        training: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{file}: {error}; give the --out of a training run that was validated"
        ) from None
    weights = load_tensors(run / "best" / "weights.safetensors")
    try:
        options = from_json(TrainOptions, training["options"])
        spec = stored_spec(training["image"])
        network = build(options, spec.height, Alphabet(training["alphabet"]).classes, weights)
        network.load_state_dict(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise TrainingError(f"{file} is damaged ({error!r}); export another run") from None
    return training, Exported(network).eval()


def _network(training: dict[str, Any], exported: Exported, folder: Path, name: str) -> ModelFolder:
    """Write a model folder that holds the network alone."""
    spec = stored_spec(training["image"])
    round_weights(exported.network)
    model = ModelFolder(
        path=folder,
        name=name,
        alphabet=Alphabet(training["alphabet"]),
        image=spec,
        height_step=training["options"].get("height_step", 0),
        stride=STRIDE,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        training={key: training.get(key) for key in KEPT},
    )
    write_onnx(exported, model)
    check_parity(exported, model)
    model.save()
    return model
