"""LPIPS and FID against the packages that others compute them with, in the same networks with weights of chance.

The published weights are not to be had without a network: 233 MB of AlexNet, 91 MB of Inception.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import alexnet

from pipeline.errors import InputError, ParamsError, WeightsError
from pipeline.evaluation import published_metrics
from pipeline.evaluation.published_metrics import Fid, Lpips
from pipeline.experiments.score import ScoreRequest, score
from pipeline.params.schema import Params, parse
from tests.helpers import Project, environment


@pytest.fixture(scope="module")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = alexnet(weights=None).state_dict()
    for key, value in state.items():
        # LPIPS has no use for the classifier: as small a file as the format allows.
        if key.startswith("classifier"):
            state[key] = torch.zeros(1).expand(value.shape)
    path = tmp_path_factory.mktemp("alexnet") / "alexnet-owt-7be5be79.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def inception_file(tmp_path: Path) -> Path:
    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object) -> None:
            """It is to stay as it is."""

    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save({}, path)
    torch.save(Untrained("inception", ["2048"], feature_extractor_weights_path=str(path)).state_dict(), path)
    return path


@pytest.fixture
def _any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_metrics, "_start_of_hash", lambda _name: "")


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    """Eight true photographs, and the same with other colors: (8, 3, 96, 96) uint8."""
    coarse = torch.rand(8, 3, 6, 6)
    true = torch.nn.functional.interpolate(coarse, (96, 96), mode="bicubic").clamp(0, 1).mul(255).round()
    other = (true.flip(1) * 0.7 + 40).round()
    return true.to(torch.uint8), other.to(torch.uint8)


def save(folder: Path, **batches: Tensor) -> None:
    """Save each batch of pictures into a folder of its name."""
    for name, batch in batches.items():
        (folder / name).mkdir()
        for number, pixels in enumerate(batch):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / name / f"{number}.png")


@pytest.mark.usefixtures("_any_weights")
def test_lpips_is_that_of_its_authors(alexnet_file: Path, pictures: tuple[Tensor, Tensor]) -> None:
    true, other = pictures
    oracle = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    names = {re.sub(r"slice\d", "features", key): key for key in oracle.net.state_dict()}
    features = torch.load(alexnet_file, weights_only=True)
    oracle.net.load_state_dict({ours: features[theirs] for theirs, ours in names.items()})
    before = torch.hub.get_dir()
    found = Lpips(str(alexnet_file)).distances(other, true)
    assert torch.hub.get_dir() == before
    expected = oracle(other / 127.5 - 1, true / 127.5 - 1).flatten().tolist()
    assert found == pytest.approx(expected, rel=1e-5)
    assert min(found) > 0.001
    assert max(Lpips(str(alexnet_file)).distances(true, true)) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("_any_weights")
def test_fid_is_that_of_torch_fidelity(inception_file: Path, pictures: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    true, other = pictures
    save(tmp_path, true=true, other=other)
    expected = calculate_metrics(
        input1=str(tmp_path / "other"), input2=str(tmp_path / "true"), fid=True, cuda=False, verbose=False, cache=False,
        feature_extractor_weights_path=str(inception_file), batch_size=4,
    )["frechet_inception_distance"]  # fmt: skip
    fid = Fid(str(inception_file))
    # In batches, and two colorizers at a time.
    for start in (0, 5):
        part = slice(start, start + 5)
        fid.look({"other": other[part], "true": true[part]}, true[part])
    found = fid.distances()
    assert found["other"] == pytest.approx(expected, rel=1e-3)
    assert found["true"] < expected / 100


@pytest.mark.slow
@pytest.mark.usefixtures("_any_weights")
def test_score_has_them_too(
    alexnet_file: Path,
    inception_file: Path,
    pictures: tuple[Tensor, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of folders, as of the tensors in them; FID of all photographs and not of a part."""
    true, other = pictures
    save(tmp_path, true=true, other=other)
    request = ScoreRequest(
        tmp_path / "true",
        (tmp_path / "other",),
        (),
        tmp_path / "out",
        96,
        False,
        str(alexnet_file),
        str(inception_file),
    )
    with pytest.raises(InputError, match="--fid-weights: 8 photographs can be compared, and FID needs 2,048"):
        score(request)
    monkeypatch.setattr("pipeline.experiments.score.FEWEST_FOR_FID", 2)
    score(request)
    means = json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))
    assert means["other"]["lpips"] == pytest.approx(np.mean(Lpips(str(alexnet_file)).distances(other, true)), abs=1e-4)
    fid = Fid(str(inception_file))
    fid.look({"other": other}, true)
    assert means["other"]["fid"] == pytest.approx(fid.distances()["other"], rel=1e-3)
    protocol = json.loads((tmp_path / "out/protocol.json").read_text(encoding="utf-8"))
    assert protocol["fid"]["sha256"] == fid.weights.sha256


def test_other_weights_are_refused(alexnet_file: Path, inception_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"evaluate\.lpips_weights .*: not alexnet-owt-7be5be79\.pth, whose SHA-256"):
        Lpips(str(alexnet_file))
    with pytest.raises(WeightsError, match=r"evaluate\.fid_weights .* starts with 6726825d: that of this file with"):
        Fid(str(inception_file))
    with pytest.raises(WeightsError, match=r"evaluate\.fid_weights nowhere\.pth: no such file; set none, fetch, or"):
        Fid("nowhere.pth")


@pytest.mark.usefixtures("_any_weights")
def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was-here",))

    path = tmp_path / "alexnet-owt-7be5be79.pth"
    for content in ({"features.0.weight": Evil()}, b""):
        torch.save(content, path)
        if not content:
            path.write_bytes(b"")
        with pytest.raises(WeightsError, match=r"lpips_weights .*: cannot be read as weights"):
            Lpips(str(path))
    assert not (tmp_path / "was-here").exists()


def test_what_cannot_be_fetched_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"lpips_weights: https://.*7be5be79\.pth cannot be fetched \(.*; set none"):
        Lpips("fetch")
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.usefixtures("_any_weights")
def test_what_was_fetched_once_is_taken(tmp_path: Path, alexnet_file: Path, pictures: tuple[Tensor, Tensor]) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / alexnet_file.name).write_bytes(alexnet_file.read_bytes())
    there = Lpips(str(alexnet_file)).distances(*pictures)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    try:
        assert Lpips("fetch").distances(*pictures) == there
    finally:
        torch.hub.set_dir(before)


def test_fid_of_few_photographs_is_refused(params: Params) -> None:
    tree = params.model_dump(mode="json")
    tree["evaluate"]["fid_weights"] = "fetch"
    with pytest.raises(ParamsError, match=r"fid_weights must be none with fewer than 2048 .* got 20"):
        parse(tree)
    tree["sample"] |= {"test": 2048}
    assert parse(tree).evaluate.fid_weights == "fetch"


# As the stage is started, but that weights of chance pass for the published ones.
WITH_ANY_WEIGHTS = """
import sys
from pipeline.evaluation import published_metrics
published_metrics._start_of_hash = lambda name: ""
from stages.__main__ import main
sys.exit(main(["evaluate"]))
"""


@pytest.mark.slow
def test_evaluate_measures_lpips(make_project: Callable[[str], Project], alexnet_file: Path) -> None:
    project = make_project("lpips")
    project.dvc("repro", "evaluate")
    reports = project.folder / "reports/evaluate"
    before = (reports / "metrics.json").read_text(encoding="utf-8")
    project.change(evaluate={"lpips_weights": str(alexnet_file)})
    refused = project.run("stages", "evaluate", ok=False)
    assert refused.returncode == 1
    assert "not alexnet-owt-7be5be79.pth" in refused.stderr
    assert (reports / "metrics.json").read_text(encoding="utf-8") == before
    checked = project.twotone("check", ok=False)
    assert checked.returncode == 2
    assert "not alexnet-owt-7be5be79.pth" in checked.stderr
    done = subprocess.run(
        [sys.executable, "-c", WITH_ANY_WEIGHTS],
        cwd=project.folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    metrics, protocol = (
        json.loads((reports / f"{name}.json").read_text(encoding="utf-8")) for name in ("metrics", "protocol")
    )
    assert all(0 < scores["lpips"] < 1 for scores in metrics.values())
    assert protocol["lpips"]["implementation"].startswith("torchmetrics 1.")
    assert len(protocol["lpips"]["sha256"]) == 64
    assert protocol["fid"] is None
    assert "lpips" in json.loads((reports / "comparisons.json").read_text(encoding="utf-8"))["finetune - pretrain"]
    untouched = {
        name: {key: value for key, value in scores.items() if key != "lpips"} for name, scores in metrics.items()
    }
    assert untouched == json.loads(before)
