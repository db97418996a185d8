"""Optical flow on motion that is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from pipeline.errors import VideoError
from pipeline.inference.motion import Motion, carried
from pipeline.inference.smoothing import Flicker, Smoother

SHIFT = 6
"""Pixels that a frame moves to the right."""


@pytest.fixture
def frames() -> list[np.ndarray]:
    """Four (96, 128, 3) views of a larger scene, from left to right of which the camera moves."""
    scene = gaussian_filter(np.random.default_rng(0).normal(0, 1, (96, 200)), 3)
    scene = ((scene / scene.std()).clip(-2, 2) * 60 + 128).astype(np.uint8)
    return [np.dstack([scene[:, 40 - SHIFT * i : 168 - SHIFT * i]] * 3) for i in range(4)]


def light_of(frame: np.ndarray) -> np.ndarray:
    return (frame[..., 0] / 2.55).astype(np.float32)


@pytest.mark.parametrize("factor", [1, 4])
def test_motion_is_found_at_any_size(frames: list[np.ndarray], factor: int) -> None:
    """Also where the frame is larger than what motion is looked for in; in pixels of the small copy."""
    motion = Motion()
    large = [np.dstack([zoom(frame[..., 0], factor, order=1)] * 3) for frame in frames[:2]]
    assert motion.into(large[0], (48, 64), cut=True) is None
    flow = motion.into(large[1], (48, 64), cut=False)
    assert flow is not None
    assert flow.shape == (2, 48, 64)
    assert np.median(flow[0]) == pytest.approx(-SHIFT / 2, abs=0.1)
    assert np.median(flow[1]) == pytest.approx(0, abs=0.1)
    assert motion.into(large[0], (48, 64), cut=True) is None


def test_color_follows_what_moves(frames: list[np.ndarray]) -> None:
    """A frame's color, then none: most of it stays, in the place to which its thing has moved."""
    pattern = np.sin(np.arange(128) / 8, dtype=np.float32)
    color = np.broadcast_to(40 * pattern, (2, 96, 128)).astype(np.float32)
    motion, gray, errors = Motion(), np.zeros((2, 96, 128), np.float32), []
    follow, stay = Smoother(0.9), Smoother(0.9)
    for number, frame in enumerate(frames[:2]):
        flow = motion.into(frame, (96, 128), cut=number == 0)
        results = [smoother(light_of(frame), gray if number else color, number == 0, flow_or_none)
                   for smoother, flow_or_none in ((follow, flow), (stay, None))]  # fmt: skip
    expected = 0.9 * 40 * np.sin((np.arange(128) - SHIFT) / 8)
    for result in results:
        errors.append(np.abs(result[:, 8:-8, 2 * SHIFT : -2 * SHIFT] - expected[2 * SHIFT : -2 * SHIFT]).mean())
    assert errors[0] < 1.5
    assert errors[1] > 10


def test_what_was_hidden_gets_its_own_color(frames: list[np.ndarray]) -> None:
    """A bright square that appears is not colored by what was there."""
    motion, smoother = Motion(), Smoother(0.99)
    appeared = frames[1].copy()
    appeared[30:60, 40:80] = 255
    red, blue = (np.full((2, 96, 128), value, np.float32) for value in (40, -40))
    for frame, color in ((frames[0], red), (appeared, blue)):
        flow = motion.into(frame, (96, 128), cut=color is red)
        result = smoother(light_of(frame), color, color is red, flow)
    assert np.median(result[:, 34:56, 44:76]) < -35
    assert np.median(result[:, 70:90]) > 35


def test_flicker_is_measured_along_the_motion(frames: list[np.ndarray]) -> None:
    """Color that moves with its thing does not flicker, though it changes at every place."""
    motion, along, in_place = Motion(), Flicker(), Flicker()
    for number, frame in enumerate(frames):
        flow, light = motion.into(frame, (96, 128), cut=number == 0), light_of(frame)
        pattern = 40 * np.sin((np.arange(128) - SHIFT * number) / 8).astype(np.float32)
        color = np.broadcast_to(pattern, (2, 96, 128))
        along.add(light, color, number == 0, flow)
        in_place.add(light, color, number == 0)
    assert along.mean < 4
    assert in_place.mean > 20


def test_grain_moves_nothing() -> None:
    grain = np.random.default_rng(0)
    pictures = [(128 + grain.normal(0, 8, (64, 64))).clip(0, 255).astype(np.uint8) for _ in range(2)]
    motion = Motion()
    for number, picture in enumerate(pictures):
        flow = motion.into(np.dstack([picture] * 3), (64, 64), cut=number == 0)
    lights = [(picture / 2.55).astype(np.float32) for picture in pictures]
    before = np.stack([lights[0], np.arange(64 * 64, dtype=np.float32).reshape(64, 64)])
    stays = carried(lights[1], before, flow)[1] == before[1]
    everywhere = carried(lights[1], before, None)[1] == before[1]
    assert everywhere.all()
    assert stays.mean() > 0.5


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(VideoError, match=r'films need OpenCV; install the extra film: .* `pip install "\.\[film\]"`'):
        Motion()
