"""Draw what the benchmarks measured: throughput by batch size, and cost by data size.

    python benchmarks/plot.py READING.json PACKING.json OUT.svg

Needs matplotlib (`pip install matplotlib`). The files hold the last line of `reading.py` and of
`packing.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib import pyplot as plt


def main() -> None:
    """Draw the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reading", type=Path)
    parser.add_argument("packing", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    reading = json.loads(arguments.reading.read_text("utf-8"))
    packing = json.loads(arguments.packing.read_text("utf-8"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    rates = {int(size): rate for size, rate in reading["per_second_by_batch"].items()}
    left.plot(list(rates), list(rates.values()), "o-")
    left.set(xscale="log", xlabel="batch size", ylabel="pictures/s")
    left.set_ylim(0, 1.1 * max(rates.values()))
    left.set_title("reading")
    left.set_xticks(list(rates), [str(size) for size in rates])
    left.minorticks_off()
    sizes = {int(size): each for size, each in packing["sizes"].items()}
    for key, label in (("seconds", "as measured"), ("cpu_seconds", "processors")):
        right.plot(list(sizes), [each[key] for each in sizes.values()], "o-", label=label)
    right.set(xlabel="lines", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    right.set_title("packing")
    right.set_xticks(list(sizes), [f"{size // 1000}k" for size in sizes])
    right.legend()
    plt.rcParams["svg.fonttype"] = "none"
    figure.savefig(arguments.out, metadata={"Date": None} if arguments.out.suffix == ".svg" else {})


if __name__ == "__main__":
    main()
