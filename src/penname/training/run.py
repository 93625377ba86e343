"""A run: network, averaged weights, optimiser, lines, and where it is; one step at a time.

Everything a step needs that is random comes from (seed, step) or (seed, epoch), and the learning
rate is a function of the step. So a checkpoint is weights, optimiser and a position, and a run that
was killed and resumed computes the same numbers as one that was not: on a CPU the same bits; a GPU
adds the gradients of CTC in any order.
"""

from __future__ import annotations

import copy
import logging
import math
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from penname import __version__
from penname.alphabet import BLANK
from penname.errors import TrainingError
from penname.line_image import stored_spec
from penname.metrics import MEASURES, ratio
from penname.options import from_json, to_json
from penname.training import checkpoint
from penname.training.allocator import keep_freed_memory
from penname.training.augment import augment
from penname.training.cuda_graphs import Pass, Size, record
from penname.training.data import Batch, Lines, Resident, in_order, loaded, most_ink, plan
from penname.training.device import arithmetic, autocast, find_device, on_device
from penname.training.loss import batch_loss, column_loss, frame_loss
from penname.training.model import (
    SHAPES,
    STRIDE,
    as_ink,
    freeze,
    keep_statistics,
    parameters,
    pixels_a_step,
)
from penname.training.options import TrainOptions
from penname.training.start import begin
from penname.training.teacher import Columns, Teacher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penname.ground_truth.pack_folder import Pack
    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder
    from penname.training.progress import Progress

log = logging.getLogger(__name__)

SET_ASIDE_IN_A_ROW = 5  # non-finite steps after which a run stops
RECORDED = 0.01  # of an epoch's batches have a size whose passes are recorded on a GPU
SCORES = ("cer", "exact", "correct_characters")  # `exact` is the 2021 project's "correct words"


@dataclass
class State:
    """Where a run is: all of it but the tensors."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0  # of this epoch
    loss_sum: float = 0.0  # of this epoch, per line
    lines_done: int = 0  # of this epoch
    set_aside: int = 0  # steps with a non-finite loss or gradient
    bad_in_a_row: int = 0  # of them, those since the last good step
    seconds: float = 0.0
    best_cer: float | None = None
    best_epoch: int = 0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class Run:
    """A training run: network, average, optimiser, lines and state."""

    def __init__(
        self,
        packs: Sequence[Pack],
        out: Path,
        options: TrainOptions,
        start: ModelFolder | None = None,
        teacher: ModelFolder | None = None,
    ) -> None:
        check_models(options, start, teacher)
        self.options, self.out, self.packs = options, out, packs
        self.spec = _one_spec(packs, pixels_a_step(options.preset))
        if options.height_step >= self.spec.height:
            raise TrainingError(
                f"a --height-step of {options.height_step} leaves no row out, as line images are "
                f"{self.spec.height} high; give a smaller one, or 0"
            )
        alphabet = packs[0].alphabet
        for pack in packs[1:]:
            alphabet = alphabet.merge(pack.alphabet)
        self.device = find_device(options.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(options.seed)
        self.alphabet, network = begin(alphabet, self.spec, options, start)
        self.start = start and start.checksum()
        average = copy.deepcopy(network)  # before .to: a copy on a GPU scatters the LSTM's weights
        self.network = on_device(network, self.device)
        self.average = on_device(average, self.device).eval().requires_grad_(False)
        self.averaged = _floats(self.network, self.average)
        # Batch norm's running statistics change in the forward pass, before a step is judged.
        self.running = [b for b in self.network.buffers() if b.is_floating_point()]
        self.running_before = [torch.clone(buffer) for buffer in self.running]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.dtype = arithmetic(options.precision, self.device)
        self.teacher: Teacher | None = None
        if teacher:
            self.teacher = Teacher(teacher, self.alphabet, self.spec, self.device, self.dtype)
        self.columns: tuple[Columns, Columns] | None = None
        if options.matching:
            assert self.teacher, "as `check_models` has seen"
            self.columns = self.teacher.columns(self.network)
        resident = Resident.where_it_fits(packs, self.device)
        self.train, self.validation = (
            Lines(packs, split, self.alphabet, STRIDE, resident, options.height_step)
            for split in ("train", "validation")
        )
        self.passes = options.passes(len(packs))
        self.generator = torch.Generator(self.device)
        self.state = State()
        first = self.plan(0) if len(self.train) else []
        self.steps_an_epoch = len(first)
        if not first:
            raise TrainingError(
                "no training lines; pack some, or check the pack's splits and --mix"
            )
        self._begin_training()
        self.recorded = self._record(first)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Return the batches of an epoch."""
        seed = _seed(self.options.seed, 1, epoch)
        return plan(self.train, self.passes, self.options.batch_size, seed)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up and cosine, or constant."""
        options, total = self.options, self.options.epochs * self.steps_an_epoch
        if options.schedule == "constant":
            return options.learning_rate
        rise = options.warmup * total
        if step < rise:
            return options.learning_rate * (0.04 + 0.96 * step / rise)
        part = (step - rise) / (total - rise)
        return options.learning_rate * (1e-4 + 0.5 * (1 - 1e-4) * (1 + math.cos(math.pi * part)))

    def step(self, batch: Batch) -> None:
        """Update the weights once, unless loss or gradient are not finite."""
        self._seed_step()
        torch._foreach_copy_(self.running_before, self.running)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.state.step)
        loss, lines = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        total, length = torch.stack([lines.sum(), norm.to(lines.dtype)]).tolist()
        if math.isfinite(total) and math.isfinite(length):
            self.optimizer.step()
            self._average_weights()
            self.state.bad_in_a_row = 0
            self.state.loss_sum += total
            self.state.lines_done += len(batch.ids)
        else:
            self._set_aside(batch, lines)
        self.state.step += 1
        self.state.batches_done += 1

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        whole = augment(as_ink(batch.images), self.generator, self.options.augment)
        whole = whole.contiguous(memory_format=torch.channels_last)
        ink = most_ink(whole, batch.rows).contiguous(memory_format=torch.channels_last)
        if recorded := self.recorded.get((*ink.shape,)):
            logits, shortcut = recorded(ink)
        else:
            with autocast(self.device, self.dtype):
                logits, shortcut = self.network(ink)
        further = None
        if self.teacher:
            further = self.options.teaching * frame_loss(logits, self.teacher(whole))
        loss, lines = batch_loss(
            logits, shortcut, batch.labels, batch.label_lengths, self.options.shortcut, further
        )
        if self.columns:
            ours, theirs = (each.given for each in self.columns)
            loss = loss + self.options.matching * column_loss(ours, theirs)
        return loss, lines

    def _record(self, batches: list[np.ndarray]) -> dict[Size, Pass]:
        """Return the passes of the commonest sizes among the batches of an epoch, on a GPU."""
        if self.device.type != "cuda" or self.options.preset not in SHAPES or self.columns:
            return {}  # of a recorded pass the columns could not be learnt
        sizes = Counter((len(b), 1, *self.train.canvas(b)) for b in batches)
        common = [size for size, count in sizes.items() if count > RECORDED * len(batches)]
        return record(self.network, common, self.dtype)

    def _begin_training(self) -> None:
        """Put the network into training mode, but for what stays as it was trained.

        That is batch norm with a height step: of batches of 32 rows and of 64 the statistics
        differ, as paper is more of the larger, and those kept for reading would be of neither.
        """
        self.network.train()
        freeze(self.network, self.options.freeze)
        if self.options.height_step:
            keep_statistics(self.network)

    def _seed_step(self) -> None:
        seed = _seed(self.options.seed, 2, self.state.step)
        torch.manual_seed(seed)  # dropout draws from the global generators
        self.generator.manual_seed(seed)

    @torch.no_grad()
    def _average_weights(self) -> None:
        step = self.state.step
        decay = min(self.options.ema, (1 + step) / (10 + step))
        theirs, ours = self.averaged
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def _set_aside(self, batch: Batch, lines: Tensor) -> None:
        """Undo and count a step that must not reach the weights; stop after a few in a row."""
        torch._foreach_copy_(self.running, self.running_before)
        self.state.set_aside += 1
        self.state.bad_in_a_row += 1
        bad = batch.ids[~torch.isfinite(lines).cpu().numpy()]
        named = ", ".join(self.train.file(int(i)) for i in (bad if len(bad) else batch.ids)[:8])
        log.warning("step %d set aside: loss or gradient not finite: %s", self.state.step, named)
        if self.state.bad_in_a_row >= SET_ASIDE_IN_A_ROW:
            raise TrainingError(
                f"{self.state.bad_in_a_row} steps in a row had no finite loss or gradient, "
                f"the last at step {self.state.step} with {named}; "
                "lower --learning-rate or look at these lines"
            )

    @torch.no_grad()
    def read(self, lines: Lines) -> list[str]:
        """Return what the averaged weights write for each line, greedily."""
        texts = [""] * len(lines)
        batches = in_order(lines, max(256, self.options.batch_size))
        with closing(loaded(lines, batches, self.device)) as loading:
            for batch in loading:
                with autocast(self.device, self.dtype):
                    logits, _ = self.average(most_ink(as_ink(batch.images), batch.rows))
                for line, best in zip(batch.ids, logits.argmax(-1).cpu().numpy(), strict=True):
                    kept = best[(np.diff(best, prepend=-1) != 0) & (best != BLANK)]
                    texts[line] = self.alphabet.decode(kept)
        return texts

    def validate(self) -> dict[str, float]:
        """Return `SCORES` of what the averaged weights read on the validation lines."""
        if not len(self.validation):
            return {}
        pairs = list(zip(self.validation.texts, self.read(self.validation), strict=True))
        sums = {name: [MEASURES[name](*pair) for pair in pairs] for name in SCORES}
        return {name: ratio(*map(sum, zip(*sums[name], strict=True))) for name in SCORES}

    def end_epoch(self, progress: Progress) -> None:
        """Validate, keep the best averaged weights, and decide whether to go on."""
        state, options = self.state, self.options
        state.epoch += 1
        last = state.epoch >= options.epochs
        record: dict[str, float] = {
            "epoch": state.epoch,
            "step": state.step,
            "loss": state.loss_sum / max(1, state.lines_done),
            "learning_rate": self.learning_rate(state.step - 1),
            "set_aside": state.set_aside,
        }
        state.batches_done, state.loss_sum, state.lines_done = 0, 0.0, 0
        impatient = False
        if not len(self.validation):  # nothing to choose by: the last weights are the best
            self.save_best(record)
        elif last or state.epoch % options.validate_every == 0:
            record |= self.validate()
            if state.best_cer is None or record["cer"] < state.best_cer:
                state.best_cer = record["cer"]
                self.save_best(record)
            impatient = 0 < options.patience <= state.epoch - state.best_epoch
        state.finished = last or impatient
        state.history.append(record)
        progress.record(record, state.history)

    def save_best(self, scores: dict[str, float]) -> None:
        """Write the averaged weights and what is needed to export them to `out/best`."""
        self.state.best_epoch = self.state.epoch
        folder = self.out / "best"
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save_tensors(self.average.state_dict(), folder / ".weights.partial")
        (folder / ".weights.partial").replace(folder / "weights.safetensors")
        checkpoint.write_json(folder / "training.json", self.description() | {"scores": scores})

    def description(self) -> dict[str, Any]:
        """Return what identifies the run: options, alphabet, image spec, lines and starts."""
        return {
            "penname": __version__,
            "options": to_json(self.options),
            "alphabet": self.alphabet.characters,
            "image": to_json(self.spec),
            "parameters": parameters(self.network),
            "lines": {"train": len(self.train), "validation": len(self.validation)},
            "packs": [pack.checksum for pack in self.packs],
            "from": self.start,
            "teacher": self.teacher and self.teacher.sha256,
        }

    def introduction(self) -> str:
        """Return what a person wants to know of a run that begins."""
        arithmetic = "bf16" if self.dtype == torch.bfloat16 else "fp32"
        return (
            f"training {self.options.preset} ({parameters(self.network):,} weights) on "
            f"{len(self.train):,} lines, validating on {len(self.validation):,}; "
            f"{self.steps_an_epoch:,} steps an epoch, {self.device} {arithmetic}"
        )

    def save(self) -> None:
        """Write a checkpoint."""
        state = self.description() | asdict(self.state)
        checkpoint.save(self.out, self.network, self.average, self.optimizer, state)

    def resume(self, path: Path) -> None:
        """Load a checkpoint and go on from its position.

        Raises:
            TrainingError: it is damaged, or was made with other packs or options.
        """
        saved = checkpoint.read_state(path)
        names = [each.name for each in fields(State)]
        needed = ("options", "alphabet", "image", "lines", "packs")
        if missing := [name for name in (*needed, *names) if name not in saved]:
            raise TrainingError(f"{path / 'state.json'} has no {', '.join(missing)}")
        check_same_options(from_json(TrainOptions, saved["options"]), self.options, path)
        saved["image"] = to_json(stored_spec(saved["image"]))
        ours = self.description()
        for key in (*needed[1:], "from", "teacher", "parameters"):
            if saved.get(key) != ours[key]:
                raise TrainingError(
                    f"{path}: its {key} is not that of this run; give the packs it was made "
                    "with, the same --from and --teacher, to the penname that began it"
                )
        checkpoint.load(path, self.network, self.average, self.optimizer)
        self.state = State(**{name: saved[name] for name in names})


def check_models(
    options: TrainOptions, start: ModelFolder | None, teacher: ModelFolder | None
) -> None:
    """Refuse options that are of a start or a teacher where there is none."""
    if options.height_step and not start:
        raise TrainingError(
            "with a --height-step batch norm stays as it was trained; give a model, --from"
        )
    if options.freeze and not start:
        raise TrainingError("--freeze keeps parts of a model as they are; name it with --from")
    if options.matching and not teacher:
        raise TrainingError("--matching is by the columns of a --teacher; name one")
    if options.teaching != TrainOptions.teaching and not teacher:
        raise TrainingError("--teaching is the weight of a --teacher; name one")


def _one_spec(packs: Sequence[Pack], step: int) -> ImageSpec:
    """Return the image spec of all packs, whose canvases are multiples of `step` pixels."""
    for pack in packs[1:]:
        if pack.spec != packs[0].spec:
            raise TrainingError(
                f"packs differ in their image spec: {packs[0].spec} and {pack.spec}; "
                "pack them alike"
            )
    if packs[0].spec.width_step % step:
        raise TrainingError(
            f"this network takes {step} pixels a step, and canvases are multiples of "
            f"{packs[0].spec.width_step}; pack with a --width-step that {step} divides"
        )
    return packs[0].spec


def check_same_options(saved: TrainOptions, given: TrainOptions, path: Path) -> None:
    """Refuse to resume with options that change what is computed."""
    free = {"save_every", "time_limit", "device"}
    changed = [
        f"{name}: {value!r} there, {getattr(given, name)!r} now"
        for name, value in asdict(saved).items()
        if name not in free and value != getattr(given, name)
    ]
    if changed:
        raise TrainingError(f"{path} was made with other options ({'; '.join(changed)})")


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _floats(network: nn.Module, average: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors of the network and those of its average, in the same order."""
    theirs, ours = network.state_dict(), average.state_dict()
    names = [name for name, value in ours.items() if value.is_floating_point()]
    return [theirs[name] for name in names], [ours[name] for name in names]
