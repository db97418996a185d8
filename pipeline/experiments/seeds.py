"""`twotone seeds`: the same experiment with several seeds, through DVC, and how far they differ."""

from __future__ import annotations

import hashlib
import json
import subprocess
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

from pipeline import dvc_project
from pipeline.errors import InputError
from pipeline.experiments.changes import changed
from pipeline.experiments.compare import at_revision
from pipeline.tables import print_table

# Shown where all runs have them: some need the classifier, or hundreds of photographs.
_METRICS = (
    *("ab_mae", "colorfulness", "colorfulness_delta", "auc_rebalanced", "ciede2000"),
    *("hue_distance", "top1", "fd_lite0"),
)
_COLORIZERS = ("lightness_table", "pretrain", "pretrain_saturated", "finetune")
_FILE = Path("reports/evaluate/metrics.json")
Metrics = dict[str, dict[str, float]]


def run_seeds(seeds: list[int], changes: list[str]) -> None:
    """Run an experiment for each seed, in a folder of its own, and print mean and spread of what evaluate measured.

    An experiment that is there already, with these parameters and changes, is not run again: after an interruption the
    same command goes on.

    Args:
        changes: key=value, as `dvc exp run -S` takes them.

    Raises:
        InputError: fewer than two seeds, or an experiment failed.
        ParamsError: the changes are refused.
    """
    if len(set(seeds)) < 2:
        raise InputError("name two seeds at least: of one, nobody knows how far another would be")
    changed(Path("params.yaml"), changes)  # before an hour of the first seed is lost to the second
    found = {seed: _run(seed, changes) for seed in dict.fromkeys(seeds)}
    shown = [name for name in _METRICS if all(name in own for run in found.values() for own in run.values())]
    rows = []
    for colorizer in _COLORIZERS:
        for metric in shown:
            values = [metrics[colorizer][metric] for metrics in found.values()]
            each = ", ".join(f"{value:.3f}" for value in values)
            rows.append((colorizer, metric, f"{mean(values):.3f}", f"{stdev(values):.3f}", each))
    named = ", ".join(str(seed) for seed in found)
    print_table(("colorizer", "metric", "mean", "deviation", f"seeds {named}"), rows)
    _print_margins(list(found.values()), shown)
    ratios = [metrics["finetune"]["ab_mae"] / metrics["lightness_table"]["ab_mae"] for metrics in found.values()]
    print(f"finetune's ab_mae is {mean(ratios):.3f} of lightness_table's (deviation {stdev(ratios):.3f})")
    scores = [metrics["finetune"]["ab_mae"] for metrics in found.values()]
    if stdev(ratios) / mean(ratios) < stdev(scores) / mean(scores):
        print("other seeds draw other photographs, so the ratio varies less than the score itself")


def _print_margins(runs: list[Metrics], shown: list[str]) -> None:
    """Print what fine-tuning has over the saturation knob, with Student's 95 % interval over the seeds."""
    quantile = float(student.ppf(0.975, len(runs) - 1))
    rows = []
    for name in shown:
        differences = [run["finetune"][name] - run["pretrain_saturated"][name] for run in runs]
        middle, margin = mean(differences), quantile * stdev(differences) / sqrt(len(runs))
        rows.append((name, f"{middle:+.3f}", f"{middle - margin:+.3f} to {middle + margin:+.3f}"))
    print_table(("finetune less pretrain_saturated", "mean", f"95 % interval over {len(runs)} seeds"), rows)


def _run(seed: int, changes: list[str]) -> Metrics:
    name = f"seed-{seed}-{_digest(changes)}"
    if _result(name) is None:
        print(f"seed {seed}: ", end="")
        if not dvc_project.run_experiment(name, [*changes, f"base.seed={seed}"]):
            raise InputError(f"the experiment of seed {seed} failed (above); those before it are kept")
    else:
        print(f"seed {seed}: {name} is there already; if photographs outside git have changed, `dvc exp remove {name}`")
    found = _result(name)
    if found is None:
        raise InputError(f"the experiment {name} has no {_FILE}; `dvc exp remove {name}`, and run again")
    return found


def _result(name: str) -> Metrics | None:
    try:
        metrics: Metrics = json.loads(at_revision(name, _FILE))
    except (InputError, ValueError):
        return None
    return metrics if set(_COLORIZERS) <= set(metrics) else None


def _digest(changes: list[str]) -> str:
    """Of all that the experiments differ in from others of these seeds."""
    questions = (["rev-parse", "HEAD"], ["diff", "HEAD", "--binary"])
    answers = [subprocess.run(["git", *words], capture_output=True, check=False).stdout for words in questions]
    return hashlib.sha256(b"".join(answers) + json.dumps(sorted(changes)).encode()).hexdigest()[:7]
