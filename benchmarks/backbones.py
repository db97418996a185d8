"""python -m benchmarks.backbones FOLDER: which backbone learns most in the same minutes, over several seeds.

Each backbone trains both stages on FOLDER's color photographs for the same time on this machine: a step of each is
timed first, and 70 % of the time goes to pretrain. Each run is an experiment of DVC in a copy of the project, which
must have nothing to commit. Rows are added to the CSV file as they come, and one that is there is not run again. What
was timed is in a second file, NAME-plan.csv. Its numbers of steps count wherever it lies, so another machine may go on,
and one of the same kind makes the same file again. At the end a table is printed: means over the seeds, and differences
with Student's 95 % interval. Memory is the most that a process has held, at the batch size that is trained with.

`NAME:imagenet` starts from the packaged ImageNet weights of a backbone.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import ceil, isnan, sqrt
from pathlib import Path

import torch
from scipy.stats import t as student

from benchmarks.machine import timed
from pipeline import dvc_project
from pipeline.color.tensors import ColorSpace
from pipeline.devices import start
from pipeline.errors import InputError, exit_status
from pipeline.experiments.backbones import peak_megabytes
from pipeline.experiments.compare import at_revision
from pipeline.files import write_csv
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params
from pipeline.system import keep_freed_memory
from pipeline.training.objectives import AdversarialObjective, ContentObjective

LAB = ColorSpace("lab")
BACKBONES = (
    *("resnet18", "resnet34", "mobilenetv3_large_100", "efficientnet_b0", "regnety_004", "convnextv2_atto"),
    *("tf_efficientnet_lite0", "tf_efficientnet_lite0:imagenet"),
)
SIZE, BATCH, REPEATS = 64, 32, 12
# Of the time, what the first stage gets.
FIRST = 0.7
SETTING = (
    *("sample.source=folder", f"base.image_size={SIZE}", "generator.decoder=halved", "evaluate.hints=0"),
    *(f"pretrain.batch_size={BATCH}", "pretrain.lr=0.002", "pretrain.crop=0.7", "pretrain.sample_epochs=[1]"),
    *(f"finetune.batch_size={BATCH}", "finetune.crop=0.7", "finetune.sample_epochs=[1]", "finetune.publish=last"),
)
PLANNED = (
    *("backbone", "minutes", "million_parameters", "memory_mib", "pretrain_images_s", "finetune_images_s"),
    *("pretrain_steps", "finetune_steps"),
)
COLUMNS = (
    *("backbone", "minutes", "seed", "table_ab_mae", "pretrain_ab_mae", "finetune_ab_mae"),
    *("table_fd_lite0", "pretrain_fd_lite0", "finetune_fd_lite0"),
)
Row = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbones", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--train", type=int, default=3400)
    parser.add_argument("--held-out", type=int, default=250, help="photographs of validation, and as many of test")
    parser.add_argument("--csv", type=Path, default=Path("docs/results/backbones.csv"))
    given = parser.parse_args()
    rows, plan_file = read(given.csv), given.csv.with_name(f"{given.csv.stem}-plan.csv")
    counts = [f"sample.{split}={given.held_out}" for split in ("valid", "test")]
    sample = [f"sample.path={given.folder.resolve()}", f"sample.train={given.train}", *counts]
    plans = read(plan_file)
    for name in given.backbones:
        if not any(is_of(planned, name, given.minutes) for planned in plans):
            plans.append(plan(name, given.minutes, given.train))
            write_csv(plan_file, plans, list(PLANNED))
    chosen = {
        name: next(planned for planned in plans if is_of(planned, name, given.minutes)) for name in given.backbones
    }
    for seed in given.seeds:
        for name in given.backbones:
            if not any(is_of(row, name, given.minutes) and row["seed"] == str(seed) for row in rows):
                rows.append(run(name, seed, sample, given.train, chosen[name]))
                write_csv(given.csv, rows, list(COLUMNS))
    print_table(chosen, [row for row in rows if any(is_of(row, name, given.minutes) for name in given.backbones)])
    return 0


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_of(row: Row, backbone: str, minutes: float) -> bool:
    return row["backbone"] == backbone and float(row["minutes"]) == minutes


def plan(name: str, minutes: float, train: int) -> Row:
    """Time a backbone, and return how many steps of each stage the minutes have."""
    # In a process of its own, whose memory is that of this backbone alone.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        millions, mebibytes, first, second = pool.submit(measured, name.partition(":")[0]).result()
    steps = []
    for share, rate in ((FIRST, first), (1 - FIRST, second)):
        epochs, epoch_steps = in_epochs(max(1, round(60 * minutes * share * rate / BATCH)), train)
        steps.append(str(epochs * epoch_steps))
    values = (name, f"{minutes:g}", f"{millions:.1f}", f"{mebibytes:.0f}", f"{first:.0f}", f"{second:.0f}", *steps)
    planned = dict(zip(PLANNED, values, strict=True))
    print(planned, flush=True)
    return planned


def in_epochs(steps: int, train: int) -> tuple[int, int]:
    """Return how many epochs, and steps of each, are these steps or a few more; no epoch has more than the photographs.

    For epochs times steps of each it returns the same two numbers.
    """
    epochs = ceil(steps / (train // BATCH))
    return epochs, ceil(steps / epochs)


def measured(backbone: str) -> tuple[float, float, float, float]:
    """Return the generator's millions of parameters, the memory of both stages in MiB, and images a second of each."""
    keep_freed_memory()
    params = Params()
    accelerator = start(params.base)
    rgb = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
    batch = LAB.encode(rgb.to(accelerator.device))
    block = params.generator.model_copy(update={"backbone": backbone, "decoder": "halved"})

    def generator() -> torch.nn.Module:
        return build_generator(block, LAB, SIZE, 0)

    judge = build_discriminator(params.discriminator, LAB, 0)

    def rate(trained: ContentObjective | AdversarialObjective) -> float:
        times = [timed(lambda: trained.step(*batch, 0), accelerator.device) for _ in range(REPEATS)]
        return BATCH / statistics.median(times[2:])

    learner = generator()
    millions = sum(parameter.numel() for parameter in learner.parameters()) / 1e6
    first = rate(ContentObjective(learner, params.pretrain, LAB, accelerator))
    del learner
    second = rate(AdversarialObjective(generator(), judge, params.finetune, LAB, accelerator))
    return millions, peak_megabytes(accelerator.device), first, second


def run(name: str, seed: int, sample: Sequence[str], train: int, planned: Row) -> Row:
    """Run the experiment of a backbone and a seed, and return its row.

    Raises:
        InputError: it failed.
    """
    backbone, _, weights = name.partition(":")
    changes = [
        *SETTING,
        *sample,
        f"base.seed={seed}",
        f"generator.backbone={backbone}",
        f"generator.weights={weights or 'none'}",
    ]
    for stage in ("pretrain", "finetune"):
        epochs, epoch_steps = in_epochs(int(planned[f"{stage}_steps"]), train)
        changes += [f"{stage}.epochs={epochs}", f"{stage}.epoch_steps={epoch_steps}"]
    experiment = f"{name.replace(':', '-').replace('_', '-')}-{planned['minutes'].replace('.', '-')}-{seed}"
    if not dvc_project.run_experiment(experiment, changes, "evaluate"):
        raise InputError(f"the experiment {experiment} failed (above); those before it are in the CSV file")
    scores = json.loads(at_revision(experiment, Path("reports/evaluate/metrics.json")))
    found = {
        f"{column}_{metric}": f"{scores[colorizer].get(metric, float('nan')):.4f}"
        for metric in ("ab_mae", "fd_lite0")
        for column, colorizer in (("table", "lightness_table"), ("pretrain", "pretrain"), ("finetune", "finetune"))
    }
    return {"backbone": name, "minutes": planned["minutes"], "seed": str(seed), **found}


def print_table(plans: Mapping[str, Row], rows: Sequence[Row]) -> None:
    """Print means over the seeds, and differences of the same seed to the lightness table and the first backbone."""
    names = list(dict.fromkeys(row["backbone"] for row in rows))
    print(f"\nDifferences to the lightness table; in the last column to {names[0]}.\n")
    print(
        "| backbone | million parameters | MiB | images/s | pretrain's ab_mae | finetune's | pretrain's fd_lite0 "
        f"| finetune's | pretrain's ab_mae to {names[0]}'s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        own = plans[name]
        cells = [f"{own['pretrain_images_s']}, {own['finetune_images_s']}"]
        for metric in ("ab_mae", "fd_lite0"):
            table = by_seed(rows, name, f"table_{metric}")
            for stage in ("pretrain", "finetune"):
                found = by_seed(rows, name, f"{stage}_{metric}")
                mean = statistics.mean(found.values())
                cells.append(f"{mean:.4g}: {difference([found[seed] - table[seed] for seed in found])}")
        mine, first = (by_seed(rows, one, "pretrain_ab_mae") for one in (name, names[0]))
        cells.append(difference([mine[seed] - first[seed] for seed in mine if seed in first]) if mine != first else "")
        print(f"| {name} | {own['million_parameters']} | {own['memory_mib']} | {' | '.join(cells)} |")


def by_seed(rows: Sequence[Row], name: str, column: str) -> Mapping[str, float]:
    return {row["seed"]: float(row[column]) for row in rows if row["backbone"] == name}


def difference(values: Sequence[float]) -> str:
    """Return a mean with Student's 95 % interval over the seeds; an interval with 0 in it is no difference."""
    if len(values) < 2:
        return "one seed"
    if any(map(isnan, values)):
        return "not measured"
    margin = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / sqrt(len(values))
    middle = statistics.mean(values)
    nothing = ", no difference" if abs(middle) <= margin else ""
    return f"{middle:+.2f} ({middle - margin:+.2f} to {middle + margin:+.2f}{nothing})"


if __name__ == "__main__":
    sys.exit(exit_status(main, "the benchmark"))
