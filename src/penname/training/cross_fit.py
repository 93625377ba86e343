"""Cross-fitting: models for the audit of ground truth, none trained on the lines it judges.

The lines are dealt into K folds, a writer's (else a picture's) all into one; for each fold a model
is trained on the other folds, with their texts as its language where none is given. A folder of
work holds, for each fold, the table, the pack, the run and the model folder, so what was stopped
goes on.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from penname.alphabet import Alphabet, nfc
from penname.errors import OptionError, TrainingError
from penname.files import write_whole
from penname.ground_truth.cleaning import cleaning_for, is_marker
from penname.ground_truth.corrections import write_table
from penname.ground_truth.pack import PackOptions, write_pack
from penname.ground_truth.pack_folder import Pack
from penname.line_image import ImageSpec
from penname.model_folder import ModelFolder
from penname.options import to_json
from penname.training.export import export_model
from penname.training.loop import train
from penname.training.options import TrainOptions
from penname.training.start import preset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from penname.ground_truth.sources import GroundTruth

FINE = 5e-4  # learning rate where a trained model is the start
Numbered = tuple[int, "GroundTruth"]


@dataclass(frozen=True)
class _Plan:
    """How each fold is packed and trained."""

    packing: PackOptions
    spec: ImageSpec
    training: TrainOptions
    start: ModelFolder | None
    language: Path | None

    @classmethod
    def of(
        cls, lines: Iterable[GroundTruth], epochs: int, start: str | None, language: Path | None
    ) -> _Plan:
        """Return a plan for models that write the characters of all lines, or those of a model."""
        if start is None:
            texts = [nfc(line.text or "") for line in lines]
            characters = Alphabet.of(text for text in texts if not is_marker(text))
            packing = PackOptions(validation=0.0, alphabet=characters.characters)
            return cls(packing, ImageSpec(), TrainOptions(epochs=epochs), None, language)
        model = ModelFolder.load(start)
        cleaning = replace(cleaning_for(model.alphabet), alphabet=model.alphabet.characters)
        return cls(
            PackOptions(validation=0.0, **to_json(cleaning)),
            model.image,
            TrainOptions(epochs=epochs, preset=preset_of(model), learning_rate=FINE),
            model,
            language,
        )


def cross_fit(
    read: Callable[[], Iterable[GroundTruth]],
    work: Path,
    folds: int,
    *,
    epochs: int,
    start: str | None = None,
    language: Path | None = None,
) -> Iterator[tuple[Path, Iterator[Numbered]]]:
    """Yield, fold by fold, a model folder and the numbered lines that it was not trained on.

    Args:
        read: returns the lines anew.
        work: a folder that is made, or goes on.
        folds: how many models are trained.
        epochs: passes over the lines of a fold.
        start: a model to fine-tune that was not trained on these lines; None is random weights.
        language: a list of texts that decoding prefers; None is those of the other folds, which
            are too few where the data is small (docs/log.md).

    Raises:
        OptionError: fewer than two folds.
        TrainingError: the work is of other lines or options, or was stopped before its end.
    """
    if folds < 2:
        raise OptionError(f"{folds} folds: give at least 2, so that each has others to learn from")
    plan = _Plan.of(read(), epochs, start, language)
    _claim(
        work,
        {
            "folds": folds,
            "epochs": epochs,
            "start": plan.start and plan.start.checksum(),
            "language": language and hashlib.sha256(language.read_bytes()).hexdigest(),
            "lines": _digest(read(), folds),
        },
    )
    for fold in range(folds):
        place = work / f"fold-{fold + 1}"
        if not (place / "model" / "model.json").exists():
            others = (line for line in read() if fold_of(line, folds) != fold)
            _train(others, place, plan)
        yield place / "model", _held(read(), fold, folds)


def fold_of(line: GroundTruth, folds: int) -> int:
    """Return the fold of a line: by a hash of its group, else of its picture."""
    key = line.group.encode() or _content(line)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % folds


def _held(lines: Iterable[GroundTruth], fold: int, folds: int) -> Iterator[Numbered]:
    """Yield the lines of one fold, numbered as they come in all."""
    for number, line in enumerate(lines):
        if fold_of(line, folds) == fold:
            yield number, line


def _content(line: GroundTruth) -> bytes:
    if isinstance(line.image, bytes):
        return line.image
    return line.image.read_bytes() if line.image.is_file() else line.file.encode()


def _digest(lines: Iterable[GroundTruth], folds: int) -> str:
    """Return a digest of the lines and their folds.

    Raises:
        TrainingError: one fold has them all.
    """
    digest = hashlib.blake2b(digest_size=16)
    used = set()
    for line in lines:
        content = _content(line)  # which a line without a group is dealt by
        fold = fold_of(replace(line, image=content), folds)
        used.add(fold)
        picture = hashlib.blake2b(content, digest_size=16).hexdigest()
        digest.update(json.dumps([line.row, line.text, fold, picture]).encode())
    if len(used) < 2:
        raise TrainingError(
            "all lines are in one fold, as a writer's are, else those of one picture; give lines "
            "of more writers, or name another column with --group-column"
        )
    return digest.hexdigest()


def _claim(work: Path, what: dict[str, object]) -> None:
    """Note in a folder what its work is of, or check that it is the same."""
    file = work / "cross_fit.json"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(what) + "\n")
    if json.loads(file.read_text("utf-8")) != what:
        raise TrainingError(f"{work} holds models of other lines or options; choose another --work")


def _train(lines: Iterable[GroundTruth], place: Path, plan: _Plan) -> None:
    """Train and export the model of one fold, going on where it was stopped."""
    place.mkdir(exist_ok=True)
    table, pack, run, names = (place / x for x in ("lines.parquet", "pack", "run", "names.csv"))
    if not table.exists():
        write_table((replace(line, split="train") for line in lines), table)
    if not pack.exists():
        write_pack([table], pack, plan.packing, plan.spec, progress=True)
    if not train([pack], run, plan.training, resume=True, start=plan.start).finished:
        raise TrainingError(f"{run} was stopped; give the same command again to go on")
    _write_names(Pack.open(pack).texts, names)
    export_model(run, place / "model", place.name, language=plan.language or names)


def _write_names(texts: Iterable[str], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "count"])
        writer.writerows(Counter(texts).most_common())
