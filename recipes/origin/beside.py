"""Print the 2021 project's figures beside those of a sweep, as a Markdown table.

Usage: beside.py SWEEP.json. Ours are means over seeds with the 95 % of them. The deck's words are
of 41,382 validation crops; its "correct characters" is a mean per name, ours sums over all names.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

DECK = Path(__file__).with_name("deck.csv")
WORDS = 41_382


def ours(scores: dict[str, dict[str, float | None]], name: str, factor: float = 1) -> str:
    """Return one of our scores as text."""
    if name not in scores:
        return "-"
    mean, half = scores[name]["mean"], scores[name]["plus_minus"]
    return f"{factor * mean:.2f}" + ("" if half is None else f" ± {factor * half:.2f}")


def main() -> None:
    """Print the table."""
    sweep = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = {setting["setting"]: setting["scores"] for setting in sweep["settings"]}
    print(
        "| experiment | | deck: loss | ours | deck: characters, % | ours | deck: words, % | ours |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with DECK.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            scores = found.get(row["setting"], {})
            cells = [row["experiment"], row["value"], row["loss"] or "-", ours(scores, "loss")]
            cells += [row["correct_characters"], ours(scores, "correct_characters", 100)]
            cells += [f"{100 * int(row['correct_words']) / WORDS:.3f}", ours(scores, "exact", 100)]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
