"""Print and draw the scores by the number of labelled crops: plot.py OUT SIZE...

Reads the sweeps that recipes/curves.sh made. The picture, OUT/curves.png, needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAMES = {"start": "from the start", "nothing": "from nothing"}


def spreads(out: Path, name: str, size: str) -> dict[str, dict[str, float | None]]:
    """Return the scores of one sweep, over its seeds."""
    report = json.loads((out / f"{name}-{size}" / "sweep.json").read_text("utf-8"))
    (setting,) = report["settings"]
    scores: dict[str, dict[str, float | None]] = setting["scores"]
    return scores


def cell(spread: dict[str, float | None]) -> str:
    """Return a score as text."""
    half = spread["plus_minus"]
    return f"{spread['mean']:.1%}" + ("" if half is None else f" ± {half:.1%}")


def main() -> None:
    """Print the table and draw the picture."""
    out, sizes = Path(sys.argv[1]), sys.argv[2:]
    found = {name: [spreads(out, name, size) for size in sizes] for name in NAMES}
    print("| crops | exact, from the start | from nothing | CER, from the start | from nothing |")
    print("|---|---|---|---|---|")
    for i, size in enumerate(sizes):
        cells = [cell(found[name][i][score]) for score in ("exact", "cer") for name in NAMES]
        print(f"| {size} | {' | '.join(cells)} |")

    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        sys.exit(f"{out / 'curves.png'} is not drawn: pip install matplotlib, and start again")

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, score, title in zip(axes, ("exact", "cer"), ("exact match", "CER"), strict=True):
        for name, label in NAMES.items():
            values = [100 * each[score]["mean"] for each in found[name]]
            errors = [100 * (each[score]["plus_minus"] or 0) for each in found[name]]
            axis.errorbar([int(s) for s in sizes], values, errors, marker="o", label=label)
        axis.set(xscale="log", xlabel="labelled crops", title=f"{title}, %", ylim=(0, None))
        axis.set_xticks([int(s) for s in sizes], sizes)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(out / "curves.png", dpi=110)


if __name__ == "__main__":
    main()
