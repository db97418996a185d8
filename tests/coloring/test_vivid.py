"""The dial from faithful to vivid, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tuned_pair
from tests.helpers import save_photo, twotone


def chroma(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.slow
def test_the_dial_changes_the_colors_step_by_step(model: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    finetuned = tuned_pair(model, tmp_path)
    save_photo(tmp_path / "street.png", rng, (90, 70))
    typed = ("colorize", "street.png", "--format", "png", "--model", str(finetuned))
    for name, words in {
        "none": (),
        "one": ("--vivid", "1"),
        "half": ("--vivid", "0.5"),
        "zero": ("--vivid", "0"),
    }.items():
        done = twotone(tmp_path, *typed, "-o", f"{name}.png", *words)
        assert done.returncode == 0, done.stderr
    done = twotone(tmp_path, "colorize", "street.png", "-o", "faithful.png", "--model", str(tmp_path / "pretrain"))
    assert done.returncode == 0, done.stderr
    none, one, half, zero, faithful = (
        chroma(tmp_path / f"{name}.png") for name in ("none", "one", "half", "zero", "faithful")
    )
    assert np.array_equal(none, one)
    assert np.array_equal(zero, faithful)
    assert 0 < np.abs(half - zero).mean() < np.abs(one - zero).mean()
    # The copy says where the dial stood, and between which weights.
    ends = [
        json.loads((folder / "model.json").read_text(encoding="utf-8")) for folder in (finetuned, tmp_path / "pretrain")
    ]
    digests = [end["sha256"]["generator.safetensors"] for end in ends]
    said = f"sha256 {digests[0]}, dial at 0.5 from sha256 {digests[1]}".encode()
    assert said in (tmp_path / "half.png").read_bytes()
    assert b"dial at" not in (tmp_path / "none.png").read_bytes()


def test_what_has_no_dial_is_refused(model: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "street.png", rng)
    refused = twotone(tmp_path, "colorize", "street.png", "-o", "out.png", "--model", str(model), "--vivid", "0.5")
    assert refused.returncode == 2
    assert "the dial needs a generator that finetune has made" in refused.stderr
    assert not (tmp_path / "out.png").exists()
    too_far = twotone(tmp_path, "colorize", "street.png", "-o", "out.png", "--model", str(model), "--vivid", "1.5")
    assert too_far.returncode == 2
    assert "--vivid" in re.sub(r"\x1b\[[0-9;]*m", "", too_far.stderr)
