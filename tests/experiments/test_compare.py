from __future__ import annotations

import csv
import itertools
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t, ttest_rel

from pipeline.errors import InputError
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.paired import Better, Difference, Verdict, difference, fewest, mean_interval, verdicts
from pipeline.experiments.compare import Comparison, about, at_revision, differences, draw
from tests.helpers import twotone

BETTER: tuple[Better, ...] = ("lower", "higher", "")


def test_the_interval_is_that_of_student_for_normal_numbers(rng: np.random.Generator) -> None:
    values = rng.normal(3, 2, 400)
    low, high = mean_interval(values)
    expected = t.interval(0.95, 399, values.mean(), values.std(ddof=1) / math.sqrt(400))
    assert (low, high) == pytest.approx(expected, abs=0.03)
    assert mean_interval(values) == (low, high)
    assert mean_interval(np.full(5, 7.0)) == (7, 7)


@pytest.mark.parametrize("count", [2, 8])
def test_the_interval_of_few_numbers_is_wide_enough(rng: np.random.Generator, count: int) -> None:
    """As plain percentiles, that of eight holds the truth in 89 of 100 cases. Two are their own interval."""
    draws = rng.normal(5, 1, (200, count))
    intervals = [mean_interval(values) for values in draws]
    if count == 2:
        assert intervals == [(min(values), max(values)) for values in draws]
    else:
        assert np.mean([low <= 5 <= high for low, high in intervals]) >= 0.92


def named(values: np.ndarray) -> dict[str, float]:
    return {str(number): float(value) for number, value in enumerate(values)}


@pytest.mark.slow
def test_a_table_of_metrics_rarely_finds_a_difference_by_chance(rng: np.random.Generator) -> None:
    """Nineteen metrics of twenty photographs: one table in twenty may have a false alarm."""
    false_alarms = 0
    for _ in range(25):
        sides = rng.normal(0, 1, (2, 19, 20))
        found = {
            str(i): difference(named(one), named(other)) for i, (one, other) in enumerate(zip(*sides, strict=True))
        }
        said = verdicts(found, dict.fromkeys(found, "lower"))
        false_alarms += set(said.values()) != {"no difference"}
    # Of 25 at 5 % each, more than 4 come in one of a hundred runs.
    assert false_alarms <= 4


def test_chance_is_what_other_tests_say_it_is(rng: np.random.Generator) -> None:
    """All signs of ten differences by hand, and Student's for four hundred normal numbers."""
    one, other = rng.normal([[0], [0.7]], 1, (2, 10))
    differences_, count = other - one, 0
    for signs in itertools.product((-1, 1), repeat=10):
        count += abs(np.dot(signs, differences_)) >= abs(differences_.sum()) - 1e-9
    assert difference(named(one), named(other)).p == pytest.approx(count / 1024)
    one, other = rng.normal([[0], [0.13]], 1, (2, 400))
    assert difference(named(one), named(other)).p == pytest.approx(ttest_rel(one, other).pvalue, abs=0.01)
    assert difference(named(one), named(one)).p == 1


def test_holms_correction() -> None:
    """0.01 passes 0.05 / 4, 0.013 passes 0.05 / 3, 0.03 fails 0.05 / 2, and so 0.04 fails, too."""
    chances = {"third": 0.03, "first": 0.01, "fourth": 0.04, "second": 0.013}
    found = {name: Difference(1.0, 2.0, 0.5, 1.5, p) for name, p in chances.items()}
    said = verdicts(found, dict.fromkeys(found, "lower"))
    assert said == {"first": "worse", "second": "worse", "third": "no difference", "fourth": "no difference"}


def test_too_few_photographs_for_a_verdict() -> None:
    """Nine are too few for nineteen metrics, however large the difference, and ten are not."""
    assert fewest(19) == 10
    for count, verdict in ((9, "no difference"), (10, "better")):
        found = {str(i): difference(named(np.ones(count)), named(np.zeros(count))) for i in range(19)}
        assert set(verdicts(found, dict.fromkeys(found, "lower")).values()) == {verdict}
    assert "9 photographs are too few for any verdict: it takes 10 at least" in about(9, 19)
    assert "20 photographs are few" in about(20, 19)
    assert "few" not in about(400, 19)


def test_pairs_find_what_means_would_hide(rng: np.random.Generator) -> None:
    """Photographs differ by ten units, the runs by a tenth of one."""
    hard = rng.normal(20, 10, 50)
    before = {str(i): value for i, value in enumerate(hard)}
    after = {
        str(i): value - 0.1 + noise for i, (value, noise) in enumerate(zip(hard, rng.normal(0, 0.05, 50), strict=True))
    }
    found = difference(before, after)
    assert [verdicts({"": found}, {"": better})[""] for better in BETTER] == ["better", "worse", "differs"]
    with pytest.raises(ValueError, match="the same photographs"):
        difference(before, {"other": 1.0, "more": 2.0})


def write(folder: Path, ab_mae: dict[str, float], names: str = "photo") -> None:
    """per_image.csv: ab_mae by colorizer, with noise that is the photograph's own."""
    rng = np.random.default_rng(0)
    own = rng.normal(0, 3, 40)
    path = folder / "reports/evaluate/per_image.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["index", "path", "colorizer", *METRICS])
        writer.writeheader()
        for colorizer, mean in ab_mae.items():
            for i in range(40):
                value = mean + own[i] + rng.normal(0, 0.1)
                writer.writerow(
                    {"index": i, "path": f"{names}-{i}", "colorizer": colorizer} | dict.fromkeys(METRICS, value)
                )


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8").stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    write(tmp_path, {"pretrain": 12.0, "finetune": 11.0})
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "update-ref", "refs/exps/ab/cdef/vivid", "HEAD")
    write(tmp_path, {"pretrain": 12.0, "finetune": 10.5})
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["HEAD", "vivid"])
def test_against_a_commit_or_an_experiment(repository: Path, revision: str) -> None:
    done = twotone(repository, "compare", revision)
    assert done.returncode == 0, done.stderr
    assert f"finetune of {revision}" in done.stdout
    verdicts = {line.split()[0]: line.rsplit(maxsplit=1)[-1] for line in done.stdout.splitlines()[1:-1]}
    assert (verdicts["ab_mae"], verdicts["ssim"], verdicts["colorfulness"]) == ("better", "worse", "differs")
    same = twotone(repository, "compare", revision, "--colorizer", "pretrain")
    # The same draw: not a digit differs.
    assert "no difference" in next(line for line in same.stdout.splitlines() if line.startswith("ab_mae"))


def test_of_experiments_of_one_name_that_of_head_counts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)

    older = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-qam", "two")
    newer, file = git(repository, "rev-parse", "HEAD"), Path("reports/evaluate/per_image.csv")
    git(repository, "update-ref", f"refs/exps/{newer[:2]}/{newer[2:]}/vivid", "HEAD")
    assert at_revision("vivid") == at_revision("HEAD", file)
    git(repository, "update-ref", "-d", f"refs/exps/{newer[:2]}/{newer[2:]}/vivid")
    git(repository, "update-ref", f"refs/exps/{older[:2]}/{older[2:]}/vivid", older)
    with pytest.raises(InputError, match="2 experiments have this name, on different commits"):
        at_revision("vivid")


def test_what_was_measured_otherwise_is_refused_or_named(repository: Path) -> None:
    path = repository / "reports/evaluate/protocol.json"
    photographs = {"sha256": "a" * 64, "resolution": [96, 96], "fit": "crop"}
    path.write_text(
        json.dumps({"photographs": photographs, "libraries": {"torch": "2.4.0"}, "lpips": None}), encoding="utf-8"
    )
    for words in (("add", "-A"), ("commit", "-qm", "two")):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=repository, check=True)
    same = twotone(repository, "compare", "HEAD")
    assert same.returncode == 0, same.stderr
    assert "measured otherwise" not in same.stdout
    path.write_text(
        json.dumps({"photographs": photographs, "libraries": {"torch": "2.5.1", "timm": "1.0"}}), encoding="utf-8"
    )
    assert "measured otherwise: libraries: torch 2.4.0, here 2.5.1\n" in twotone(repository, "compare", "HEAD").stdout
    other = photographs | {"sha256": "b" * 64, "resolution": [128, 128]}
    path.write_text(json.dumps({"photographs": other}), encoding="utf-8")
    refused = twotone(repository, "compare", "HEAD")
    assert refused.returncode == 2
    assert "other pixels of the same photographs ([96, 96] crop, here [128, 128] crop)" in refused.stderr
    path.write_text("{", encoding="utf-8")
    damaged = twotone(repository, "compare", "HEAD")
    assert damaged.returncode == 2
    assert "protocol.json of this run is damaged" in damaged.stderr


def test_finetuning_against_pretraining(repository: Path) -> None:
    done = twotone(repository, "compare")
    assert done.stdout.splitlines()[0].split()[:3] == ["metric", "pretrain", "finetune"]
    assert "-1.5" in next(line for line in done.stdout.splitlines() if line.startswith("ab_mae"))
    assert "means over 40 photographs, paired" in done.stdout


def test_scores_that_are_no_numbers_are_no_comparison() -> None:
    """Of differences that are none, chance is none either, and the verdict was "worse"."""
    with pytest.raises(ValueError, match="no finite number"):
        difference({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": float("nan")})


def test_one_photograph_is_no_comparison() -> None:
    with pytest.raises(InputError, match="one photograph has no interval"):
        differences({"one": {"ab_mae": 9.0}}, {"one": {"ab_mae": 8.0}}, "HEAD")


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(repository: Path) -> None:
    for words, reason in (
        (("nowhere",), "nowhere: no commit, branch or experiment with reports/evaluate/per_image.csv"),
        (("HEAD", "--colorizer", "blue"), "this run has no colorizer 'blue'; there are pretrain, finetune"),
        (("",), "'' is no commit, branch or experiment"),
        (("--", "--output=x"), "'--output=x' is no commit, branch or experiment"),
    ):
        refused = twotone(repository, "compare", *words)
        assert refused.returncode == 2
        assert reason in refused.stderr
    write(repository, {"pretrain": 12.0, "finetune": 11.0}, names="other")
    assert "(it has 40, this run 40, and 0 of them are the same)" in twotone(repository, "compare", "HEAD").stderr
    scores = repository / "reports/evaluate/per_image.csv"
    lines = scores.read_text(encoding="utf-8").splitlines()
    cells = ["nan" if "." in cell else cell for cell in lines[-1].split(",")]
    for damaged in ("\n".join([*lines[:-1], ",".join(cells)]).encode(), b"\xff\xfe"):
        scores.write_bytes(damaged)
        refused = twotone(repository, "compare")
        assert refused.returncode == 2
        assert "per_image.csv" in refused.stderr
        assert "run dvc repro evaluate" in refused.stderr
        assert "Traceback" not in refused.stderr
    scores.write_text("\n".join([*lines, lines[-1]]), encoding="utf-8")
    assert "twice, so photographs cannot be paired" in twotone(repository, "compare").stderr
    scores.unlink()
    assert "run dvc repro evaluate" in twotone(repository, "compare").stderr


@pytest.mark.slow
def test_several_runs_are_drawn(repository: Path) -> None:
    done = twotone(repository, "compare", "HEAD", "vivid", "-o", "differences.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("photographs, paired") == 2
    with Image.open(repository / "differences.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(2**20) or []}
    green, red = (44, 160, 44), (214, 39, 40)  # matplotlib's tab:green and tab:red
    assert green in colors  # ab_mae has fallen
    assert red in colors  # psnr too, of which more is better
    first = (repository / "differences.png").read_bytes()
    twotone(repository, "compare", "HEAD", "vivid", "-o", "differences.png")
    assert (repository / "differences.png").read_bytes() == first


def test_a_change_from_nothing_is_no_share_of_it(tmp_path: Path) -> None:
    measured: dict[str, tuple[Difference, Verdict]] = {
        "ab_mae": (Difference(10.0, 9.0, -1.2, -0.8, 0.001), "better"),
        "near_gray": (Difference(0.0, 0.5, 0.3, 0.7, 0.001), "worse"),
    }
    without = {"ab_mae": measured["ab_mae"]}
    draw([Comparison(("before", "after"), measured, 40)], tmp_path / "both.png")
    draw([Comparison(("before", "after"), without, 40)], tmp_path / "one.png")

    def extent(path: Path) -> int:
        """Columns of the picture that hold the green of what is better."""
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return int((np.abs(pixels - (44, 160, 44)).sum(2) < 10)[: pixels.shape[0] // 2].any(0).sum())

    assert extent(tmp_path / "both.png") > 0.7 * extent(tmp_path / "one.png") > 80


@pytest.mark.slow
def test_a_run_that_lacks_a_metric_is_drawn_beside_one_that_has_it(repository: Path) -> None:
    path = repository / "reports/evaluate/per_image.csv"
    older = [
        line.rsplit(",", 1)[0] for line in path.read_text(encoding="utf-8").splitlines()
    ]  # without the last metric
    now = path.read_text(encoding="utf-8")
    path.write_text("\n".join(older) + "\n", encoding="utf-8")
    for words in (("add", "-A"), ("commit", "-qm", "older")):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=repository, check=True)
    path.write_text(now, encoding="utf-8")
    done = twotone(repository, "compare", "HEAD~1", "HEAD", "-o", "differences.png")
    assert done.returncode == 0, done.stderr
