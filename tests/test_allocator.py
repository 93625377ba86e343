"""Memory that is freed stays with the process, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEPS = """
import resource, numpy
from penname.training.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
def step():  # 100 MB in two blocks; pages that are new to the process are faults
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(40_000_000, numpy.uint8), numpy.ones(60_000_000, numpy.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(*[step() for _ in range(4)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_what_a_step_frees_the_next_one_uses() -> None:
    faults = {}
    for kept in (False, True):
        command = [sys.executable, "-c", STEPS.format(kept=kept)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        faults[kept] = [int(each) for each in said.split()]
    assert 10 * max(faults[True][1:]) < min(faults[False][1:])
