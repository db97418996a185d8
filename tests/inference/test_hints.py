"""Colors that are said: where they are, how far they reach, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.color.arrays import lightness
from pipeline.color.hints import Said, spread_hints
from pipeline.errors import HintError
from pipeline.inference import Colorizer, Hint, Painted
from pipeline.inference.hints import color_of, require_hints, said_by
from pipeline.inference.networks import Network
from pipeline.models.config import read_config
from tests.helpers import EIGHT_BIT, mean_chroma, noisy_photo

Array = np.ndarray


@pytest.fixture(scope="module")
def colorizer(model: Path) -> Colorizer:
    return Colorizer.load(model)


def two_fields(height: int = 96, width: int = 128) -> Array:
    """A dark field at the left, a light one at the right."""
    gray = np.full((height, width), 90, np.uint8)
    gray[:, width // 2 :] = 170
    return gray


def ab(rgb: Array) -> Array:
    return rgb2lab(rgb)[..., 1:]


@pytest.mark.parametrize(
    "text", ["#8b1a1a", "navy", "hsl(30, 40%, 50%)", "rgb(10%, 60%, 20%)", "gray", "rgba(139, 26, 26, 1)"]
)
def test_colors_are_those_of_css(text: str) -> None:
    from PIL import ImageColor

    rgb = np.array(ImageColor.getrgb(text.replace("rgba", "rgb").replace(", 1)", ")")), np.uint8).reshape(1, 1, 3)
    assert color_of(text) == pytest.approx(ab(rgb)[0, 0], abs=0.02)


def test_a_hint_is_kept_and_stops_at_an_edge(colorizer: Colorizer) -> None:
    gray = two_fields()
    plain = colorizer(gray)
    said = colorizer(gray, hints=[Hint(30, 48, "#c05050")])
    assert ab(said)[48, 30] == pytest.approx(color_of("#c05050"), abs=0.5)
    changed = np.abs(ab(said) - ab(plain)).mean(2)
    # Over the edge comes next to nothing; on its own side, much.
    assert changed[:, 4:56].mean() > 20 * changed[:, 72:].mean()
    assert changed[:, 72:].mean() < 0.5


def test_the_lightness_stays_whatever_is_said(colorizer: Colorizer, rng: np.random.Generator) -> None:
    rgb = noisy_photo(rng)
    hints = [Hint("20%", "20%", "red", "10%"), Hint("80%", "70%", "blue", 20), Hint(60, 45, "lime")]
    found = colorizer(rgb, hints=hints)
    assert np.abs(rgb2lab(found)[..., 0] - rgb2lab(rgb)[..., 0]).max() <= EIGHT_BIT


def test_shares_are_pixels_and_the_later_of_two_counts(colorizer: Colorizer) -> None:
    gray = two_fields(96, 128)
    by_share = colorizer(gray, hints=[Hint("25%", "50%", "teal", "5%")])
    assert np.array_equal(by_share, colorizer(gray, hints=[Hint(32, 48, "teal", 4.8)]))
    twice = colorizer(gray, hints=[Hint(32, 48, "red", 4.8), Hint(32, 48, "teal", 4.8)])
    assert np.array_equal(twice, by_share)


def test_pixels_may_be_of_another_size(colorizer: Colorizer) -> None:
    plain = colorizer(two_fields(), hints=[Hint(30, 60, "#c05050", 6)])
    larger = colorizer(two_fields(), hints=[Hint(60, 120, "#c05050", 12, size=(256, 192))])
    assert np.array_equal(plain, larger)


def test_the_last_pixel_of_another_size_is_inside() -> None:
    for width in range(132, 2000, 4):
        height = width * 3 // 4
        require_hints([Hint(width, height, "red", size=(width, height))], 128, 96)


def test_gray_says_that_there_is_no_color(colorizer: Colorizer) -> None:
    gray = two_fields()
    assert mean_chroma(colorizer(gray, hints=[Hint("50%", "50%", "white", "100%")])) < 1


def test_spreading_solves_the_equations(rng: np.random.Generator) -> None:
    """Held against a dense solution of the sum over pairs, written out."""
    light = rng.uniform(20, 60, (7, 9)).astype(np.float32)
    painted = rng.uniform(-20, 20, (2, 7, 9)).astype(np.float32)
    said = Said(np.zeros((2, 7, 9), np.float32), np.zeros((7, 9), bool))
    for row, column, color in ((1, 2, (30, 10)), (5, 7, (-20, 40))):
        said.ab[:, row, column] = color
        said.where[row, column] = True
    count = light.size
    matrix, right = np.zeros((count, count)), np.zeros((count, 2))
    for i in range(count):
        r, c = divmod(i, 9)
        matrix[i, i] += 9e-5 * (192 / 7) ** 2 + 1e3 * said.where[r, c]
        right[i] = 1e3 * said.where[r, c] * (said.ab[:, r, c] - painted[:, r, c])
        for j in range(count):
            s, d = divmod(j, 9)
            if max(abs(r - s), abs(c - d)) == 1:
                weight = np.exp(-((float(light[r, c]) - float(light[s, d])) ** 2) / 18) + 1e-4
                matrix[i, i] += weight
                matrix[i, j] -= weight
    expected = painted + np.linalg.solve(matrix, right).T.reshape(2, 7, 9)
    expected[:, said.where] = said.ab[:, said.where]
    assert spread_hints(light, painted, said) == pytest.approx(expected, abs=1e-3)


def test_a_color_reaches_as_far_on_a_copy_of_any_size() -> None:
    reach = {}
    for size in (64, 128, 256):
        gray = two_fields(size, size * 3 // 2)
        said = said_by([Hint("20%", "50%", "#c05050")], gray, gray.shape)
        spread = spread_hints(lightness(gray), np.zeros((2, *gray.shape), np.float32), said)
        reach[size] = spread[0, :: size // 64, :: size // 64]
    for size in (64, 128):
        assert np.abs(reach[size] - reach[256]).mean() < 0.15 * reach[256].mean()


@pytest.mark.parametrize(
    ("hint", "sentence"),
    [
        (Hint(200, 10, "red"), "hint 1: x is 200, outside of the photograph, which is 128x96 pixels"),
        (Hint(10, "120%", "red"), "hint 1: y is 120%, outside"),
        (Hint(-1, 10, "red"), "hint 1: x is -1, outside"),
        (Hint(10, 10, "brick"), "hint 1: 'brick' is no color; write a name such as navy"),
        (Hint(10, 10, "#ff000080"), "hint 1: '#ff000080' is transparent"),
        (Hint(10, 10, "rgb(300, 0, 0)"), "hint 1: 'rgb(300, 0, 0)' is beyond the colors of sRGB"),
        (Hint(10, 10, "rgba(10, 20, 30, 0.5)"), "hint 1: 'rgba(10, 20, 30, 0.5)' is no color"),
        (Hint(10, 10, "hsl(30, 200%, 10%)"), "hint 1: 'hsl(30, 200%, 10%)' is beyond the colors of sRGB"),
        (Hint(300, 10, "red", size=(256, 192)), "hint 1: x is 300, outside"),
        (Hint(10, 10, "red", size=(0, 0)), "hint 1: is of 0x0 pixels"),
        (Hint("left", 10, "red"), "hint 1: x must be pixels or a share"),
        (Hint(float("nan"), 10, "red"), "hint 1: x must be pixels or a share"),
        (Hint(10, 10, "red", 0), "hint 1: radius must be above 0, got 0"),
    ],
)
def test_what_means_nothing_is_refused(colorizer: Colorizer, hint: Hint, sentence: str) -> None:
    with pytest.raises(HintError) as error:
        colorizer(two_fields(), hints=[hint])
    assert str(error.value).startswith(sentence)


def test_a_thousand_hints_are_taken_and_no_more(colorizer: Colorizer, rng: np.random.Generator) -> None:
    hints = [Hint(float(x), float(y), "olive") for x, y in rng.uniform(0, 96, (1001, 2))]
    colorizer(two_fields(), hints=hints[:1000])
    with pytest.raises(HintError, match="1001 hints; at most 1000 can be said"):
        colorizer(two_fields(), hints=hints)


def test_hints_are_of_one_photograph(colorizer: Colorizer) -> None:
    with pytest.raises(HintError, match="hints belong to one photograph"):
        colorizer([two_fields(), two_fields()], hints=[Hint(1, 1, "red")])  # type: ignore[call-overload]


@pytest.mark.parametrize("quality", [0, 75, 90])
def test_dots_on_a_painted_copy_are_hints(colorizer: Colorizer, tmp_path: Path, quality: int) -> None:
    """A JPEG's noise is none, and the copy may have another size."""
    gray = two_fields()
    painted = np.dstack([gray] * 3).repeat(4, 0).repeat(4, 1)
    painted[170:210, 100:140] = (190, 80, 80)
    path = tmp_path / ("painted.jpg" if quality else "painted.png")
    Image.fromarray(painted).save(path, **({"quality": quality} if quality else {}))
    said = said_by(Painted(np.asarray(Image.open(path).convert("RGB"))), gray, (96, 128))
    rows, columns = np.nonzero(said.where)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((43, 51, 25, 34), abs=2)
    assert np.median(said.ab[:, said.where], 1) == pytest.approx(ab(np.uint8([[[190, 80, 80]]]))[0, 0], abs=4)
    found = colorizer(gray, hints=Painted(painted))
    assert np.abs(ab(found)[47, 29] - ab(np.uint8([[[190, 80, 80]]]))[0, 0]).max() < 4


def test_a_small_dot_anywhere_and_a_transparent_layer_are_hints() -> None:
    gray = np.full((600, 800), 120, np.uint8)
    for left in range(300, 312, 3):
        painted = np.dstack([gray] * 3)
        painted[250:256, left : left + 6] = (190, 80, 80)
        assert said_by(Painted(painted), gray, (192, 256)).where.any()
    sepia = (np.dstack([gray] * 3) * np.array([1, 0.85, 0.6])).astype(np.uint8)
    layer, covers = np.zeros((600, 800, 3), np.uint8), np.zeros((600, 800), bool)
    layer[250:290, 300:340], covers[250:290, 300:340] = (190, 80, 80), True
    said = said_by(Painted(layer, covers), sepia, (192, 256))
    assert 100 < said.where.sum() < 220
    assert np.median(said.ab[:, said.where], 1) == pytest.approx(ab(np.uint8([[[190, 80, 80]]]))[0, 0], abs=1)


def test_a_sepia_print_is_no_painting(colorizer: Colorizer) -> None:
    sepia = (np.dstack([two_fields()] * 3) * np.array([1, 0.85, 0.6])).astype(np.uint8)
    with pytest.raises(HintError, match="no color is painted on the copy"):
        colorizer(sepia, hints=Painted(sepia))
    dotted = sepia.copy()
    dotted[40:50, 20:30] = (60, 90, 200)
    assert said_by(Painted(dotted), sepia, (96, 128)).where.sum() == 100


def test_a_painting_of_another_shape_is_refused(colorizer: Colorizer) -> None:
    with pytest.raises(HintError, match="the painted copy is 96x96 pixels, and the photograph is 128x96"):
        colorizer(two_fields(), hints=Painted(np.zeros((96, 96, 3), np.uint8)))


def test_a_network_that_takes_hints_sees_them(model: Path) -> None:
    config = read_config(model)
    config = config.model_copy(update={"generator": config.generator.model_copy(update={"hints": True})})
    seen: list[Array] = []

    def run(x: Array, _seed: int) -> Array:
        seen.append(x)
        return np.zeros((1, 2, *x.shape[2:]), np.float32)

    gray = two_fields(40, 50)
    Colorizer(Network(config, run))(gray, hints=[Hint("50%", "50%", "#c05050", "20%")], render_size=40)
    Colorizer(Network(config, run))(gray, render_size=40)
    with_color, without = seen
    assert with_color.shape == (1, 4, 64, 64)
    said = with_color[0, 3] == 1
    assert said[:40, :50].sum() == said.sum() == 16 * 16
    assert with_color[0, 1:3, 20, 25] * 110 == pytest.approx(color_of("#c05050"), abs=1e-3)
    assert not with_color[0, 1:3][:, ~said].any()
    assert without.shape == (1, 1, 64, 64)
