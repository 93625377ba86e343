"""Training of a language network: texts in, `language.onnx` and checkpoints out.

It learns from two kinds of text, a batch from either: a list of texts, such as those of the
training lines, and running text, such as novels, of which stretches as long as a line are cut out
anew each time. It begins with running text, and more and more batches are of the list. A text of
the list is drawn in proportion to the square root of its count, for the words of a `Language` know
how often each comes. A step holds texts of about one length, so few shapes occur and little of a
batch is filled up. What a step sees comes from (seed, step) alone, so a run that was killed goes on
as if it had not been.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from penname.alphabet import nfc
from penname.errors import TrainingError
from penname.language_network import ALPHABET, LanguageNetwork
from penname.lexicon import load_names
from penname.training import checkpoint
from penname.training.allocator import keep_freed_memory
from penname.training.device import arithmetic, autocast, find_device
from penname.training.graph import PARITY, halve, trace
from penname.training.loop import stop_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penname.alphabet import Alphabet
    from penname.training.language_options import LanguageOptions

log = logging.getLogger(__name__)

FILE = "language.onnx"
BUCKET = 8  # symbols between two lengths of batches
STRETCH = 64  # the longest piece of running text, as long as a line
LEFT_OUT = 50  # one listed text in so many is kept for the score
EVERY = 500  # steps between two scores and checkpoints
EMBEDDED = 96  # numbers that a symbol is turned into
RISE = 200  # steps in which the learning rate rises
CLIP = 1.0  # largest gradient norm
SCORED = 128  # texts scored at once


class CharacterLSTM(nn.Module):
    """Symbols (N, T) to logits (N, T, C) of the symbols after them."""

    def __init__(self, classes: int, options: LanguageOptions) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, EMBEDDED)  # the start is never written
        self.recurrent = nn.LSTM(EMBEDDED, options.cells, batch_first=True)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.cells, classes)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return logits."""
        hidden, _ = self.recurrent(self.dropout(self.embedding(symbols)))
        return self.head(self.dropout(hidden))  # type: ignore[no-any-return]


class Step(nn.Module):
    """One step of a `CharacterLSTM`, as `penname.language_network` runs it."""

    given: Tensor  # what each symbol adds to the gates (C + 1, 4 * cells)
    kept: Tensor
    head: Tensor
    bias: Tensor

    @torch.no_grad()
    def __init__(self, network: CharacterLSTM) -> None:
        super().__init__()
        trained = network.state_dict()
        given = trained["embedding.weight"] @ trained["recurrent.weight_ih_l0"].T
        weights = {
            "given": given + trained["recurrent.bias_ih_l0"] + trained["recurrent.bias_hh_l0"],
            "kept": trained["recurrent.weight_hh_l0"].T,
            "head": trained["head.weight"].T,
            "bias": trained["head.bias"].clone(),
        }
        weights["bias"][0] = -math.inf  # a text has no 0 before its end
        for name, weight in weights.items():
            self.register_buffer(name, weight.cpu().half().float().contiguous())

    def forward(
        self, symbols: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log_probs (N, C), hidden and cell (N, cells) after symbols (N,)."""
        enter, forget, new, leave = (self.given[symbols] + hidden @ self.kept).chunk(4, 1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        return torch.log_softmax(hidden @ self.head + self.bias, 1), hidden, cell


def train_language(
    listed: Path,
    running: Sequence[Path],
    alphabet: Alphabet,
    out: Path,
    options: LanguageOptions,
    *,
    resume: bool = False,
) -> bool:
    """Train a language network; leave checkpoints and `language.onnx` in `out`.

    SIGTERM or Ctrl-C end the run after the current step with a checkpoint; call again with
    `resume=True` to go on.

    Args:
        listed: a CSV file name,count of texts; one in `LEFT_OUT` is not learned but scored.
        running: text files, a paragraph a line.
        alphabet: what can be written; words with other characters are left out.
        out: a folder.
        options: what is trained, and how long.
        resume: whether to go on from the newest checkpoint.

    Returns:
        Whether it is finished.

    Raises:
        TrainingError: nothing to learn from, a checkpoint in the way or of another run, or a loss
            that is not finite.
        LexiconError: the list cannot be read.
    """
    newest = checkpoint.latest(out)
    if newest and not resume:
        raise TrainingError(f"{newest} exists; go on with --resume or choose another --out")
    device = find_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
    texts = Texts(listed, running, alphabet, options)
    torch.manual_seed(options.seed)
    network = CharacterLSTM(len(alphabet) + 2, options).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate)
    dtype = arithmetic(options.precision, device)
    made_of = {"alphabet": alphabet.characters, "options": asdict(options)} | texts.counted()
    step = _resume(newest, network, optimizer, made_of) if newest else 0
    log.info("learning from %(texts)d texts and %(words)d words of running text", made_of)
    since = time.monotonic()
    with stop_signals() as stopped:
        while step < options.steps and not stopped:
            torch.manual_seed(options.seed * 1_000_003 + step)  # dropout's
            _learn(network, optimizer, texts.batch(step), _learning_rate(step, options), dtype)
            step += 1
            if step % EVERY == 0 or step == options.steps or stopped:
                bits = score(network, texts, dtype)
                if not math.isfinite(bits):
                    raise TrainingError(f"no finite loss at step {step}; lower --learning-rate")
                seconds = time.monotonic() - since
                log.info("step %d, %.0f s: %.3f bits a character", step, seconds, bits)
                state = {"step": step, "bits": bits}
                checkpoint.save(out, network, None, optimizer, made_of | state)
    if step < options.steps:
        log.info("stopped at step %d; go on with --resume", step)
        return False
    write_language(network, alphabet, out / FILE)
    return True


def _resume(
    path: Path,
    network: CharacterLSTM,
    optimizer: torch.optim.Optimizer,
    made_of: dict[str, Any],
) -> int:
    """Go on from a checkpoint; return the steps that were made.

    Raises:
        TrainingError: it is damaged, or of other texts, another alphabet or other options.
    """
    state = checkpoint.read_state(path)
    for what, ours in made_of.items():
        if state.get(what) != ours:
            raise TrainingError(
                f"{path}: its {what} are not these; give the same, or choose another --out"
            )
    checkpoint.load(path, network, None, optimizer)
    return int(state["step"])


def _learn(
    network: CharacterLSTM,
    optimizer: torch.optim.Optimizer,
    symbols: np.ndarray,
    rate: float,
    dtype: torch.dtype,
) -> None:
    """Update the weights once."""
    device = network.head.weight.device
    batch = torch.from_numpy(symbols).to(device)
    with autocast(device, dtype):
        logits = network(batch[:, :-1])
    loss = _loss(logits, batch) / (batch[:, 1:] != 0).sum()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()


class Texts:
    """What is learned from, and the batches of it.

    A batch holds symbols: the start, the labels and the end of each text, filled up with 0.
    """

    def __init__(
        self, listed: Path, running: Sequence[Path], alphabet: Alphabet, options: LanguageOptions
    ) -> None:
        self.options, self.end = options, len(alphabet) + 1
        self.space = alphabet.characters.find(" ") + 1
        names = load_names(listed, alphabet)
        every = [(alphabet.encode(name).tolist(), count) for name, count in names.items() if name]
        self.left_out = [labels for labels, _ in every[::LEFT_OUT]]
        self.lists: dict[int, list[list[int]]] = defaultdict(list)  # by the length of a batch
        roots: dict[int, list[float]] = defaultdict(list)
        for place, (labels, count) in enumerate(every):
            if place % LEFT_OUT:
                length = _up(len(labels) + 1)
                self.lists[length].append(labels)
                roots[length].append(math.sqrt(count))
        if not self.lists:
            raise TrainingError(f"{listed}: too few texts to learn from; give at least two")
        self.flat, self.begins = _flat(running, alphabet)
        worth = np.array([length * sum(each) for length, each in roots.items()])
        self.shares = worth / worth.sum()  # of the lengths of listed texts
        self.chances = {length: np.array(each) / sum(each) for length, each in roots.items()}

    def counted(self) -> dict[str, int]:
        """Return how many texts and words there are to learn from."""
        return {"texts": sum(map(len, self.lists.values())), "words": len(self.begins)}

    def batch(self, step: int) -> np.ndarray:
        """Return the symbols of a step (N, T + 1)."""
        options = self.options
        rng = np.random.default_rng([options.seed, step])
        listed = 2 * options.listed * (step + 0.5) / options.steps
        if len(self.begins) and rng.random() >= listed:
            length = int(rng.choice(range(2 * BUCKET, STRETCH + 1, BUCKET)))
            return self._stretches(rng.choice(self.begins, _size(options, length)), length)
        length = int(rng.choice(list(self.lists), p=self.shares))
        texts = self.lists[length]
        chosen = rng.choice(len(texts), _size(options, length), p=self.chances[length])
        return self.symbols([texts[i] for i in chosen], length)

    def symbols(self, texts: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """Return texts of less than `length` labels as symbols (N, length + 1)."""
        symbols = np.zeros((len(texts), length + 1), dtype=np.int64)
        symbols[:, 0] = self.end + 1
        for row, labels in zip(symbols, texts, strict=True):
            row[1 : 1 + len(labels)] = labels
            row[1 + len(labels)] = self.end
        return symbols

    def _stretches(self, begins: np.ndarray, length: int) -> np.ndarray:
        """Return the whole words from there on that a text of less than `length` labels holds.

        As symbols (N, length + 1); nothing is learned where not even one word fits.
        """
        places = np.arange(length)
        found = self.flat[begins[:, None] + places].astype(np.int64)  # (N, length)
        over = np.where(found == 0, places, length).min(axis=1)  # where the paragraph is
        stops = ((found == 0) | (found == self.space)) & (places <= over[:, None])
        ends = np.where(stops, places, 0).max(axis=1)
        symbols = np.zeros((len(begins), length + 1), dtype=np.int64)
        symbols[:, 0] = self.end + 1
        symbols[:, 1:] = np.where(places < ends[:, None], found, 0)
        symbols[np.arange(len(begins)), 1 + ends] = np.where(ends > 0, self.end, 0)
        return symbols


@torch.no_grad()
def score(network: CharacterLSTM, texts: Texts, dtype: torch.dtype) -> float:
    """Return the bits a character, ends included, of the listed texts that are left out."""
    device = network.head.weight.device
    network.eval()
    losses = symbols = 0.0
    every = sorted(texts.left_out, key=len)
    for start in range(0, len(every), SCORED):
        some = every[start : start + SCORED]
        batch = torch.from_numpy(texts.symbols(some, _up(len(some[-1]) + 1))).to(device)
        with autocast(device, dtype):
            logits = network(batch[:, :-1])
        losses += float(_loss(logits, batch))
        symbols += sum(map(len, some)) + len(some)
    network.train()
    return losses / symbols / math.log(2)


def write_language(network: CharacterLSTM, alphabet: Alphabet, path: Path) -> None:
    """Write one step of a network as an ONNX file, and check that it computes the same.

    Raises:
        TrainingError: torch and ONNX Runtime disagree.
    """
    step, rows = Step(network).eval(), {0: "N"}
    state = torch.zeros(2, network.recurrent.hidden_size)
    given = {"symbols": torch.tensor([1, 2]), "hidden": state, "cell": state.clone()}
    made = ["log_probs", "hidden_after", "cell_after"]
    partial = path.with_name(f".{path.name}")
    trace(step, given, made, dict.fromkeys([*given, *made], rows), partial)
    model = onnx.load(partial)
    helper.set_model_props(model, {ALPHABET: alphabet.characters})
    halve(model.graph)
    onnx.save(model, partial)
    _check_parity(step, LanguageNetwork(partial, alphabet))
    partial.replace(path)


def _check_parity(step: Step, written: LanguageNetwork) -> None:
    """Check that ONNX Runtime gives texts the probabilities that torch does.

    Raises:
        TrainingError: it does not.
    """
    end = len(written.alphabet) + 1
    symbols = np.random.default_rng(0).integers(1, end + 1, (5, 40))
    symbols[:, 0] = end + 1
    columns = torch.from_numpy(symbols)
    hidden = cell = torch.zeros(5, len(step.kept))
    ours = np.zeros((5, 39))
    with torch.no_grad():
        for place in range(39):
            log_probs, hidden, cell = step(columns[:, place], hidden, cell)
            ours[:, place] = log_probs.gather(1, columns[:, place + 1 : place + 2])[:, 0]
    if not (worst := np.abs(written.steps(symbols) - ours).max()) <= PARITY:  # nan too
        raise TrainingError(
            f"{written.file}: torch and ONNX Runtime differ by {worst:.1e}, over {PARITY}"
        )


def _loss(logits: Tensor, symbols: Tensor) -> Tensor:
    """Return the sum of -log P of the symbols after the first, for logits (N, T, C)."""
    flat = logits.float().flatten(0, 1)
    return nn.functional.cross_entropy(
        flat, symbols[:, 1:].flatten(), ignore_index=0, reduction="sum"
    )


def _learning_rate(step: int, options: LanguageOptions) -> float:
    """Return the rate of a step: it rises for `RISE` steps and falls as a cosine to nothing."""
    part = 0.5 + 0.5 * math.cos(math.pi * step / options.steps)
    return options.learning_rate * min(1.0, (step + 1) / RISE) * part


def _size(options: LanguageOptions, length: int) -> int:
    """Return how many texts a batch of that length holds."""
    return max(1, options.symbols // length)


def _up(length: int) -> int:
    """Return the length of the batches in which texts of so many symbols stand."""
    return -(-length // BUCKET) * BUCKET


def _flat(files: Sequence[Path], alphabet: Alphabet) -> tuple[np.ndarray, np.ndarray]:
    """Return running text as labels, one after the other, and where its words begin.

    0 ends a paragraph. A word with a character that the alphabet lacks ends one too.

    Raises:
        TrainingError: a file is not text.
    """
    label = np.zeros(0x110000, dtype=np.int16)
    for place, character in enumerate(alphabet.characters):
        label[ord(character)] = place + 1
    odd = re.compile(rf" ?\S*[^{re.escape(alphabet.characters)}\s]\S* ?")
    parts = [np.zeros(1, dtype=np.int16)]
    for file in files:
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise TrainingError(f"{file}: {error}; save it as UTF-8") from None
        for line in text.splitlines():
            written = odd.sub("\n", nfc(line)) + "\n"
            parts.append(label[np.frombuffer(written.encode("utf-32-le"), np.uint32)])
    flat = np.concatenate([*parts, np.zeros(STRETCH, dtype=np.int16)])
    inside = (flat != 0) & (flat != label[ord(" ")])
    return flat, np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
