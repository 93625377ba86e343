"""Decode the same network outputs in every way, score and time them in one run.

    python benchmarks/decoding.py --names names_frequency.csv --data validation.parquet [...]

The network runs once; its outputs are kept, so a time is that of decoding alone (processor time,
the median of the rounds, all ways in turns). Lists: the one given; the same with every reference
added, as a school has it; and half a million names, the given ones recombined. The second table
divides log_probs by a temperature and tries other weights of the language, each with a calibration
fitted on the other half of the lines. `--exact` compares strict readings with the best of all
names, found by the forward algorithm over every node of the tree (two minutes for 400 lines).
Prints tables, and a JSON object on the last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penname import metrics
from penname.alphabet import nfc
from penname.beam import DecodingOptions, log_pleasing
from penname.calibrate import fit
from penname.decoder import Decoder
from penname.ground_truth.sources import SourceOptions, read_sources
from penname.lexicon import Lexicon, read_names, written
from penname.line_image import decode, line_image, on_canvas
from penname.recognizer import Recognizer

if TYPE_CHECKING:
    from penname.network import Network

HALF_MILLION = 500_000
ACCURACIES = (0.99, 0.995)
TRUST = ("ece", "at 99 %", "at 99.5 %")


class Bench:
    """Line images, their references, and what one network makes of them."""

    def __init__(self, data: Path, model: str) -> None:
        lines = [line for line in read_sources([data], SourceOptions()) if nfc(line.text or "")]
        self.references = [nfc(line.text or "") for line in lines]
        self.recognizer = Recognizer.load(model, threads=1)
        self.images = [line_image(decode(i.image), self.recognizer.model.image) for i in lines]
        self._kept = {}
        self.recognizer.network = partial(self._once, self.recognizer.network)
        if self.recognizer.second:
            self.recognizer.second = partial(self._once, self.recognizer.second)
        self.temperature = 1.0
        self.recognizer.read_lines(self.images)

    def _once(self, network: Network, images: np.ndarray) -> np.ndarray:
        key = network, hash(images.tobytes())
        if key not in self._kept:
            self._kept[key] = network(images)
        if self.temperature == 1.0:
            return self._kept[key]
        scaled = self._kept[key] / self.temperature
        return scaled - np.log(np.exp(scaled).sum(axis=2, keepdims=True))

    def read(self, recognizer: Recognizer) -> tuple[list[str], np.ndarray, float]:
        """Return the texts, their confidences, and the processor time in seconds."""
        started = time.process_time()
        predictions = recognizer.read_lines(self.images)
        seconds = time.process_time() - started
        confidences = np.array([prediction.confidence for prediction in predictions])
        return [prediction.text for prediction in predictions], confidences, seconds

    def right(self, texts: list[str]) -> np.ndarray:
        """Return which texts are exactly right (N,) bool."""
        return np.array([a == b for a, b in zip(self.references, texts, strict=True)])


def scores(bench: Bench, recognizer: Recognizer) -> dict[str, list[float]]:
    """Return each score with its interval."""
    texts, confidences, _ = bench.read(recognizer)
    pairs = list(zip(bench.references, texts, strict=True))
    found = {
        measure.__name__: list(metrics.rate([measure(*pair) for pair in pairs], seed=0))
        for measure in (metrics.exact, metrics.cer)
    }
    right = bench.right(texts)
    curve = metrics.coverage_curve(confidences, right)
    ece = metrics.expected_calibration_error(metrics.reliability(confidences, right))
    values = [ece, *(metrics.coverage_at(share, curve) for share in ACCURACIES)]
    intervals = metrics.trust_intervals(confidences, right, ACCURACIES, seed=0)
    for name, value, interval in zip(TRUST, values, intervals, strict=True):
        found[name] = [value, *interval]
    return found


def settings(bench: Bench) -> list[list[float]]:
    """Return rows of temperature, weight, exact, CER, log loss, calibration error, at 99 %."""
    rows = []
    for temperature in (0.7, 0.85, 1.0, 1.2, 1.5, 2.0):
        for weight in (0.1, 0.2, 0.3, 0.4, 0.6):
            if weight != 0.3 and temperature != 1.0:
                continue
            raw = copy(bench.recognizer)
            raw.model = replace(raw.model, confidence=None)
            options = replace(raw.decoder.options, language_weight=weight)
            raw.decoder = Decoder(raw.model.alphabet, raw.decoder.language, options)
            bench.temperature = temperature
            texts, confidences, _ = bench.read(raw)
            bench.temperature = 1.0
            right = bench.right(texts)
            refitted = _cross_fitted(confidences, right)
            p = np.clip(np.where(right, refitted, 1 - refitted), 1e-9, 1)
            edits, length = np.sum(
                [metrics.cer(*pair) for pair in zip(bench.references, texts, strict=True)], axis=0
            )
            ece = metrics.expected_calibration_error(metrics.reliability(refitted, right))
            at_99 = metrics.coverage_at(0.99, metrics.coverage_curve(refitted, right))
            loss = float(-np.log(p).mean())
            rows.append([temperature, weight, right.mean(), edits / length, loss, ece, at_99])
    return rows


def _cross_fitted(confidences: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return confidences calibrated on the other half of the lines, drawn once."""
    half = np.random.default_rng(0).permutation(len(right)) % 2 == 0
    calibrated = np.empty(len(right))
    for part in (half, ~half):
        calibration = fit(confidences[~part], right[~part])
        logs = np.log(np.maximum(confidences[part], 1e-300))
        calibrated[part] = [calibration.confidence(float(log)) for log in logs]
    return calibrated


def best_of_all(
    words: Lexicon, log_probs: np.ndarray, options: DecodingOptions
) -> tuple[str, float]:
    """Return the name worth most of all in log_probs (T, C), and the logarithm of its worth.

    Forward over the whole tree: blank[node] and label[node] are the chances of the paths that wrote
    the node's beginning and end in a blank or in its label.
    """
    parent, symbol = np.divmod(words.entries, words.base)
    ends = symbol == words.end
    emitted = np.where(ends, 0, symbol)
    repeated = np.append(0, symbol)[parent] == symbol
    blank, label = np.zeros((2, len(symbol) + 1))
    blank[0], scale = 1.0, 0.0
    for frame in np.exp(log_probs.astype(float)):
        before = np.where(repeated, blank[parent], (blank + label)[parent])
        blank, label = (
            (blank + label) * frame[0],
            np.append(0.0, np.where(ends, 0.0, (label[1:] + before) * frame[emitted])),
        )
        largest = max(blank.max(), label.max())
        blank, label, scale = blank / largest, label / largest, scale + np.log(largest)
    with np.errstate(divide="ignore"):
        chance = np.log((blank + label)[parent[ends]]) + scale
    characters = np.zeros(len(symbol) + 1, dtype=int)
    for node, before in enumerate(parent, 1):
        characters[node] = characters[before] + 1
    log_prob = np.log(words.counts[ends] / words.counts[ends].sum())
    worth = chance + log_pleasing(log_prob, characters[parent[ends]], options)
    best, text = int(worth.argmax()), ""
    node = int(parent[ends][best])
    while node:
        text = words.alphabet.characters[symbol[node - 1] - 1] + text
        node = int(parent[node - 1])
    return text, float(worth[best])


def agreement(bench: Bench, strict: Recognizer) -> list[list[float]]:
    """Return rows of a log worth, the lines whose best name is worth more, and those read so."""
    found = []
    for image, text in zip(bench.images, bench.read(strict)[0], strict=True):
        width = strict.model.image.canvas_width(image.shape[1])
        log_probs = strict.network(on_canvas([image], width))[0]
        decoder = strict.decoder
        best, worth = best_of_all(decoder.language.words, log_probs, decoder.options)
        found.append((worth, best == text))
    return [
        [limit, sum(w > limit for w, _ in found), sum(same for w, same in found if w > limit)]
        for limit in (-8, -12, -20, -1e9)
    ]


def recombined(names: list[str], count: int) -> list[str]:
    """Return the names and recombinations of their beginnings and ends, `count` in all."""
    rng = np.random.default_rng(0)
    made = dict.fromkeys(names)
    while len(made) < count:
        head, tail = names[rng.integers(len(names))], names[rng.integers(len(names))]
        made[head[: rng.integers(2, 6)] + tail[-rng.integers(3, 7) :]] = None
    return list(made)[:count]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=Path, required=True, help="a list of names, name,count")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exact", action="store_true")
    arguments = parser.parse_args()
    report: dict[str, dict[str, object]] = {}
    for data in arguments.data:
        bench = Bench(data, arguments.model)
        with tempfile.TemporaryDirectory() as folder:
            ways, loading, held = _ways(bench, arguments.names, Path(folder))
        print(
            f"\n{data.name}: {len(bench.references)} lines, {held} of the references in the list;"
        )
        print(f"500,000 names load in {loading:.2f} s of processor time\n")
        table = _table(bench, ways, arguments.rounds)
        print("\ntemperature  weight   exact     CER  log loss  ece, refitted  at 99 %")
        rows = settings(bench)
        for t, w, exact, cer, loss, ece, at_99 in rows:
            print(f"{t:11} {w:7} {exact:7.2%} {cer:7.2%} {loss:9.4f} {ece:14.2%} {at_99:8.1%}")
        report[data.name] = {"in_list": held, "load_s": loading, "ways": table, "settings": rows}
        if arguments.exact:
            same = agreement(bench, ways["strict, list"])
            for limit, lines, read in same:
                print(f"best of all names worth more than e^{limit:g}: {lines}, read so: {read}")
            report[data.name]["agreement"] = same
    print(json.dumps(report))


def _ways(bench: Bench, file: Path, folder: Path) -> tuple[dict[str, Recognizer], float, int]:
    """Return the ways to decode, the seconds to load 500,000 names, and the references listed."""
    plain = bench.recognizer
    names = written(read_names(file), plain.model.alphabet)
    complete, large = folder / "complete.csv", folder / "large.txt"
    rows = (dict.fromkeys(bench.references, 1) | names).items()
    complete.write_text("name,count\n" + "".join(f"{n},{c}\n" for n, c in rows), "utf-8")
    large.write_text("\n".join(recombined(list(names), HALF_MILLION)), "utf-8")
    greedy = copy(plain)
    greedy.decoder = Decoder(plain.model.alphabet)
    ways = {"greedy": greedy, "language": plain}
    lists = {"list": file, "list with all": complete, "500,000 names": large}
    for name, each in lists.items():
        for mode in ("open", "strict"):
            ways[f"{mode}, {name}"] = plain.with_lexicon(each, strict=mode == "strict")
    started = time.process_time()
    Lexicon.load(large, plain.model.alphabet)
    return ways, time.process_time() - started, sum(text in names for text in bench.references)


def _table(bench: Bench, ways: dict[str, Recognizer], rounds: int) -> dict[str, object]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(bench.read(way)[2])
    table = {}
    print(
        f"{'':22} ms a crop "
        + "".join(f"{name:>25}" for name in ("exact", "CER", "ece", "at 99 %", "at 99.5 %"))
    )
    for name, way in ways.items():
        found = scores(bench, way)
        milliseconds = 1e3 * statistics.median(seconds[name]) / len(bench.references)
        shown = "".join(f"{f'{v:.2%} ({lo:.1%} to {hi:.1%})':>25}" for v, lo, hi in found.values())
        print(f"{name:22} {milliseconds:9.2f} {shown}")
        table[name] = found | {"ms": milliseconds}
    return table


if __name__ == "__main__":
    main()
