"""uv run python benchmarks/race.py FOLDER: minutes from nothing to a validation ab_mae of 13.4, on flowers at 96 px.

The one number by which a change of speed or of learning is judged; docs/results/race.md keeps its history. It
runs the real stages `sample` and `pretrain` in a temporary folder, stops at the first epoch that reaches the goal, and
prints the time from the start of `sample` to that epoch's score. `-S block.key=value` changes a parameter.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.params.recipes import compose, write
from pipeline.params.schema import parse

ROOT = Path(__file__).parents[1]
SETTING: dict[str, dict[str, Any]] = {
    "base": {"image_size": 96},
    "sample": {"source": "folder", "train": 3400, "valid": 250, "test": 250},
    "generator": {"backbone": "tf_efficientnet_lite0", "weights": "imagenet", "decoder": "halved"},
    "pretrain": {"epochs": 4, "batch_size": 16, "sample_epochs": []},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, help="the folder of flowers")
    parser.add_argument("--goal", type=float, default=13.4, help="ab_mae on the validation photographs")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="BLOCK.KEY=VALUE")
    given = parser.parse_args()
    tree = compose(ROOT / "recipes", "quickstart")
    for block, keys in SETTING.items():
        tree[block].update(keys)
    tree["sample"]["path"] = str(given.photographs.resolve())
    for assignment in given.set:
        key, _, value = assignment.partition("=")
        block, _, name = key.partition(".")
        tree[block][name] = YAML(typ="safe").load(value)
    parse(tree, "the race")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(tree, folder / "params.yaml")
        run(folder, given.goal)


def run(folder: Path, goal: float) -> None:
    """Sample and pretrain in a folder, and print each epoch's minutes and score, until one reaches the goal."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "stages", "sample"], cwd=folder, env=_environment(), check=True)
    print(f"{(time.monotonic() - started) / 60:.2f} min: sampled", flush=True)
    training = subprocess.Popen([sys.executable, "-m", "stages", "pretrain"], cwd=folder, env=_environment())
    seen = 0
    while seen == 0 or training.poll() is None:
        time.sleep(0.2)
        for row in _history(folder / "logs/pretrain/history.csv")[seen:]:
            seen += 1
            minutes, score = (time.monotonic() - started) / 60, float(row["valid_ab_mae"])
            print(f"{minutes:.2f} min: epoch {row['epoch']}, valid ab_mae {score:.3f}", flush=True)
            if score <= goal:
                training.terminate()
                training.wait()
                print(f"reached {goal} in {minutes:.2f} minutes")
                return
        if training.poll():
            sys.exit(training.returncode)
    print(f"did not reach {goal}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _history(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
