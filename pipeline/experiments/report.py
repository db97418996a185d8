"""`twotone report`: what a change did, as Markdown for a pull request, from the checkouts before and after it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import InputError
from pipeline.experiments.compare import about, differences, own_metrics, protocol_of, scores_of
from pipeline.experiments.protocols import measured_otherwise
from pipeline.files import replacing
from pipeline.params import recipes

_SAMPLES = Path("reports/evaluate/samples.png")
# A curve: its title, the file, the column of x, the column of y.
_CURVES = (
    ("pretrain: content loss", "pretrain/steps.csv", "step", "content"),
    ("finetune: content loss", "finetune/steps.csv", "step", "content"),
    ("finetune: generator's adversarial loss", "finetune/steps.csv", "step", "adversarial"),
    ("finetune: discriminator's loss", "finetune/steps.csv", "step", "discriminator"),
    ("pretrain: ab_mae of validation", "pretrain/history.csv", "epoch", "valid_ab_mae"),
    ("finetune: ab_mae of validation", "finetune/history.csv", "epoch", "valid_ab_mae"),
)
_COLUMNS = 3
# Okabe and Ito's blue and orange, which color-blind readers tell apart.
_BEFORE, _AFTER = "#0072B2", "#D55E00"
_FILES = ("report.md", "curves.png", "before.png", "after.png")


def write_report(before: Path, after: Path, out: Path, colorizer: str) -> None:
    """Write `out`: report.md, curves.png, and the grids before.png and after.png where the checkouts have them.

    Args:
        before: a checkout of the project where the stages have run.
        after: the checkout with the change, where they have run, too.
        colorizer: whose scores are compared.

    Raises:
        InputError: a side has no scores, or `out` holds what no report is.
    """
    _require_replaceable(out)
    sections = [
        "# What this change does",
        f"## Scores of {colorizer}\n\n{_scores(before, after, colorizer)}",
        f"## Parameters\n\n{_parameters(before, after)}",
        "## Losses\n\n![Each loss by step, and the validation error by epoch](curves.png)\n\n"
        "Blue is before the change, orange after it.",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as hidden:
        hidden.mkdir()
        _draw_curves(before, after, hidden / "curves.png")
        sections.append(f"## Pictures\n\n{_pictures(before, after, hidden)}")
        (hidden / "report.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(f"{out / 'report.md'}: written")


def _require_replaceable(out: Path) -> None:
    """Refuse to replace what is no earlier report."""
    if not out.exists():
        return
    others = [path.name for path in out.iterdir() if path.name not in _FILES] if out.is_dir() else [out.name]
    if others or out.resolve() == Path.cwd():
        raise InputError(
            f"-o {out} would be replaced by the report, and holds {', '.join(sorted(others)[:3]) or 'this folder'}; "
            "name a folder that does not exist, or an earlier report"
        )


def _scores(before: Path, after: Path, colorizer: str) -> str:
    sides = scores_of(before, colorizer), scores_of(after, colorizer)
    try:
        found = differences(*sides, "the side before the change", own_metrics(protocol_of(after), "this run"))
        notes = measured_otherwise(protocol_of(before), protocol_of(after), "the side before the change")
    except InputError as error:
        return f"Not compared: {error}."
    lines = ["| metric | before | after | change | 95 % interval | |", "|---|---|---|---|---|---|"]
    for name, (one, verdict) in found.items():
        lines.append(
            f"| {name} | {one.before:.3f} | {one.after:.3f} | {one.change:+.3f} "
            f"| {one.low:+.3f} to {one.high:+.3f} | {verdict} |"
        )
    count = len(sides[0])
    text = about(count, len(found)).replace("\n", ". ")
    lines.append(f"\n{text[0].upper()}{text[1:]}.")
    lines += [f"\nMeasured otherwise: {note}." for note in notes]
    return "\n".join(lines)


def _parameters(before: Path, after: Path) -> str:
    trees = [recipes.current(folder / "params.yaml") for folder in (before, after)]
    if trees[0] is None:
        return f"Not compared: {before / 'params.yaml'} is not there, or cannot be read."
    rows = [f"| {key} | {old} | {new} |" for key, old, new in recipes.changes(trees[0], trees[1] or {})]
    return "\n".join(["| parameter | before | after |", "|---|---|---|", *rows]) if rows else "None has changed."


def _pictures(before: Path, after: Path, out: Path) -> str:
    """Copy the grids of both sides; the Markdown that shows them."""
    shown = []
    for name, folder in (("before", before), ("after", after)):
        if (folder / _SAMPLES).is_file():
            shutil.copyfile(folder / _SAMPLES, out / f"{name}.png")
            shown.append(f"### {name.capitalize()}\n\n![Test photographs {name} the change]({name}.png)")
        else:
            shown.append(f"### {name.capitalize()}\n\nNo pictures: {_SAMPLES} is not there; `dvc pull` fetches it.")
    return "\n\n".join(shown)


def _draw_curves(before: Path, after: Path, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, (title, file, x, y) in zip(figure.subplots(2, _COLUMNS).flat, _CURVES, strict=True):
        # The first is wider, so that it shows where both are the same.
        for folder, color, label, width in ((before, _BEFORE, "before", 4), (after, _AFTER, "after", 1.5)):
            points = list(_points(folder / "reports" / file, x, y))
            if points:
                # One point has no line.
                marker = "o" if len(points) < 3 else ""
                axes.plot(*zip(*points, strict=True), color=color, label=label, marker=marker, linewidth=width)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(x)
        if axes.lines:
            axes.legend()
    # Without matplotlib's version, which would be in the file.
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _points(path: Path, x: str, y: str) -> Iterator[tuple[float, float]]:
    """Yield the points of a curve; none where the file or the column is not there, as with 0 epochs."""
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get(x) and row.get(y):
                    yield float(row[x]), float(row[y])
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error}); `dvc checkout --force`, or run dvc repro") from None
