from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from skimage.color import rgb2lab

from pipeline.data.shards import Photographs, ShardWriter
from pipeline.evaluation.dial import curve
from pipeline.quality.saturation import saturated
from tests.helpers import smooth_photos
from tests.quality.test_saturation import pale


def test_a_curve_has_the_mean_and_its_interval_at_each_setting(tmp_path: Path, rng: np.random.Generator) -> None:
    photographs = smooth_photos(rng, 24, 32)
    writer = ShardWriter(tmp_path, "test")
    for photograph in photographs:
        writer.add(photograph)
    writer.close()
    rows = curve(partial(saturated, pale), (1.0, 2.0), Photographs(tmp_path, "test", 32), batch_size=7)
    assert [row["setting"] for row in rows] == [1.0, 2.0]
    # pale gives half of each color: at 1 the error is the other half, at 2 there is none.
    errors = [np.abs(rgb2lab(photograph)[..., 1:]).mean() / 2 for photograph in photographs]
    assert rows[0]["ab_mae"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert rows[1]["ab_mae_high"] == pytest.approx(0, abs=1e-3)
    # The bootstrap's interval against Student's t of the same photographs.
    low, high = stats.t.interval(0.95, len(errors) - 1, np.mean(errors), stats.sem(errors))
    width = high - low
    assert rows[0]["ab_mae_low"] == pytest.approx(low, abs=0.2 * width)
    assert rows[0]["ab_mae_high"] == pytest.approx(high, abs=0.2 * width)
    assert rows[0]["colorfulness_low"] < rows[0]["colorfulness"] < rows[0]["colorfulness_high"]
    assert rows[0]["colorfulness"] < rows[1]["colorfulness_low"]
