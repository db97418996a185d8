from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage import data
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import resize
from torchvision.transforms.functional import rgb_to_grayscale

from pipeline.evaluation.baselines import MedianColors
from pipeline.evaluation.classifier import Classifier
from pipeline.evaluation.features import FEWEST, feature_distance, frechet_distance
from pipeline.evaluation.metrics import CLASSIFIED, METRICS, Photograph, score
from pipeline.evaluation.report import comparisons
from pipeline.evaluation.scoring import Scores
from pipeline.quality.color_statistics import (
    ColorPrior,
    bleeding,
    colorfulness,
    hue_distance,
    hue_histogram,
    strong_edges,
)

Array = np.ndarray


@pytest.fixture(scope="module")
def photo() -> Array:
    small = resize(data.astronaut(), (64, 64), anti_aliasing=True, preserve_range=True)
    return small.round().astype(np.uint8)  # type: ignore[no-any-return]


def ab(rgb: Array) -> Array:
    return rgb2lab(rgb)[..., 1:]  # type: ignore[no-any-return]


def test_a_perfect_copy(photo: Array) -> None:
    scores = score(Photograph(ab(photo), photo), Photograph(ab(photo), photo))
    assert set(scores) == set(METRICS)
    assert scores["ab_mae"] == scores["ciede2000"] == scores["colorfulness_delta"] == 0
    assert scores["ssim"] == pytest.approx(1)
    assert scores["psnr_rgb"] == scores["psnr_ab"] == 100
    assert scores["auc"] == pytest.approx(1)


def test_numbers_agree_with_other_implementations(photo: Array) -> None:
    noisy = np.clip(photo.astype(int) + np.random.default_rng(0).integers(-20, 21, photo.shape), 0, 255).astype(
        np.uint8
    )
    scores = score(Photograph(ab(noisy), noisy), Photograph(ab(photo), photo))
    assert scores["psnr_rgb"] == pytest.approx(peak_signal_noise_ratio(photo, noisy))
    assert scores["psnr_ab"] == pytest.approx(peak_signal_noise_ratio(ab(photo), ab(noisy), data_range=220))
    assert scores["ab_mae"] == pytest.approx(np.abs(ab(noisy) - ab(photo)).mean())
    # The definition, distance by distance, without sorting.
    distance = np.linalg.norm(ab(noisy) - ab(photo), axis=-1)
    curve = [(distance <= t).mean() for t in range(151)]
    assert scores["auc"] == pytest.approx((sum(curve) - (curve[0] + curve[-1]) / 2) / 150)


def test_ciede2000_of_a_published_pair() -> None:
    # Sharma et al. 2005, table 1, pair 17. In 8-bit sRGB the colors move a little: the tolerance is that of rounding.
    from skimage.color import lab2rgb

    one, other = (
        (lab2rgb(np.full((16, 16, 3), color, float)) * 255).round().astype(np.uint8)
        for color in ((50, 2.5, 0), (73, 25, -18))
    )
    assert score(Photograph(ab(one), one), Photograph(ab(other), other))["ciede2000"] == pytest.approx(27.1492, abs=0.3)


def test_colorfulness_is_hasler_and_suesstrunks_with_signed_opponents() -> None:
    assert colorfulness(data.rocket()) == pytest.approx(38.56, abs=0.005)
    assert colorfulness(np.full((8, 8, 3), 77, np.uint8)) == 0
    # A single saturated color by hand: sigma 0, mu_rg 255, mu_yb 127.5.
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert colorfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_gray_has_no_color_and_the_auc_falls_with_distance(photo: Array) -> None:
    gray = rgb_to_grayscale(torch.from_numpy(photo).permute(2, 0, 1), 3).permute(1, 2, 0).numpy()
    zero = np.zeros_like(ab(photo))
    scores = score(Photograph(zero, gray), Photograph(ab(photo), photo))
    assert scores["colorfulness"] == 0
    assert scores["colorfulness_delta"] == pytest.approx(colorfulness(photo))
    true = Photograph(ab(photo), photo)
    far, near = (score(Photograph(ab(photo) + distance, photo), true)["auc"] for distance in (50, 5))
    assert far < near


def test_medians_are_numpys(rng: np.random.Generator) -> None:
    lab = np.stack(
        [rng.uniform(0, 100, (5, 32, 32)), rng.normal(10, 20, (5, 32, 32)), rng.normal(-5, 9, (5, 32, 32))], 1
    )
    lab = np.where(lab[:, :1] < 50, lab, lab + np.array([0, 30, 0])[:, None, None]).astype(np.float32)
    medians = MedianColors([torch.from_numpy(lab[:2]), torch.from_numpy(lab[2:])], bins=2)
    np.testing.assert_allclose(medians.constant, np.median(lab[:, 1:], axis=(0, 2, 3)), atol=0.2)
    for row in (0, 1):
        inside = (lab[:, 0] >= 50) == bool(row)
        for channel in (0, 1):
            expected = np.median(lab[:, 1 + channel][inside])
            assert medians.table[channel, row] == pytest.approx(expected, abs=0.2)


def test_colors_from_the_table_follow_lightness() -> None:
    lab = torch.zeros(1, 3, 2, 32)
    lab[:, 0, 0], lab[:, 1, 0] = 20, 40
    lab[:, 0, 1], lab[:, 2, 1] = 80, -30
    medians = MedianColors([lab], bins=10)
    answer = medians.table_ab(lab[:, 0])
    assert answer.shape == (1, 2, 2, 32)
    torch.testing.assert_close(answer, lab[:, 1:], atol=0.13, rtol=0)
    unseen = medians.table_ab(torch.full((1, 1, 1), 50.0))[0, :, 0, 0]
    assert torch.equal(unseen, medians.constant)
    assert medians.constant_ab(lab[:, 0]).shape == (1, 2, 2, 32)


def test_rare_colors_count_as_much_as_frequent_ones(photo: Array) -> None:
    """Against the definition, pixel by pixel."""
    prior = ColorPrior()
    prior.add(ab(photo).transpose(2, 0, 1)[None])
    weights = prior.weights(ab(photo))
    colored = ab(photo) * 0.5
    squares = [tuple(square) for square in ((ab(photo) + 110) // 10).astype(int).reshape(-1, 2).tolist()]
    share = {square: squares.count(square) / len(squares) for square in set(squares)}
    expected = np.array([1 / (0.99 * share[square] + 0.01 / 484) for square in squares])
    np.testing.assert_allclose(weights.ravel(), expected / expected.mean(), rtol=1e-9)
    found = score(Photograph(colored, photo), Photograph(ab(photo), photo, weights))["auc_rebalanced"]
    distance = np.linalg.norm(colored - ab(photo), axis=-1).ravel()
    curve = [(expected * (distance <= t)).sum() / expected.sum() for t in range(151)]
    assert found == pytest.approx((sum(curve) - (curve[0] + curve[-1]) / 2) / 150)
    assert found < score(Photograph(colored, photo), Photograph(ab(photo), photo))["auc"], "vivid colors are rare"


def test_colorfulness_on_absolute_opponents() -> None:
    assert colorfulness(data.rocket(), absolute=True) == pytest.approx(28.98, abs=0.005)


def test_gray_and_sepia_look_gray(photo: Array) -> None:
    sepia = np.full((16, 16, 3), (130, 126, 120), np.uint8)
    true = Photograph(ab(photo), photo)
    assert score(true, true)["near_gray"] == 0
    small = Photograph(ab(photo)[:16, :16], photo[:16, :16])
    assert score(Photograph(ab(sepia), sepia), small)["near_gray"] == 1


def test_hues_are_as_far_apart_as_they_are_turned() -> None:
    angle = np.linspace(0, np.pi / 3, 900).reshape(30, 30)
    around = np.dstack([40 * np.cos(angle), 40 * np.sin(angle)])
    for turned in (30, 90, 120):
        moved = angle + np.deg2rad(turned)
        other = np.dstack([20 * np.cos(moved), 20 * np.sin(moved)])
        hues, others = hue_histogram(around), hue_histogram(other)
        assert hue_distance(hues, others) == pytest.approx(turned, abs=1)
        assert hue_distance(others, hues) == pytest.approx(turned, abs=1)
    assert hue_distance(hues, hues) == 0
    counts, _ = np.histogram(np.rad2deg(angle), 36, (0, 360))
    assert hues == pytest.approx(counts / counts.sum(), abs=2 / 900)  # an end is on the border of two
    # From one hue to all of them: a quarter of the circle on average.
    red = np.zeros((8, 8, 2))
    red[..., 0] = 50
    every = hue_histogram(np.zeros((8, 8, 2)))
    assert hue_distance(hue_histogram(red), every) == pytest.approx(90, abs=2.5)
    # A photograph of r = g = b is gray, too, whatever the last digits of the matrix make of it.
    gray = rgb2lab(np.dstack([np.arange(64, dtype=np.uint8).reshape(8, 8) * 4] * 3))[..., 1:]
    assert 0 < np.abs(gray).max() < 0.01
    assert list(hue_histogram(gray)) == list(every)
    # A hue just under a whole turn is rounded to one.
    assert hue_histogram(np.array([[[50.0, -1e-17]]]))[[0, 35]].sum() == 1


@pytest.mark.parametrize("far", [1e30, 3e38])
def test_a_network_that_has_diverged_is_measured(photo: Array, far: float) -> None:
    true = np.asarray(ab(photo), np.float32)
    scores = score(Photograph(np.full_like(true, far), photo), Photograph(true, photo))
    assert all(np.isfinite(value) for value in scores.values()), scores


def test_single_precision_is_enough(photo: Array) -> None:
    """The stage measures in single precision."""
    other = np.roll(photo, 5, axis=1)
    double = score(Photograph(ab(other), other), Photograph(ab(photo), photo))
    single = (Photograph(np.asarray(ab(one), np.float32), one) for one in (other, photo))
    assert score(*single) == pytest.approx(double, rel=1e-5)


def test_color_that_runs_over_an_edge_is_found() -> None:
    light, true = np.full((20, 20), 80.0), np.zeros((20, 20, 2))
    light[:, 10:], true[:, 10:, 0] = 30, 40
    edges = strong_edges(light, true)
    assert bleeding(true, edges) == 0
    assert bleeding(np.zeros_like(true), edges) == 40
    # A step that is spread over four pixels keeps a quarter of itself at the edge.
    spread = np.zeros_like(true)
    spread[..., 0] = np.interp(np.arange(20), [8, 12], [0, 40])
    assert bleeding(spread, edges) == pytest.approx(30)
    assert bleeding(np.swapaxes(spread, 0, 1), strong_edges(light.T, np.swapaxes(true, 0, 1))) == pytest.approx(30)
    assert bleeding(spread, strong_edges(np.full((20, 20), 50.0), true)) == 0


def test_the_classifier_sees_color() -> None:
    """Coffee is espresso, and an orange without its color something else (classes of ImageNet-1k)."""
    classifier, coffee = Classifier(), torch.from_numpy(data.coffee()).permute(2, 0, 1)[None]
    true, gray = classifier.look(coffee)[0], classifier.look(rgb_to_grayscale(coffee, 3))[0]
    assert true.classes[0] == 967
    same = Photograph(ab(data.coffee()), data.coffee(), seen=true)
    assert [score(same, same)[name] for name in CLASSIFIED] == [1, 1, 0]
    assert feature_distance(true, gray) > 0.01
    assert feature_distance(true, gray) == feature_distance(gray, true)


def test_the_frechet_distance_of_gaussians(rng: np.random.Generator) -> None:
    """Of known means and covariances: |m1 - m2|^2 + sum (s1 - s2)^2 where they are diagonal."""
    one = rng.normal([0, 1, 2], [1, 2, 3], (200_000, 3))
    other = rng.normal([1, 1, 0], [2, 2, 1], (200_000, 3))
    assert frechet_distance(one, other) == pytest.approx(1 + 4 + 1 + 4, rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_is_that_of_the_matrix_root(rng: np.random.Generator) -> None:
    mixing = rng.normal(size=(2, 40, 40))
    one, other = (rng.normal(size=(250, 40)) @ matrix + 0.5 for matrix in mixing)
    covariances = [np.cov(side, rowvar=False) for side in (one, other)]
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_frechet_distances_are_compared_on_the_same_photographs(rng: np.random.Generator) -> None:
    true = rng.normal(size=(FEWEST, 20))
    noise = rng.normal(size=true.shape)
    off = {"finetune": 0.3, "pretrain": 0.6, "pretrain_saturated": 0.3, "lightness_table": 0.1}
    rows = [{"colorizer": name, "ab_mae": float(number)} for name in off for number in range(FEWEST)]
    features = {name: list(true + share * noise) for name, share in off.items()} | {"truth": list(true)}
    scores = Scores(rows, features)
    verdicts = {name: found["fd_lite0"]["verdict"] for name, found in comparisons(scores).items()}
    better, same, worse = ("finetune - pretrain", "finetune - pretrain_saturated", "finetune - lightness_table")
    assert verdicts == {better: "better", same: "no difference", worse: "worse"}
    for name, mean in scores.means().items():
        low, high = scores.intervals()[name]["fd_lite0"]
        assert 0 < high - low < mean["fd_lite0"]
        assert low < mean["fd_lite0"] < high
    scores.features["truth"].pop()
    few = Scores(rows, scores.features)
    assert "fd_lite0" not in few.means()["finetune"]
