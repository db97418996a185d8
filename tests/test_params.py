from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params.schema import Params, absent, parse, read
from stages.dvc import STAGES
from tests.helpers import QUICKSTART, ROOT


def tree() -> dict[str, dict[str, object]]:
    return YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def refusal(block: str, key: str, value: object) -> str:
    raw = tree()
    raw[block][key] = value
    with pytest.raises(ParamsError) as error:
        parse(raw)
    return str(error.value)


def test_the_params_of_quickstart_are_valid() -> None:
    assert isinstance(read(QUICKSTART), Params)


@pytest.mark.parametrize(
    ("block", "key", "value", "sentence"),
    [
        ("finetune", "lr_generator", -1.0, "finetune.lr_generator must be > 0, got -1.0"),
        ("finetune", "lr_generator", "fast", "finetune.lr_generator must be a number, got 'fast'"),
        ("finetune", "lr_generator", float("nan"), "finetune.lr_generator must be"),
        ("base", "image_size", 65, "base.image_size must be a multiple of 32, got 65"),
        ("base", "image_size", True, "base.image_size must be a whole number, got True"),
        ("base", "precision", "fp8", "base.precision must be 'auto', 'fp32', 'tf32', 'bf16' or 'fp16', got 'fp8'"),
        ("sample", "train", 0, "sample.train must be >= 1, got 0"),
        ("pretrain", "batch_size", 10_000, "pretrain.batch_size must be <= sample.train (352), got 10000"),
        ("pretrain", "epochz", 3, "pretrain.epochz is not a key this project knows; did you mean epochs?"),
        ("pretrain", "sample_epochs", [0], "pretrain.sample_epochs.0 must be >= 1, got 0"),
        ("pretrain", "flip", "yes", "pretrain.flip must be true or false, got 'yes'"),
        ("discriminator", "receptive_field", 71, "discriminator.receptive_field must be 1, 16, 70 or 286, got 71"),
        ("discriminator", "receptive_field", True, "discriminator.receptive_field must be 1, 16, 70 or 286, got"),
        ("pretrain", "batch_size", 1, "pretrain.batch_size must be >= 2"),
        ("finetune", "warmup_steps", 22, "finetune.warmup_steps must be < all 22 steps of finetune, got 22"),
        ("sample", "group", "folder", "sample.group must be none for sample.source bundled, got 'folder'"),
        ("base", "trackers", "wandb", "base.trackers must be a list, got 'wandb'"),
        ("discriminator", "receptive_field", 286, "base.image_size must be >= 128"),
        ("pretrain", "losses", {}, "pretrain.losses must name at least one, got {}"),
        ("pretrain", "losses", {"l1": 0}, "pretrain.losses must give a loss a weight > 0, got {'l1': 0"),
        (
            "finetune",
            "losses",
            {"l2": 1},
            "finetune.losses.l2 is not known; allowed: 'l1', 'mse', 'smooth_l1', 'l1_chromatic', 'color_distribution', "
            "'feature_lite0' or module:function of a part of your own",
        ),
        ("finetune", "losses", {"l1": -1}, "finetune.losses.l1 must be >= 0, got -1"),
        ("pretrain", "content_loss", "l1", "pretrain.content_loss is now pretrain.losses, a weight for each loss"),
        ("finetune", "content_loss", "l1", "finetune.content_loss is now finetune.losses, a weight for each loss"),
        ("finetune", "lambda_content", 9.0, "finetune.lambda_content is now the weight in finetune.losses"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(block: str, key: str, value: object, sentence: str) -> None:
    assert sentence in refusal(block, key, value)


def test_what_would_train_nothing_is_refused() -> None:
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    finetune = tree["finetune"]
    finetune |= {"epochs": 2, "epoch_steps": 1, "warmup_steps": 2}
    with pytest.raises(ParamsError, match="warmup_steps must be < all 2 steps of finetune, got 2"):
        parse(tree)
    finetune |= {"adversarial_loss": "none", "warmup_steps": 0, "losses": {"l1": 0}}
    with pytest.raises(ParamsError, match="a loss a weight > 0 with finetune"):
        parse(tree)
    with pytest.raises(ParamsError, match="target_saturation must be 1 without a discriminator and without the loss"):
        parse(tree | {"finetune": finetune | {"losses": {"l1": 1}, "target_saturation": 1.2}})
    # The networks that are not trained may not fit.
    finetune |= {"losses": {"l1": 1}}
    tree["discriminator"]["receptive_field"] = 286
    parse(tree)


def test_unknown_blocks_are_named() -> None:
    raw = tree()
    raw["fintune"] = raw.pop("finetune")
    with pytest.raises(ParamsError, match=r"fintune is not a key this project knows; did you mean finetune\?"):
        parse(raw)


def test_what_is_absent_has_the_value_of_quickstart(params: Params) -> None:
    """So the params.yaml of an earlier version works."""
    assert parse({}) == params
    raw = tree()
    del raw["evaluate"], raw["finetune"]["ema_decay"]
    parsed = parse(raw)
    assert parsed == params
    named = absent(raw, parsed)
    assert "finetune.ema_decay: 0.9" in named
    assert {name.split(".")[0] for name in named} == {"evaluate", "finetune"}
    assert len(named) == 1 + len(tree()["evaluate"])


@pytest.mark.parametrize("text", ["", "[1, 2]", "base: 3", "a: b: c", "base: {seed: 1, seed: 2}", "\x00", "&a [*a]"])
def test_what_is_no_params_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        read(path)


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    text = QUICKSTART.read_text(encoding="utf-8").replace("lr_generator: 0.0002", "lr_generator: 2e-4")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert read(path).finetune.lr_generator == 2e-4


@settings(deadline=None, derandomize=True, max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_any_tree_is_parsed_or_refused(raw: object) -> None:
    if raw == {}:
        return  # all of it is absent
    with pytest.raises(ParamsError):
        parse(raw)


def test_reading_params_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "skimage", "PIL", "fastai", "dvc")
    code = f"import sys, pipeline.params.schema; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_refuses_bad_params_before_heavy_imports(tmp_path: Path, stage: str) -> None:
    text = QUICKSTART.read_text(encoding="utf-8").replace("lr_generator: 0.0002", "lr_generator: -1")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stages", stage],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert "error: params.yaml: finetune.lr_generator must be > 0, got -1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "torch" not in done.stderr
    assert "numpy" not in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]
