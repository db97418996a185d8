from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, environment


@pytest.mark.slow
def test_the_benchmarks_run_and_give_ratios(tmp_path: Path) -> None:
    words = ["--size", "32", "--batch-size", "2", "--repeats", "1", "--photographs", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--json", str(tmp_path / "numbers.json")],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert {"fp32, GFLOP/s", "bf16, GFLOP/s", "copy, GB/s"} == set(numbers["limits"])
    rows = {row["name"]: row for row in numbers["rows"]}
    assert len(rows) == 6
    assert all(row["ours"] > 0 < row["reference"] and row["spread"][0] <= row["spread"][1] for row in rows.values())
    assert 0 < rows["L1 step"]["share"] < 1.5
