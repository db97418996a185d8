"""The benchmarks run, at the smallest size.

What they measure is in docs/explanation/speed.md and docs/results/.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.devices import choose_precision
from tests.helpers import ROOT, Project, environment, save_photo
from tests.media.test_video_frames import moving, write

pytestmark = pytest.mark.slow


def python(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_row_is_measured(tmp_path: Path) -> None:
    small = ["--size", "64", "--batch-size", "2", "--photographs", "6", "--repeats", "1"]
    python("-m", "benchmarks", *small, "--json", str(tmp_path / "rows.json"))
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert {"fp32, GFLOP/s", "bf16, GFLOP/s", "copy, GB/s"} == set(found["limits"])
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) == 8
    assert all(row["ours"] > 0 < row["reference"] and row["spread"][0] <= row["spread"][1] for row in rows.values())
    assert 0 < rows["L1 step"]["share"] < 1.5


def test_the_race_ends_at_its_goal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        save_photo(tmp_path / f"{number}.jpg", rng, (64, 64))
    sizes = ["sample.train=16", "sample.valid=4", "sample.test=4", "pretrain.batch_size=4", "base.image_size=32"]
    options = [word for size in sizes for word in ("-S", size)]
    printed = python("benchmarks/race.py", str(tmp_path), "--goal", "99", *options)
    assert "reached 99.0 in" in printed


def test_the_coloring_of_a_folder_is_measured() -> None:
    printed = python("benchmarks/folder.py", "--photographs", "2", "--size", "320x240", "--repeats", "1")
    rows = [line.split(" | ") for line in printed.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| twotone colorize", "| with --processes 1", "| plain loop"]
    assert all(float(row[1]) > 0 for row in rows)


def test_the_coloring_of_a_film_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", moving(0.0))
    for words in (["--film", str(tmp_path / "clip.mp4")], ["--size", "96x64"]):
        printed = python("benchmarks/films.py", "--frames", "5", "--repeats", "1", *words)
        rows = [line.split(" | ") for line in printed.splitlines()[2:4]]
        assert [row[0] for row in rows] == ["| three threads", "| one thread"]
        parts = r"of one thread, ms a frame: decoding \d+, coloring \d+, encoding \d+, the rest \d+$"
        assert re.search(parts, printed.strip())


def test_smoothing_is_measured_on_a_film(tmp_path: Path, model: Path) -> None:
    write(tmp_path / "clip.mp4", moving(0.0))
    printed = python("benchmarks/smoothing.py", str(model), "--films", str(tmp_path / "clip.mp4"), "--frames", "5")
    assert "5 frames: network" in printed
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| clip.mp4")]
    assert [row[1] for row in rows][:3] == ["none", "0.9 in place", "0.8 along the motion"]


def test_memory_by_number_of_photographs() -> None:
    assert "| 400 |" in python("-m", "benchmarks.size", "400")


def test_what_is_to_be_run_on_a_gpu_runs_here() -> None:
    small = ["--size", "32", "--photographs", "16", "--batch-size", "2", "--steps", "1"]
    small += ["--resumed-steps", "8"]
    # Without torch.compile, which alone takes minutes on a CPU.
    variants = ["as the recipe is", "precision bf16", "deterministic: false", "precision tf32"]
    printed = python("-m", "benchmarks.gpu", *small, "--variants", *variants)
    for stage in ("pretrain", "finetune"):
        assert f"{stage} killed and run again, base.deterministic true: resumed; the same bytes" in printed
    # In fp32 with and without determinism; and in bf16, where the processor has it.
    fewest = 3 if choose_precision("auto", "cpu") == "bf16" else 2
    assert printed.count("| adversarial |") >= fewest
    assert printed.count("| both |") >= fewest
    assert printed.count("left out: no bf16 on this processor") == (0 if fewest == 3 else 1)
    assert printed.count("| precision tf32 |") >= 1


def test_a_reference_picture_is_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        save_photo(tmp_path / f"{number}.jpg", rng, (96, 64))
    write(tmp_path / "clip.mp4", moving(0.0))
    words = [str(tmp_path), "--side", "64", "--films", str(tmp_path / "clip.mp4")]
    rows = python("benchmarks/like.py", *words).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        *("| itself, mirrored, cropped, darkened", "| the next of the folder", "| another frame of clip.mp4"),
    ]


def test_margins_are_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        save_photo(tmp_path / f"{number}.jpg", rng, (96, 64))
    rows = python("benchmarks/margins.py", str(tmp_path), "--side", "64").splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows[1:]] == [
        [f"| {margins}", seen] for margins in ("black", "white", "gray paper") for seen in ("yes", "no")
    ]


def test_steps_with_each_backbone_are_measured() -> None:
    words = ["tf_efficientnet_lite0", "resnet18", "--size", "32", "--batch-size", "2"]
    printed = python("-m", "benchmarks.encoders", *words)
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith(("| tf_", "| resnet"))]
    assert [row[0] for row in rows] == ["| tf_efficientnet_lite0", "| resnet18"]
    shares = [sum(float(cell.strip(" |%")) for cell in row[3:]) for row in rows]
    assert all(97 <= share <= 103 for share in shares)


def test_backbones_are_compared_and_what_was_run_is_not_run_again(
    make_project: Callable[[str], Project], tmp_path: Path
) -> None:
    project = make_project("backbones")
    (tmp_path / "photographs").mkdir()
    for number in range(40):
        save_photo(tmp_path / f"photographs/{number:02d}.jpg", np.random.default_rng(number), (80, 96))
    words = ["benchmarks.backbones", str(tmp_path / "photographs"), "--train", "32", "--held-out", "4"]
    words += ["--minutes", "0.1", "--seeds", "1", "2", "--csv", str(tmp_path / "found.csv")]
    words += ["--backbones", "resnet18", "test_efficientnet"]
    printed = project.run(*words).stdout
    rows = (tmp_path / "found.csv").read_text(encoding="utf-8").splitlines()
    assert [(row["backbone"], row["seed"]) for row in csv.DictReader(rows)] == [
        *(("resnet18", "1"), ("test_efficientnet", "1"), ("resnet18", "2"), ("test_efficientnet", "2")),
    ]
    with (tmp_path / "found-plan.csv").open(encoding="utf-8") as file:
        plans = {row["backbone"]: row for row in csv.DictReader(file)}
    # Ten minutes have more steps than an epoch; a row says how many were trained.
    for row in csv.DictReader(rows):
        for stage in ("pretrain", "finetune"):
            name = f"{row['backbone'].replace('_', '-')}-0-1-{row['seed']}"
            found = f"$(git for-each-ref --format='%(refname)' 'refs/exps/**/{name}')"
            trained = project.bash(f"git show {found}:reports/{stage}/steps.csv", 60).stdout.splitlines()
            assert trained[-1].split(",")[0] == plans[row["backbone"]][f"{stage}_steps"]
    assert int(plans["test_efficientnet"]["pretrain_steps"]) > 2
    table = [line for line in printed.splitlines() if line.startswith("| ")]
    interval = r"[+-]\d+\.\d\d \([+-]\d+\.\d\d to [+-]\d+\.\d\d(, no difference)?\)"
    cells = table[-1].strip("| ").split(" | ")
    assert re.fullmatch(r"[\d.]+: " + interval, cells[4])
    assert re.fullmatch(interval, cells[-1])
    assert 100 < int(cells[2]) < 4000, "MiB"
    # The last row is lost, and made again with the steps of the first.
    (tmp_path / "found.csv").write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    project.dvc("exp", "remove", "test-efficientnet-0-1-2")
    again = project.run(*words).stdout
    assert again.count("dvc exp run --temp") == 1
    assert (tmp_path / "found.csv").read_text(encoding="utf-8").splitlines() == rows
