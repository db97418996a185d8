"""`twotone compare`: this run against a commit's or an experiment's, or fine-tuning against pretraining."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import MappingProxyType

from matplotlib.lines import Line2D

from pipeline.errors import InputError
from pipeline.evaluation.metrics import ALL, OTHER_COLUMNS, OWN_METRICS
from pipeline.evaluation.paired import Better, Difference, Verdict, difference, fewest, verdicts
from pipeline.experiments import protocols
from pipeline.files import CONFLICT, has_conflict, replacing
from pipeline.tables import print_table

_FILE = Path("reports/evaluate/per_image.csv")
# Scores by photograph and metric; and those of each colorizer.
Photographs = dict[str, dict[str, float]]
Scores = dict[str, Photographs]
# A mean this small has no hundredths, such as the share of nearly gray photographs where none is.
_NO_MEAN = 1e-9
# Of 50 skewed numbers, the interval of a mean holds the truth in 93 of 100 cases, not in 95; of 20, in 91.
_FEW = 50
_COLORS = {"better": "tab:green", "worse": "tab:red", "differs": "tab:blue", "no difference": "tab:gray"}


@dataclass(frozen=True)
class Comparison:
    """Two runs, or two colorizers of a run, on the same photographs."""

    sides: tuple[str, str]
    differences: dict[str, tuple[Difference, Verdict]]
    """By metric."""
    photographs: int
    notes: tuple[str, ...] = ()
    """What was measured otherwise."""


def compare(revisions: Sequence[str], colorizer: str, picture: Path | None) -> None:
    """Print each metric of both sides, the interval of its difference, and what may be said of it.

    Args:
        revisions: commits, branches, or names of experiments, each compared with this run; without one, pretrain of
            this run is compared with the colorizer.
        picture: where the differences are drawn, too; None for nowhere.

    Raises:
        InputError: a side is missing, or has other photographs, or other pixels of them.
        OSError: the picture cannot be written.
    """
    here = _scores(_read(_FILE), "this run")
    after, own = _of(here, colorizer, "this run"), own_metrics(protocol_of(Path()), "this run")
    found = []
    for revision in revisions:
        sides = (f"{colorizer} of {revision}", f"{colorizer} here")
        before = _of(_scores(at_revision(revision), revision), colorizer, revision)
        measured = differences(before, after, sides[0], own)
        notes = protocols.measured_otherwise(_committed_protocol(revision), protocol_of(Path()), revision)
        found.append(Comparison(sides, measured, len(after), notes))
    if not revisions:
        sides = ("pretrain", colorizer)
        measured = differences(_of(here, "pretrain", "this run"), after, sides[0], own)
        found.append(Comparison(sides, measured, len(after)))
    for comparison in found:
        _print(comparison)
    if picture:
        draw(found, picture)
        print(f"drawn in {picture}")


def differences(
    before: Photographs, after: Photographs, side: str, own: Mapping[str, Better] = MappingProxyType({})
) -> dict[str, tuple[Difference, Verdict]]:
    """Each metric that both sides have: its difference, and what may be said of it.

    Args:
        side: what an error calls `before`.
        own: which value of somebody's own metrics is better.

    Raises:
        InputError: the two were measured on other photographs, or on one alone.
    """
    if len(after) < 2:
        raise InputError("one photograph has no interval; set sample.test to 2 at least, better to hundreds")
    if before.keys() != after.keys():
        shared = len(before.keys() & after.keys())
        raise InputError(
            f"{side} was measured on other photographs (it has {len(before)}, this run {len(after)}, and {shared} of "
            "them are the same), so nothing can be "
            "compared; use the same base.seed and sample, and compare each run with the lightness_table of its own"
        )
    both = before[next(iter(before))].keys() & after[next(iter(after))].keys()
    found = {}
    better: dict[str, Better] = {**{name: metric.better for name, metric in ALL.items()}, **own}
    for name in better:
        if name in both:
            found[name] = difference(*({path: row[name] for path, row in scores.items()} for scores in (before, after)))
    said = verdicts(found, better)
    return {name: (one, said[name]) for name, one in found.items()}


def about(photographs: int, metrics: int) -> str:
    """Say what the verdicts of a table rest on."""
    text = (
        f"means over {photographs} photographs, paired; verdicts allow for the {metrics} metrics (Holm), intervals are "
        "of each alone; both know photographs, not seeds"
    )
    if photographs < fewest(metrics):
        return f"{text}\n{photographs} photographs are too few for any verdict: it takes {fewest(metrics)} at least"
    if photographs < _FEW:
        return (
            f"{text}\n{photographs} photographs are few: small differences stay unseen, and intervals may be too narrow"
        )
    return text


def _print(comparison: Comparison) -> None:
    rows = []
    for name, (found, verdict) in comparison.differences.items():
        change, interval = f"{found.change:+.3f}", f"{found.low:+.3f} to {found.high:+.3f}"
        rows.append((name, f"{found.before:.3f}", f"{found.after:.3f}", change, interval, verdict))
    print_table(("metric", *comparison.sides, "change", "95 % interval", ""), rows)
    print(about(comparison.photographs, len(comparison.differences)))
    for note in comparison.notes:
        print(f"measured otherwise: {note}")


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Each difference with its interval, in hundredths of the mean before: PNG.

    Raises:
        OSError: it cannot be written.
    """
    # Without a window, and without the clock and version that it would write into the file.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Runs of an earlier version lack some.
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.differences))
    labels = [f"{name} (of 0)" if _of_nothing(name, comparisons) else name for name in names]
    figure = Figure(figsize=(8, 1 + 0.3 * len(names) * len(comparisons)), layout="constrained")
    axes = FigureCanvasAgg(figure).figure.subplots()
    for number, comparison in enumerate(comparisons):
        for name, (found, verdict) in comparison.differences.items():
            if abs(found.before) < _NO_MEAN:
                continue
            place = names.index(name)
            scale = 100 / abs(found.before)
            height = place + (number + 1) / (len(comparisons) + 1) - 0.5
            color = _COLORS[verdict]
            axes.plot([found.low * scale, found.high * scale], [height] * 2, color=color, lw=3)
            axes.plot(found.change * scale, height, "o", color=color)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("change with its 95 % interval, % of the mean before")
    axes.set_title("\n".join(f"{after} less {before}" for before, after in (one.sides for one in comparisons)))
    axes.legend([Line2D([], [], color=color, marker="o") for color in _COLORS.values()], _COLORS, loc="best")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})


def _of_nothing(name: str, comparisons: Sequence[Comparison]) -> bool:
    """Whether no mean before is there of which a change could be a share."""
    found = [comparison.differences[name][0] for comparison in comparisons if name in comparison.differences]
    return all(abs(one.before) < _NO_MEAN for one in found)


def scores_of(folder: Path, colorizer: str) -> Photographs:
    """Return the scores of a colorizer in the project of a folder.

    Raises:
        InputError: nothing was evaluated there, or not this colorizer.
    """
    return _of(_scores(_read(folder / _FILE), str(folder)), colorizer, str(folder))


def protocol_of(folder: Path) -> str | None:
    """protocol.json in the project of a folder; None where there is none."""
    path = folder / protocols.FILE
    return path.read_text(encoding="utf-8") if path.is_file() else None


def own_metrics(protocol: str | None, side: str) -> dict[str, Better]:
    """Return which value of somebody's own metrics is better, as the text of a protocol.json says.

    Args:
        side: what an error calls its run.

    Raises:
        InputError: the text is damaged.
    """
    try:
        found = json.loads(protocol or "{}").get(OWN_METRICS, {})
        return {name: metric["better"] for name, metric in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{protocols.FILE} of {side} is damaged ({error!r}); run dvc repro evaluate") from None


def _committed_protocol(revision: str) -> str | None:
    try:
        return at_revision(revision, protocols.FILE)
    except InputError:
        return None


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run dvc repro evaluate") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged ({error}); run dvc repro evaluate") from None
    if has_conflict(text):
        raise InputError(f"{path}: {CONFLICT}")
    return text


def at_revision(revision: str, file: Path = _FILE) -> str:
    """Return a file in a commit, or in the experiment of that name: where several commits have one, in that of HEAD.

    Raises:
        InputError: there is none, or several and none of HEAD.
    """
    if not revision or revision.startswith("-"):
        raise InputError(f"{revision!r} is no commit, branch or experiment; `git log` and `dvc exp show` list them")
    found = _git("for-each-ref", "--format=%(refname)", f"refs/exps/**/{revision}").split()
    if len(found) > 1:
        # refs/exps/ab/cdef.../NAME is of the commit abcdef...
        head = _git("rev-parse", "HEAD").strip()
        of_head = [name for name in found if "".join(name.split("/")[2:4]) == head]
        if len(of_head) != 1:
            raise InputError(
                f"{revision}: {len(found)} experiments have this name, on different commits, and none of them is on "
                f"HEAD; check out the commit of the one that is meant ({', '.join(found)}), or `dvc exp rename` one of "
                "these to another name"
            )
        found = of_head
    done = subprocess.run(
        ["git", "show", f"{found[0] if found else revision}:{file.as_posix()}"], capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        raise InputError(
            f"{revision}: no commit, branch or experiment with {file} ({done.stderr.strip().splitlines()[0]}); "
            "`git log` and `dvc exp show` list them"
        )
    return done.stdout


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, encoding="utf-8", check=False).stdout
    except FileNotFoundError:
        raise InputError("git is not installed, so there is no revision to compare with") from None


def _scores(text: str, side: str) -> Scores:
    scores: Scores = {}
    try:
        for row in csv.DictReader(io.StringIO(text), strict=True):
            # Runs of an earlier version lack some; all have this one.
            numbers = {name: _finite(row[name]) for name in {"ab_mae", *row} if name not in OTHER_COLUMNS}
            own = scores.setdefault(row["colorizer"], {})
            if row["path"] in own:
                raise InputError(
                    f"{_FILE} of {side} has {row['path']} twice, so photographs cannot be paired; give each a name of "
                    "its own and run dvc repro"
                )
            own[row["path"]] = numbers
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{_FILE} of {side} cannot be compared ({error!r}); run dvc repro evaluate") from None
    return scores


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"a score of {text}")
    return number


def _of(scores: Scores, colorizer: str, side: str) -> Photographs:
    if colorizer not in scores:
        raise InputError(f"{side} has no colorizer {colorizer!r}; there are {', '.join(scores) or 'none'}")
    return scores[colorizer]
