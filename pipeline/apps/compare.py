"""`twotone compare`: this run against a commit's or an experiment's, or fine-tuning against pretraining."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path

from pipeline.apps.tables import print_table
from pipeline.errors import InputError
from pipeline.evaluation.metrics import CLASSIFIED, METRICS
from pipeline.evaluation.paired import Difference, Verdict, difference

_FILE = Path("reports/evaluate/per_image.csv")
# Scores by photograph and metric; and those of each colorizer.
Photographs = dict[str, dict[str, float]]
Scores = dict[str, Photographs]


def compare(revision: str | None, colorizer: str) -> None:
    """Print each metric of both sides, the interval of its difference, and what may be said of it.

    Args:
        revision: a commit, a branch, or the name of an experiment; None compares with pretrain in this run.

    Raises:
        InputError: a side is missing, or has other photographs.
    """
    here = _scores(_read(_FILE), "this run")
    if revision is None:
        before, after = _of(here, "pretrain", "this run"), _of(here, colorizer, "this run")
        sides = ("pretrain", colorizer)
    else:
        before = _of(_scores(at_revision(revision), revision), colorizer, revision)
        after, sides = _of(here, colorizer, "this run"), (f"{colorizer} of {revision}", f"{colorizer} here")
    rows = []
    for name, found, verdict in differences(before, after, sides[0]):
        change = f"{found.after - found.before:+.3f}"
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        rows.append((name, f"{found.before:.3f}", f"{found.after:.3f}", change, interval, verdict))
    print_table(("metric", *sides, "change", "95 % interval", ""), rows)
    print(f"means over {len(after)} photographs, paired; the intervals know photographs, not seeds")


def differences(before: Photographs, after: Photographs, side: str) -> list[tuple[str, Difference, Verdict]]:
    """Each metric that both sides have, its difference, and what may be said of it.

    Args:
        side: what an error calls `before`.

    Raises:
        InputError: the two were measured on other photographs.
    """
    if before.keys() != after.keys():
        shared = len(before.keys() & after.keys())
        raise InputError(
            f"{side} was measured on other photographs ({shared} of {len(after)} are the same), so nothing can be "
            "compared; use the same base.seed and sample, and compare each run with the lightness_table of its own"
        )
    both = before[next(iter(before))].keys() & after[next(iter(after))].keys()
    found = []
    for name, metric in (METRICS | CLASSIFIED).items():
        if name in both:
            one = difference(*({path: row[name] for path, row in side.items()} for side in (before, after)))
            found.append((name, one, one.verdict(metric.better)))
    return found


def scores_of(folder: Path, colorizer: str) -> Photographs:
    """The scores of a colorizer in the project of a folder.

    Raises:
        InputError: nothing was evaluated there, or not this colorizer.
    """
    return _of(_scores(_read(folder / _FILE), str(folder)), colorizer, str(folder))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run dvc repro evaluate") from None


def at_revision(revision: str, file: Path = _FILE) -> str:
    """A file in a commit, or in the experiment of that name.

    Raises:
        InputError: there is none.
    """
    found = _git("for-each-ref", "--format=%(refname)", f"refs/exps/**/{revision}").split()
    done = subprocess.run(
        ["git", "show", f"{found[0] if found else revision}:{file.as_posix()}"], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(
            f"{revision}: no commit, branch or experiment with {file} ({done.stderr.strip().splitlines()[0]}); "
            "`git log` and `dvc exp show` list them"
        )
    return done.stdout


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise InputError("git is not installed, so there is no revision to compare with") from None


def _scores(text: str, side: str) -> Scores:
    scores: Scores = {}
    try:
        for row in csv.DictReader(io.StringIO(text), strict=True):
            # Runs of an earlier version lack some; all have this one.
            numbers = {name: float(row[name]) for name in METRICS | CLASSIFIED if name in row or name == "ab_mae"}
            scores.setdefault(row["colorizer"], {})[row["path"]] = numbers
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{_FILE} of {side} cannot be compared ({error!r}); run dvc repro evaluate") from None
    return scores


def _of(scores: Scores, colorizer: str, side: str) -> Photographs:
    if colorizer not in scores:
        raise InputError(f"{side} has no colorizer {colorizer!r}; there are {', '.join(scores) or 'none'}")
    return scores[colorizer]
