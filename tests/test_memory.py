"""Memory that is freed is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = """
import resource
import sys
import numpy as np
from pipeline.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
def fill():
    for _ in range(4):
        one = np.ones(64 << 20, np.uint8)
        other = np.ones(48 << 20, np.uint8)
        del one, other
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_arrays_are_not_fetched_page_by_page_again() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", ROUNDS, how], check=True, capture_output=True).stdout)
        for how in ("keep", "return")
    }
    assert faults["keep"] < 1000 < faults["return"]
