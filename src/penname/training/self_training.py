"""Self-training: a model's own sure readings of lines without a text, as a pack to train on.

The pack is an ordinary one: split train, source `self`, the model's alphabet. Its manifest says
which model read which pack, how sure it had to be, and how right such readings are on the labelled
validation lines; `rejected.csv` lists every line that was left out, with its reading and why. Lines
are read once: a run that goes on finds the pack.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penname.errors import PackError, TrainingError
from penname.ground_truth.cleaning import Cleaning, CleaningOptions, clean_text
from penname.ground_truth.pack_folder import Pack, PackWriter
from penname.metrics import proportion
from penname.recognizer import Recognizer
from penname.training import checkpoint
from penname.training.start import check_network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from penname.model_folder import ModelFolder
    from penname.recognizer import Prediction
    from penname.training.options import SelfOptions, TrainOptions

log = logging.getLogger(__name__)

SOURCE = "self"
CHUNK = 4096  # lines whose predictions are held at a time, and between two messages


def self_pack(
    packs: Sequence[Path],
    unlabelled: Path,
    out: Path,
    model: str | Path,
    training: TrainOptions,
    options: SelfOptions,
    *,
    resume: bool,
) -> Pack:
    """Return the pack `out/self` of the lines that a model is sure of; write it if it is not there.

    Args:
        packs: the labelled packs; their validation lines say how right sure readings are.
        unlabelled: the pack whose lines in the split `unlabelled` are read.
        out: the folder of the run.
        model: what reads them, and what the run starts from.
        training: options of the run; `mix` has a number for the new pack, the last.
        options: which readings are kept.
        resume: whether a pack of the same model, lines and options may be there already.

    Raises:
        TrainingError: the model cannot be trained on these packs, is sure of no line, or `out` has
            a run or a pack that is another or is not to be resumed.
        PackError: a pack is missing or damaged, or has no lines without a text.
    """
    labelled, other = [Pack.open(path) for path in packs], Pack.open(unlabelled)
    recognizer = Recognizer.load(model)
    _check(recognizer.model, [*labelled, other], training)
    origin = _origin(recognizer.model, labelled, other, options)
    path = out / SOURCE
    if resume and path.exists():
        return _stored(path, origin)
    if path.exists() or checkpoint.latest(out):
        raise TrainingError(
            f"{out} has a run; go on with --resume if it had --unlabelled, or choose another --out"
        )
    if not len(other.indices("unlabelled")):
        raise PackError(f"{unlabelled} has no lines without a text; pack with --keep-unlabelled")
    about = {"model": recognizer.name, "unlabelled": str(unlabelled)} | origin
    about |= _validated(recognizer, labelled, options.sure)
    _write(recognizer, other, path, options.sure, about)
    return Pack.open(path)


def report(pack: Pack) -> str:
    """Return what a pack of own readings says about itself, for people."""
    about, dropped = pack.manifest["options"], pack.manifest["cleaning"]
    why = ", ".join(f"{count:,} {rule}" for rule, count in dropped.items())
    lines = [
        f"{about['model']} read {len(pack) + sum(dropped.values()):,} lines of "
        f"{about['unlabelled']}: {len(pack):,} kept, {sum(dropped.values()):,} left out"
        + (f" ({why})" if why else ""),
        f"kept is what it reads with a confidence of {about['sure']:g} or more; "
        f"by its own account {about['claimed']:.1%} of that is exactly right",
    ]
    validation, sure, right = (about[f"validation_{x}"] for x in ("lines", "sure", "right"))
    if sure:
        share = proportion(right, sure)
        lines.append(
            f"of {validation:,} labelled validation lines {sure:,} are read so, {right:,} exactly "
            f"right: {share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
        )
    else:
        lines.append(
            f"none of {validation:,} labelled validation lines is read so: how right it is was not "
            "measured"
        )
    return "\n".join(lines)


def _check(model: ModelFolder, packs: Sequence[Pack], training: TrainOptions) -> None:
    """Check that the model can be trained so, and reads the line images of all packs."""
    training.passes(len(packs))
    check_network(model, training)
    for pack in packs:
        if pack.spec != model.image:
            raise TrainingError(
                f"{model.path} reads {model.image}, {pack.path} holds {pack.spec}; pack again"
            )


def _origin(
    model: ModelFolder, labelled: Sequence[Pack], other: Pack, options: SelfOptions
) -> dict[str, Any]:
    """Return what decides which lines are kept, and with which text."""
    return {
        "sure": options.sure,
        "model_sha256": model.checksum(),
        "unlabelled_pack": other.checksum,
        "labelled_packs": [pack.checksum for pack in labelled],
    }


def _stored(path: Path, origin: dict[str, Any]) -> Pack:
    """Return the pack that is there, when it is of the same origin."""
    pack = Pack.open(path)
    there = pack.manifest["options"]
    if changed := [name for name, value in origin.items() if there.get(name) != value]:
        named = "; ".join(
            f"{name}: {there.get(name)} there, {origin[name]} now" for name in changed
        )
        raise TrainingError(f"{path} was read otherwise ({named}); choose another --out")
    return pack


def _validated(recognizer: Recognizer, labelled: Sequence[Pack], sure: float) -> dict[str, int]:
    """Return how many validation lines there are, are read surely, and are so exactly right."""
    total = kept = right = 0
    for pack in labelled:
        for line, prediction in _read(recognizer, pack, "validation"):
            decision = _decide(prediction, sure)
            total += 1
            kept += not decision.dropped
            right += not decision.dropped and decision.text == pack.texts[line]
    return {"validation_lines": total, "validation_sure": kept, "validation_right": right}


def _write(
    recognizer: Recognizer, pack: Pack, out: Path, sure: float, about: dict[str, Any]
) -> None:
    """Write the lines that are read surely, with what they are read as."""
    model = recognizer.model
    confidences: list[float] = []
    with PackWriter(out, model.alphabet, pack.spec, about) as writer:
        for line, prediction in _read(recognizer, pack, "unlabelled"):
            decision = _decide(prediction, sure)
            place = {"file": pack.files[line], "row": pack.rows[line]}
            if decision.dropped:
                why = {"rule": decision.dropped, "note": decision.note}
                writer.reject(**place, **why, text=prediction.text)
                continue
            confidences.append(prediction.confidence)
            group = pack.groups[line]
            writer.add(
                pack.image(line),
                decision.text,
                **place,
                source=SOURCE,
                group=group,
                split="train",
            )
        if not confidences:
            raise TrainingError(
                f"{recognizer.name} reads no line of {pack.path} with a confidence of {sure:g}; "
                "lower --sure, or begin with a better model"
            )
        writer.options["claimed"] = sum(confidences) / len(confidences)


def _read(recognizer: Recognizer, pack: Pack, split: str) -> Iterator[tuple[int, Prediction]]:
    """Yield the lines of a split with their predictions."""
    lines = pack.indices(split).tolist()
    for start in range(0, len(lines), CHUNK):
        part = lines[start : start + CHUNK]
        yield from zip(part, recognizer.read_lines([pack.image(i) for i in part]), strict=True)
        log.info("read %d of %d %s lines of %s", start + len(part), len(lines), split, pack.path)


def _decide(prediction: Prediction, sure: float) -> Cleaning:
    """Return the text to learn from, or why there is none."""
    decision = clean_text(prediction.text, CleaningOptions(), None)
    if decision.dropped or prediction.confidence >= sure:
        return decision
    return replace(decision, dropped="unsure", note=f"confidence {prediction.confidence:.3f}")
