"""Take the first N crops of what recipes/names/prepare.py made: take.py OUT N.

People's labels (labelled.parquet) come first, then machine labels (agreed.parquet). Writes
OUT/N.parquet.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def main() -> None:
    """Write the table."""
    out, size = Path(sys.argv[1]), int(sys.argv[2])
    tables = [pq.read_table(out / f"{name}.parquet") for name in ("labelled", "agreed")]
    pq.write_table(pa.concat_tables(tables).slice(0, size), out / f"{size}.part")
    (out / f"{size}.part").replace(out / f"{size}.parquet")


if __name__ == "__main__":
    main()
