"""The patches of docs/how-to/extending.md, applied to a copy of the project: each addition works as the page says."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from ruamel.yaml import YAML

from pipeline.checkpointing.digests import code_digest
from pipeline.checkpointing.store import load_optimizer_tensors, optimizer_tensors
from pipeline.color.tensors import ColorSpace
from pipeline.errors import ExportError, ModelError, ParamsError
from pipeline.evaluation.metrics import own_metrics, require_metric
from pipeline.export.onnx_export import require_exportable
from pipeline.models.checkpoint import LoadedGenerator, load_generator, save_model
from pipeline.models.config import Discriminator, Generator, ModelConfig, read_config
from pipeline.models.generators import backbone_parameters, build_generator
from pipeline.models.own_networks import own_discriminator, own_generator
from pipeline.params.schema import Finetune, own_parts, parse
from pipeline.parts import other_files, part_files
from pipeline.sampling.sources import list_candidates
from pipeline.training.losses import Answer, ContentLoss, content_loss, has_gradient
from pipeline.training.objectives import AdversarialObjective
from pipeline.training.schedules import schedule
from tests.helpers import QUICKSTART, ROOT, Project, save_photo, twotone
from tests.nursery import Nursery

TEXT = (ROOT / "docs/how-to/extending.md").read_text(encoding="utf-8")


def patches(heading: str) -> list[tuple[str, str]]:
    """(file, lines that begin with a sign) of each patch of a chapter."""
    (chapter,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```diff\n--- (\S+)\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)


def apply(project: Project, heading: str) -> set[str]:
    """Change the files as the chapter says; gives their names."""
    found = patches(heading)
    for name, lines in found:
        path = project.folder / name
        before = "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in " -")
        after = "".join(line[1:] or "\n" for line in lines.splitlines(keepends=True) if line[0] in " +")
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text.count(before) == 1 or (not text and not before), f"{name} has changed: {before!r}"
        path.write_text(text.replace(before, after) if before else after, encoding="utf-8")
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def trained(make_project: Callable[[str], Project], nursery: Nursery) -> Project:
    project = make_project("extending")
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 0}, finetune={"epochs": 0})
    for stage in ("sample", "pretrain", "finetune"):
        nursery.run(project.folder, stage)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy to change."""
    shutil.copytree(trained.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Writes the code of a part, and returns its module: of a name of its own, since Python imports each once."""

    def write(code: str) -> str:
        module = f"part_{abs(hash(request.node.name))}"
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        return module

    return write


def own_part(project: Project) -> None:
    (code,) = re.findall(r"^```python\n# parts/mine\.py\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (project.folder / "parts/mine.py").write_text(code, encoding="utf-8")


@pytest.mark.slow
def test_a_loss_and_a_schedule_of_ones_own(project: Project) -> None:
    own_part(project)
    losses = {"l1": 1.0, "parts.mine:charbonnier": 0.5}
    project.change(pretrain={"epochs": 2, "losses": losses, "schedule": "parts.mine:waves"})
    checked = project.twotone("check").stdout
    assert "parts of your own: parts.mine:charbonnier, parts.mine:waves" in checked
    assert "git: does not know parts/mine.py" in checked
    first = project.run("stages", "pretrain")
    with (project.folder / "reports/pretrain/history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        mean = (float(row["l1"]) + 0.5 * float(row["parts.mine:charbonnier"])) / 1.5
        assert float(row["content"]) == pytest.approx(mean, rel=1e-4)
    steps = 2 * len(list(csv.DictReader((project.folder / "reports/pretrain/steps.csv").open(encoding="utf-8")))) // 2
    last = 0.5 + 0.5 * math.cos(8 * math.pi * (steps - 1) / steps) ** 2
    assert float(rows[-1]["lr_generator"]) == pytest.approx(0.001 * last, rel=1e-3)
    # A comment trains nothing anew, a change of what it does trains.
    assert "this training is finished" not in first.stdout + first.stderr
    code = (project.folder / "parts/mine.py").read_text(encoding="utf-8")
    (project.folder / "parts/mine.py").write_text(f"# mine\n{code}", encoding="utf-8")
    again = project.run("stages", "pretrain")
    assert "this training is finished" in again.stdout + again.stderr
    (project.folder / "parts/mine.py").write_text(code.replace("1e-6", "1e-3"), encoding="utf-8")
    changed = project.run("stages", "pretrain")
    assert "epoch 2/2" in changed.stdout + changed.stderr
    # A part may read any file that lies beside it.
    (project.folder / "parts/table.txt").write_text("1", encoding="utf-8")
    changed = project.run("stages", "pretrain")
    assert "epoch 2/2" in changed.stdout + changed.stderr


@pytest.mark.slow
def test_networks_and_a_metric_of_ones_own(project: Project) -> None:
    """Both stages, evaluate, export and coloring; a start from it; and nobody else's model chooses what runs."""
    own_part(project)
    project.change(
        generator={"architecture": "parts.mine:plain", "hints": True},
        discriminator={"architecture": "parts.mine:Judge"},
        pretrain={"epochs": 1},
        finetune={"epochs": 1},
        evaluate={"metrics": {"parts.mine:ab_rmse": "lower"}},
        export={"dial": True},
    )
    assert "parts.mine:plain" in project.twotone("check").stdout
    inspected = project.twotone("inspect").stdout
    assert "generator: parts.mine:plain" in inspected
    assert "discriminator: parts.mine:Judge" in inspected
    for stage in ("pretrain", "finetune", "evaluate", "export"):
        project.run("stages", stage)
    model = json.loads((project.folder / "checkpoints/finetune/model.json").read_text(encoding="utf-8"))
    assert model["generator"]["architecture"] == "parts.mine:plain"
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert all(scores["parts.mine:ab_rmse"] >= scores["ab_mae"] for scores in metrics.values())
    protocol = json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))
    described = protocol["own_metrics"]["parts.mine:ab_rmse"]
    assert described["definition"].startswith("Root of the mean squared error")
    compared = json.loads((project.folder / "reports/evaluate/comparisons.json").read_text(encoding="utf-8"))
    assert "verdict" in compared["finetune - pretrain"]["parts.mine:ab_rmse"]
    assert "parts.mine:ab_rmse" in project.twotone("compare").stdout
    card = (project.folder / "checkpoints/export/README.md").read_text(encoding="utf-8")
    assert "against parts.mine:Judge" in card
    save_photo(project.folder / "one.png", np.random.default_rng(3))
    # The exported file needs no code, and is all that coloring takes.
    (project.folder / "parts/mine.py").rename(project.folder / "mine.txt")
    project.twotone("colorize", "one.png", "-o", "colored", "--model", "checkpoints/export", "--vivid", "0.5")
    refused = twotone(project.folder, "colorize", "one.png", "-o", "other", "--model", "checkpoints/finetune")
    assert refused.returncode == 2
    assert "made by parts.mine:plain, and a model must not choose what runs here" in refused.stderr
    missing = project.run("stages", "evaluate", ok=False)
    assert "evaluate.metrics: parts.mine:ab_rmse: there is no module parts.mine" in missing.stderr
    project.change(evaluate={"metrics": {}})
    missing = project.run("stages", "evaluate", ok=False)
    assert "generator.architecture: parts.mine:plain: there is no module parts.mine" in missing.stderr
    (project.folder / "mine.txt").rename(project.folder / "parts/mine.py")
    # A start must be the network that the parameters name, and is then built by its code.
    shutil.copytree(project.folder / "checkpoints/finetune", project.folder / "checkpoints/start")
    project.change(pretrain={"start_from": "start"})
    project.run("stages", "pretrain")
    project.change(generator={"architecture": "compact_unet"})
    other = project.run("stages", "pretrain", ok=False)
    assert "generator.architecture is 'compact_unet' here and 'parts.mine:plain' there" in other.stderr


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def net(a): ...", "is called with (in_channels, out_channels), and it takes (a)"),
        ("def net(a, b): return 1", "must return a torch.nn.Module, got 1"),
        ("def net(a, b): return 1 / 0", "fails: ZeroDivisionError"),
        ("from torch import nn\ndef net(a, b): return nn.Tanh()", "has no parameter that learns"),
        (
            "from torch import nn\ndef net(a, b): return nn.Conv2d(a, b, 3)",
            "must give floating-point colors of shape (2, 2, 64, 64), got a torch.float32 of shape (2, 2, 62, 62)",
        ),
        ("from torch import nn\ndef net(a, b): return nn.Conv2d(b, b, 3)", "fails on inputs of shape (2, 1, 64, 64)"),
        (
            "from torch import nn\ndef net(a, b): return nn.Sequential(nn.Flatten(), nn.Linear(4096, 8192), "
            "nn.Unflatten(1, (2, 64, 64)))",
            "fails on inputs of shape (2, 1, 64, 96)",
        ),
        (
            "from torch import nn\nclass net(nn.Module):\n    def __init__(self, a, b):\n        super().__init__()\n"
            "        self.one = self.two = nn.Conv2d(a, b, 1)\n    def forward(self, x): return self.one(x)",
            "its weights cannot be saved as safetensors: Some tensors share memory",
        ),
        (
            "from torch import nn\nclass net(nn.Module):\n    def __init__(self, a, b):\n        super().__init__()\n"
            "        self.one = nn.Conv2d(a, b, 1)\n    def forward(self, x): return self.one(x).detach()",
            "its colors have no gradient",
        ),
    ],
)
def test_networks_that_cannot_be_used_are_sentences(code: str, sentence: str, own_module: Callable[[str], str]) -> None:
    module = own_module(code)
    with pytest.raises(ParamsError, match=re.escape(sentence)):
        own_generator(f"{module}:net", 1, 2, 64)


def test_a_discriminator_keeps_what_never_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an encoder that was trained elsewhere; a step of the generator must not set it free."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    code = (
        "from torch import cat, nn\n"
        "class Judge(nn.Module):\n"
        "    def __init__(self, a, b):\n"
        "        super().__init__()\n"
        "        self.fixed, self.last = nn.Conv2d(a + b, 4, 3).requires_grad_(False), nn.Conv2d(4, 1, 3)\n"
        "    def forward(self, a, b): return self.last(self.fixed(cat([a, b], 1)))\n"
    )
    (tmp_path / "part_that_judges.py").write_text(code, encoding="utf-8")
    judge = own_discriminator("part_that_judges:Judge", 1, 2, 32)
    generator = build_generator(Generator(architecture="compact_unet"), ColorSpace("lab"), 32, seed=0)
    params = Finetune(losses={"l1": 1.0}, ema_decay=0.0)
    objective = AdversarialObjective(generator, judge, params, ColorSpace("lab"), Accelerator(cpu=True))
    before = {name: weight.clone() for name, weight in judge.state_dict().items()}
    for number in range(2):
        objective.step(torch.rand(2, 1, 32, 32), torch.rand(2, 2, 32, 32), number)
    changed = {name for name, weight in judge.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"last.weight", "last.bias"}
    assert [name for name, weight in judge.named_parameters() if weight.requires_grad] == ["last.weight", "last.bias"]
    # A training that is interrupted goes on, though Adam knows nothing of those.
    optimizer = objective.optimizers["discriminator"]
    saved = optimizer_tensors(optimizer)
    load_optimizer_tensors(optimizer, saved)
    assert optimizer_tensors(optimizer).keys() == saved.keys()
    cut = {name: value for name, value in saved.items() if not name.startswith("2.")}
    with pytest.raises(KeyError, match="1 of 2 parameters"):
        load_optimizer_tensors(optimizer, cut)


def test_a_model_chooses_nothing_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a part of this machine, nor what a package here offers; what is not here is named."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/evil.py").write_text("raise SystemExit('it runs')", encoding="utf-8")
    network = build_generator(Generator(architecture="compact_unet"), ColorSpace("lab"), 32, seed=0)
    for name in ("parts.evil:net", "offered_elsewhere"):
        config = ModelConfig.describe(Generator(architecture="compact_unet"), "lab", 32)
        save_model(tmp_path / "model", {"generator": network}, config)
        text = (tmp_path / "model/model.json").read_text(encoding="utf-8").replace("compact_unet", name)
        (tmp_path / "model/model.json").write_text(text, encoding="utf-8")
        assert read_config(tmp_path / "model").generator.architecture == name, "an exported file needs no package"
        for allowed in ("", "parts.mine:plain"):
            with pytest.raises(ModelError, match=f"made by {name}, and a model must not choose what runs here"):
                load_generator(tmp_path / "model", own_code=allowed)


def test_a_network_of_ones_own_has_no_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its layers are called: none of them learns at the rate of an encoder."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    code = (
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, a, b):\n"
        "        super().__init__()\n"
        "        self.encoder, self.layers = nn.Conv2d(a, b, 1), nn.ModuleList([nn.Conv2d(b, b, 1)])\n"
        "    def forward(self, x): return self.layers[0](self.encoder(x))\n"
    )
    (tmp_path / "part_with_an_encoder.py").write_text(code, encoding="utf-8")
    assert backbone_parameters(own_generator("part_with_an_encoder:Net", 1, 2, 32)) == []
    unet = build_generator(Generator(backbone="test_efficientnet"), ColorSpace("lab"), 32, seed=0)
    assert backbone_parameters(unet)


def test_what_onnx_cannot_hold_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    code = (
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, a, b):\n"
        "        super().__init__()\n"
        "        self.one = nn.Conv2d(a, b, 1)\n"
        "    def forward(self, x): return torch.fft.fft2(self.one(x)).real\n"
    )
    (tmp_path / "part_with_fft.py").write_text(code, encoding="utf-8")
    network = own_generator("part_with_fft:Net", 1, 2, 32)
    config = ModelConfig.describe(Generator(architecture="compact_unet"), "lab", 32)
    with pytest.raises(ExportError, match="cannot be written as ONNX"):
        require_exportable(LoadedGenerator(network.eval(), config))


def test_a_network_of_a_package_must_be_offered_by_name() -> None:
    """A model.json that somebody else wrote could name any function of this machine."""
    for block in (Generator, Discriminator):
        with pytest.raises(ValueError, match=r"parts\.FILE:function, or what a package offers in the group twotone\."):
            block(architecture="os:abort")
        assert block(architecture="parts.mine:plain").part == "parts.mine:plain"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def mine(colored): ...", "is called with (colored, true), and it takes (colored)"),
        ("def mine(colored, true): return colored.nothing", "fails: AttributeError"),
        ("def mine(colored, true): return None", "must return a finite number, got None"),
        ("def mine(colored, true): return float('nan')", "must return a finite number, got nan"),
    ],
)
def test_metrics_that_cannot_be_used_are_sentences(code: str, sentence: str, own_module: Callable[[str], str]) -> None:
    module = own_module(code)
    with pytest.raises(ParamsError, match=re.escape(sentence)):
        require_metric(own_metrics({f"{module}:mine": "lower"})[f"{module}:mine"])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("parts.mine:weighted", "evaluate.metrics must be none, or NAME:lower or NAME:higher"),
        ("a:b:lower a:b:higher", "for each metric of your own, once"),
        ({"ab_mea": "lower"}, "evaluate.metrics.ab_mea is not known; allowed: module:function of a part of your own"),
        ({"a:b": "less"}, "evaluate.metrics.a:b must be 'lower' or 'higher', got 'less'"),
    ],
)
def test_metrics_are_named_with_their_better_side(value: object, sentence: str) -> None:
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    tree["evaluate"]["metrics"] = value
    with pytest.raises(ParamsError, match=re.escape(sentence)):
        parse(tree)
    tree["evaluate"]["metrics"] = "parts.mine:error:lower"
    assert parse(tree).evaluate.metrics == {"parts.mine:error": "lower"}


def test_a_metric_takes_no_name_of_this_project() -> None:
    for name in ("ab_mae", "path", "fd_lite0"):
        with pytest.raises(ParamsError, match=f"{name} is a name of this project's"):
            own_metrics({name: "lower"})


def test_a_part_is_known_by_all_that_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a function, too, which has imported nothing yet when the training is looked up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    package = tmp_path / "part_of_many"
    (package / "deep").mkdir(parents=True)
    for name, code in {
        "__init__": "",
        "mine": "import math\ndef loss(answer):\n    from part_of_many.helper import K\n    return K",
        "helper": "from .deep import inner\nif False:\n    from ..beyond import nothing",
        "deep/__init__": "",
        "deep/inner": "def later():\n    from .. import broken",
        "broken": "1 +",
        "other": "",
    }.items():
        (package / f"{name}.py").write_text(code, encoding="utf-8")
    found = part_files("losses", ["part_of_many.mine:loss"])
    names = {file.relative_to(package).with_suffix("").as_posix() for file in found}
    assert names == {"__init__", "mine", "helper", "deep/__init__", "deep/inner", "broken"}
    (package / "mine.py").write_text("def loss(answer):\n    import part_of_many.deep.inner", encoding="utf-8")
    found = part_files("losses", ["part_of_many.mine:loss"])
    assert package / "deep/__init__.py" in found, "a module brings the packages that it is in"
    before = code_digest([*found, package / "broken.py"])
    found = (*found, package / "broken.py")
    (package / "broken.py").write_text("2 +", encoding="utf-8")
    assert code_digest(found) != before


def test_a_source_of_ones_own(project: Project, rng: np.random.Generator) -> None:
    own_part(project)
    folder = project.folder / "mine"
    folder.mkdir()
    for number in range(30):
        save_photo(folder / f"{number:02d}.jpg", rng)
    project.change(sample={"source": "parts.mine:newest", "path": "mine"})
    project.run("stages", "sample")
    with (project.folder / "data/sample/manifest.csv").open(encoding="utf-8") as file:
        assert {row["path"] for row in csv.DictReader(file)} <= {f"{number:02d}.jpg" for number in range(30)}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (None, "losses: {name}: there is no module {module}; parts.FILE is in parts/, and any other in"),
        ("1 +", "losses: {name}: importing {module} fails: SyntaxError"),
        ("def los(answer): ...", "{module}.py has no function loss; it has los"),
        ("def loss(a, b): ...", "{name} is called with (answer), and it takes (a, b)"),
        (
            "def loss(a): return a.output",
            "{name} must return a floating-point tensor without dimensions; got a torch.float32 of shape (2, 2, 32,",
        ),
        ("def loss(a): return (a.output > 0).sum()", "floating-point tensor without dimensions; got a torch.int64"),
        ("def loss(a): return a.outputs.mean()", "{name} fails: AttributeError: 'Answer' object has no attribute"),
        ("def loss(a): return 1.0", "got 1.0"),
    ],
)
def test_parts_that_cannot_be_used_are_sentences(
    code: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # Python imports a module of a name once.
    module = f"part_{abs(hash(request.node.name))}"
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    if code is not None:
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
    space = ColorSpace("lab")
    ab = torch.zeros(2, 2, 32, 32)
    with pytest.raises(ParamsError) as raised:
        content_loss(f"{module}:loss")(Answer(ab.clone().requires_grad_(), ab, ab[:, :1], space))
    assert sentence.format(name=f"{module}:loss", module=module) in str(raised.value)


def test_a_part_that_dvc_does_not_watch_is_refused(project: Project, nursery: Nursery) -> None:
    """After a change of it, `dvc repro` would do nothing."""
    (project.folder / "mylosses.py").write_text("def foo(answer): return answer.output.mean()", encoding="utf-8")
    checked = twotone(project.folder, "check", "-S", "pretrain.losses=mylosses:foo:1")
    project.change(pretrain={"losses": {"mylosses:foo": 1.0}})
    trained = nursery.start(project.folder, "pretrain").wait()
    assert (checked.returncode, trained.returncode) == (2, 2)
    for said in (checked.stderr, trained.stdout):
        assert "mylosses.py is not in parts/, so DVC would not notice a change of it; move it there" in said
        assert "name it parts.mylosses:foo" in said


def test_schedules_and_losses_are_tried_before_hours_are_spent(project: Project) -> None:
    code = (
        "def ends(step, total): return 1.0 - 1.2 * step / total\n"
        "def line(step, total): return 1 - step / (total - 1)\n"
        "def broken(answer): return answer.outputs.mean()\n"
    )
    (project.folder / "parts/mine.py").write_text(code, encoding="utf-8")
    project.change(pretrain={"epochs": 8})
    for change, sentence in (
        ("pretrain.schedule=parts.mine:ends", "parts.mine:ends gives -0.0"),
        ("pretrain.losses=parts.mine:broken:1", "parts.mine:broken fails: AttributeError"),
    ):
        refused = twotone(project.folder, "check", "-S", change)
        assert refused.returncode == 2
        assert sentence in refused.stderr
        assert "Traceback" not in refused.stderr
    assert twotone(project.folder, "check", "-S", "pretrain.schedule=parts.mine:line").returncode == 0


def test_what_has_no_function_is_a_sentence() -> None:
    for name in ("sys:losses", "xml:losses"):
        with pytest.raises(ParamsError, match="has no function losses"):
            content_loss(name)


def test_a_loss_from_which_nothing_learns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone; beside others it may be without a gradient on some batches."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    code = "def loss(answer): return (answer.output - answer.target).detach().abs().mean()"
    (tmp_path / "part_without_gradient.py").write_text(code, encoding="utf-8")
    name, ab = "part_without_gradient:loss", torch.rand(2, 2, 32, 32)
    answer = Answer(ab.clone().requires_grad_(), ab, ab[:, :1], ColorSpace("lab"))
    assert not has_gradient(name, ColorSpace("rgb"), 32)
    with pytest.raises(ParamsError, match="have no gradient, so nothing learns"):
        ContentLoss({name: 1.0}, Accelerator(cpu=True))(answer)
    assert ContentLoss({name: 1.0, "l1": 1.0}, Accelerator(cpu=True))(answer)["content"].requires_grad


def test_a_part_of_a_package_without_an_init_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "part_spaces/losses").mkdir(parents=True)
    for name, code in (("mine", "def loss(answer):\n    from part_spaces.losses import helper"), ("helper", "")):
        (tmp_path / f"part_spaces/losses/{name}.py").write_text(code, encoding="utf-8")
    found = part_files("losses", ["part_spaces.losses.mine:loss"])
    assert {file.name for file in found} == {"mine.py", "helper.py"}


def test_what_editors_leave_is_no_part(tmp_path: Path) -> None:
    for name in ("table.npy", "mine.py", ".mine.py.swp", "mine.py~", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in other_files(tmp_path)] == ["table.npy"]


def test_an_installed_package_offers_parts_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By entry points, as setuptools writes them beside an installed package."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "part_offered.py").write_text(
        "def charbonnier(answer): return (answer.output - answer.target).abs().mean()\n"
        "def half(step, total): return 0.5\n"
        "def none(path, seed): return 3\n",
        encoding="utf-8",
    )
    described = tmp_path / "part_offered-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: part-offered\nVersion: 1.0\n", encoding="utf-8")
    offered = {"schedules": "half", "sources": "none", "generators": "charbonnier", "losses": "charbonnier"}
    sections = [f"[twotone.{kind}]\n{name} = part_offered:{name}\n" for kind, name in offered.items()]
    (described / "entry_points.txt").write_text("".join([*sections, "l1 = part_offered:half\n"]), encoding="utf-8")
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    tree["pretrain"] |= {"losses": {"l1": 1.0, "charbonnier": 1.0}, "schedule": "half"}
    tree["sample"]["source"] = "none"
    params = parse(tree)
    # This project's own names stay its own.
    assert own_parts(params, params.pretrain) == ["part_offered:charbonnier", "part_offered:half"]
    assert Generator(architecture="charbonnier").part == "part_offered:charbonnier"
    ones, zeros = torch.ones(2, 2, 32, 32), torch.zeros(2, 2, 32, 32)
    assert content_loss("charbonnier")(Answer(ones, zeros, zeros[:, :1], ColorSpace("lab"))).item() == 1
    assert schedule("half", "pretrain.schedule")(0, 9) == 0.5
    with pytest.raises(ParamsError, match=r"sample\.source: none must return Candidates, got int"):
        list_candidates(params.sample, 0)
    tree["pretrain"]["losses"] = {"charboner": 1.0}
    with pytest.raises(ParamsError, match="charboner"):
        parse(tree)


def test_a_schedule_that_gives_no_factor_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "part_of_schedules.py").write_text("def down(step, total): return 1 - step", encoding="utf-8")
    own = schedule("part_of_schedules:down", "pretrain.schedule")
    assert own(0, 9) == 1
    with pytest.raises(ParamsError, match=r"pretrain\.schedule: part_of_schedules:down gives -1 at step 2 of 9"):
        own(2, 9)


def test_at_most_three_places_each() -> None:
    places = {
        heading: {name for name, _ in patches(heading)}
        for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
        if patches(heading)
    }
    assert {heading: len(names) for heading, names in places.items()} == {
        "A loss": 2,
        "A generator": 3,
        "A source of photographs": 3,
        "A metric": 1,
        "A stage": 3,
    }


@pytest.mark.slow
def test_a_loss(project: Project) -> None:
    apply(project, "A loss")
    project.change(pretrain={"epochs": 1, "losses": {"l1": 1.0, "charbonnier": 0.5}})
    project.run("stages", "pretrain")
    with (project.folder / "reports/pretrain/history.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    mean = (float(row["l1"]) + 0.5 * float(row["charbonnier"])) / 1.5
    assert float(row["content"]) == pytest.approx(mean, rel=1e-4)


@pytest.mark.slow
def test_a_generator(project: Project) -> None:
    apply(project, "A generator")
    project.change(generator={"architecture": "three_layers"}, pretrain={"epochs": 1})
    project.run("stages", "pretrain")
    model = json.loads((project.folder / "checkpoints/pretrain/model.json").read_text(encoding="utf-8"))
    assert model["generator"]["architecture"] == "three_layers"


@pytest.mark.slow
def test_a_source(project: Project, rng: np.random.Generator) -> None:
    apply(project, "A source of photographs")
    for number in range(14):
        save_photo(project.folder / f"{number}.png", rng)
    listing = project.folder / "photographs.txt"
    listing.write_text("".join(f"{number}.png\n" for number in range(14)), encoding="utf-8")
    project.change(sample={"source": "listing", "path": "photographs.txt"})
    project.run("stages", "sample")
    with (project.folder / "data/sample/manifest.csv").open(encoding="utf-8") as file:
        assert {row["path"] for row in csv.DictReader(file)} == {f"{number}.png" for number in range(14)}
    listing.unlink()
    refused = project.run("stages", "sample", ok=False)
    assert refused.returncode == 1
    assert "error: sample.path photographs.txt: no such file; set it to a text file with a path" in refused.stderr


@pytest.mark.slow
def test_a_metric(project: Project) -> None:
    apply(project, "A metric")
    project.run("stages", "evaluate")
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert all(scores["ab_rmse"] >= scores["ab_mae"] for scores in metrics.values())
    protocol = json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))
    assert protocol["metrics"]["ab_rmse"].startswith("root of the mean squared error")


@pytest.mark.slow
def test_a_stage(project: Project) -> None:
    apply(project, "A stage")
    project.dvc("repro", "contact_sheet")
    with Image.open(project.folder / "reports/contact_sheet/sheet.png") as sheet:
        assert sheet.width > 3 * 96
