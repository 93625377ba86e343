"""Count the names of a pack's training lines, for `penname export --language`.

Usage: counts.py PACK OUT.csv
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

from penname.ground_truth.pack_folder import Pack


def main() -> None:
    """Write the table name,count, the most frequent first."""
    pack = Pack.open(Path(sys.argv[1]))
    lines = zip(pack.texts, pack.splits, strict=True)
    counts = Counter(text for text, split in lines if split == "train")
    with Path(sys.argv[2]).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "count"])
        writer.writerows(counts.most_common())


if __name__ == "__main__":
    main()
