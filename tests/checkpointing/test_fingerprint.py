from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from pipeline.checkpointing.digests import code_digest
from pipeline.checkpointing.fingerprint import Inputs, fingerprint, training_digest
from pipeline.params.schema import Params

CODE = '''"""A module."""

RATE = 0.1


def step(x):
    """Take a step."""
    if x < 0:
        raise ValueError(f"x must be >= 0, got {x}")
    return x * RATE  # slowly
'''


def digest(folder: Path, code: str) -> str:
    (folder / "step.py").write_text(code, encoding="utf-8")
    return code_digest([folder / "step.py"])


def test_texts_do_not_count_and_everything_else_does(tmp_path: Path) -> None:
    before = digest(tmp_path, CODE)
    for old, new in (
        ("A module.", "A module, described better."),
        ("Take a step.", "Take one step.\n\n    Raises:\n        ValueError: ..."),
        ("x must be >= 0, got {x}", "a negative x: {x}; give another"),
        ("  # slowly", ""),
        ("\n\n\ndef", "\n\n\n\n# A step.\ndef"),
    ):
        assert digest(tmp_path, CODE.replace(old, new)) == before, new
    for old, new in (
        ("0.1", "0.2"),
        ("x < 0", "x <= 0"),
        ("x * RATE", "x * RATE * RATE"),
        ("ValueError(", "TypeError("),
    ):
        assert digest(tmp_path, CODE.replace(old, new)) != before, new


@pytest.fixture
def inputs(params: Params, tmp_path: Path) -> Inputs:
    for name, content in (("sample", "a photograph"), ("parent", "weights")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content, encoding="utf-8")
    (tmp_path / "step.py").write_text(CODE, encoding="utf-8")
    blocks = (params.generator, params.pretrain)
    return Inputs(params.base, blocks, tmp_path / "sample", (tmp_path / "parent",), (tmp_path / "step.py",))


def test_every_input_counts(params: Params, inputs: Inputs) -> None:
    accelerator = Accelerator(cpu=True)
    before = training_digest("pretrain", inputs, accelerator)
    assert training_digest("pretrain", inputs, accelerator) == before
    assert training_digest("finetune", inputs, accelerator) != before
    other_base = params.base.model_copy(update={"seed": 7})
    assert training_digest("pretrain", replace(inputs, base=other_base), accelerator) != before
    other_block = params.pretrain.model_copy(update={"losses": {"mse": 1.0}})
    assert training_digest("pretrain", replace(inputs, blocks=(params.generator, other_block)), accelerator) != before
    without_effect = params.base.model_copy(update={"num_workers": 3, "save_every_minutes": 1.0})
    assert training_digest("pretrain", replace(inputs, base=without_effect), accelerator) == before
    for path in (inputs.sample / "file", inputs.start[0] / "file", inputs.code[0]):
        content = path.read_text(encoding="utf-8")
        path.write_text(content + "\nMORE = 1\n", encoding="utf-8")
        assert training_digest("pretrain", inputs, accelerator) != before, path
        path.write_text(content, encoding="utf-8")
    assert training_digest("pretrain", inputs, accelerator) == before


def test_threads_and_processes_count_in_the_fingerprint_alone(inputs: Inputs) -> None:
    accelerator = Accelerator(cpu=True)
    training = training_digest("pretrain", inputs, accelerator)
    before = fingerprint(training, accelerator)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    other, same = fingerprint(training, accelerator), training_digest("pretrain", inputs, accelerator)
    torch.set_num_threads(threads)
    assert other != before
    assert same == training
    assert fingerprint(training, accelerator) == before != fingerprint(f"{training}0", accelerator)
