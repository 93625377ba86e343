"""Cores: how many processors this process may use, for threads and worker processes."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
