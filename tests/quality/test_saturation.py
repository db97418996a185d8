from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.quality.predictor import once
from pipeline.quality.saturation import Knob, mean_colorfulness, saturated
from tests.helpers import smooth_photos


def pale(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the true color."""
    lab = rgb_to_lab(rgb)
    lab[:, 1:] *= 0.5
    return lab[:, 1:], to_uint8(lab_to_rgb(lab))


def test_the_factor_gives_back_the_colorfulness(tmp_path: Path, rng: np.random.Generator) -> None:
    writer = ShardWriter(tmp_path, "valid")
    for photograph in smooth_photos(rng, 6, 32):
        writer.add(photograph)
    writer.close()
    valid = Photographs(tmp_path, "valid", 32)
    knob = Knob(pale, valid, batch_size=4)
    factor = knob.factor(mean_colorfulness(knob.batches))
    # Not exactly two, since halves of colors fit into sRGB less often than wholes are clipped.
    assert factor == pytest.approx(2, abs=0.02)
    assert knob.ab_mae(2.0) == pytest.approx(0, abs=1e-4)
    chroma = np.mean([rgb_to_lab(batch)[:, 1:].abs().mean() for batch in knob.batches])
    assert knob.ab_mae(1.0) == pytest.approx(chroma / 2, rel=0.2)
    batch = torch.from_numpy(valid.gather([0, 1])).permute(0, 3, 1, 2)
    asked = []
    answer = once(lambda rgb: (asked.append(rgb), pale(rgb))[1])
    assert answer(batch) is answer(batch)
    answer(batch.clone())
    assert len(asked) == 2
    ab, rgb = saturated(pale, 2.0)(batch)
    torch.testing.assert_close(ab, rgb_to_lab(batch)[:, 1:])
    assert (rgb.int() - batch.int()).abs().max() <= 1
