"""Allocator: memory that is freed after a step of training stays for the next one.

The tensors of a step come and go by the hundred megabytes. glibc's malloc gives large blocks back
to the kernel at once, which clears every page before it is used again: a seventh of a step on a
CPU (docs/log.md, "Training on a CPU, once more").
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # M_ constants of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Return whether this process now keeps what it frees; no other malloc than glibc's can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(MMAP_MAX, 0))
