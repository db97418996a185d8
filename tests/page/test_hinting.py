"""Colors that are said on the page: by mouse, by keyboard and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data
from skimage.color import rgb2lab

from pipeline.inference.hints import Hint, color_of, rgb_of
from pipeline.page.hinting import marked, parse
from pipeline.page.palette import PALETTE, color_at, likely_colors
from tests.helpers import save_photo, until
from tests.page.conftest import PATIENCE, downloaded, send

RED = "#c05050"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Two fields of one gray each."""
    gray = np.full((240, 320), 90, np.uint8)
    gray[:, 160:] = 170
    Image.fromarray(gray).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def ab_at(path: Path, x: int, y: int) -> np.ndarray:
    return np.asarray(rgb2lab(np.asarray(Image.open(path).convert("RGB")))[y, x, 1:])


def opened_list(page: Page, photo: Path) -> None:
    send(page, photo)
    expect(page.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
    page.get_by_role("button", name="Say a color").click()
    expect(page.locator("#place img")).to_be_visible(timeout=PATIENCE)


def opened_list_of_two(page: Page, photo: Path, other: Path) -> None:
    Image.fromarray(np.full((200, 260), 120, np.uint8)).save(other)
    send(page, photo, other)
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    page.get_by_role("button", name="Say a color").click()
    expect(page.locator("#place img")).to_be_visible(timeout=PATIENCE)


def recolored(page: Page, before: str) -> None:
    expect(page.locator("#result img").nth(1)).not_to_have_attribute("src", before, timeout=PATIENCE)


def shown(page: Page) -> str:
    return str(page.locator("#result img").nth(1).get_attribute("src"))


def test_a_click_says_a_color_and_undo_takes_it_back(page: Page, photo: Path, tmp_path: Path) -> None:
    opened_list(page, photo)
    plain = ab_at(downloaded(page, tmp_path), 80, 120)
    before = shown(page)
    box = page.locator("#place img").bounding_box()
    assert box is not None
    page.locator("#place img").click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    recolored(page, before)
    lines = page.locator("#hints textarea")
    x, y, color = lines.input_value().split()
    assert float(x.rstrip("%")) == pytest.approx(25, abs=1)
    assert float(y.rstrip("%")) == pytest.approx(50, abs=1)
    assert ab_at(downloaded(page, tmp_path), 80, 120) == pytest.approx(color_of(color), abs=3)
    before = shown(page)
    page.locator("#undo").click()
    recolored(page, before)
    expect(lines).to_have_value("")
    assert ab_at(downloaded(page, tmp_path), 80, 120) == pytest.approx(plain, abs=1)
    before = shown(page)
    page.locator("#redo").click()
    recolored(page, before)
    expect(lines).to_have_value(f"{x} {y} {color}")


def test_the_choice_of_a_color_begins_with_common_ones(page: Page, photo: Path) -> None:
    opened_list(page, photo)
    picker = page.locator("#color input[type=color]")
    expect(picker).to_have_attribute("list", "palette", timeout=PATIENCE)
    offered = page.locator("#palette option").evaluate_all("all => all.map(one => one.value)")
    assert len(offered) == len(set(offered)) == 20
    chroma = [np.hypot(*color_of(color)) for color in offered]
    assert np.mean(np.array(chroma) > 20) > 0.8


def test_colors_are_typed_saved_and_loaded(page: Page, photo: Path, tmp_path: Path) -> None:
    opened_list(page, photo)
    before = shown(page)
    lines = page.locator("#hints textarea")
    lines.focus()
    page.keyboard.type(f"25% 50% {RED} 5%")
    expected = {"hints": [{"x": "25%", "y": "50%", "color": RED, "radius": "5%"}]}

    def all_is_saved() -> bool:
        """Whether what was typed last is saved, which does not wait for it to be colored."""
        file = downloaded(page, tmp_path, "#save-hints")
        return file.name == "street.hints.json" and json.loads(file.read_text(encoding="utf-8")) == expected

    until(all_is_saved)
    recolored(page, before)
    file = tmp_path / "street.hints.json"
    assert ab_at(downloaded(page, tmp_path), 80, 120) == pytest.approx(color_of(RED), abs=3)
    before = shown(page)
    page.locator("#clear").click()
    recolored(page, before)
    before = shown(page)
    with page.expect_file_chooser() as chooser:
        page.locator("#load-hints").click()
    chooser.value.set_files(file)
    recolored(page, before)
    expect(lines).to_have_value(f"25% 50% {RED} 5%")


@pytest.mark.slow
def test_what_is_typed_while_photographs_are_colored_stays(
    page: Page, tmp_path: Path, rng: np.random.Generator
) -> None:
    photographs = [tmp_path / f"{number}.png" for number in range(16)]
    for path in photographs:
        save_photo(path, rng, (800, 1000))
    send(page, *photographs)
    section, lines = page.get_by_role("button", name="Say a color"), page.locator("#hints textarea")
    section.click()
    expect(page.locator("#place img")).to_be_visible(timeout=PATIENCE)
    typed = f"25% 50% {RED} 5%\n50% 50% navy"
    lines.fill(typed)
    section.click()
    expect(lines).to_be_hidden()
    section.click()
    expect(lines).to_have_value(typed)
    page.wait_for_timeout(500)
    page.reload()
    section.click()
    expect(lines).to_have_value(typed, timeout=PATIENCE)
    expect(page.locator("#status")).to_contain_text("Colored 16 / 16", timeout=PATIENCE)
    # Taken away and sent again, as where it was deleted, a photograph has its colors.
    page.locator("#upload").get_by_role("button", name="Clear").click()
    expect(page.locator("#status")).to_contain_text("appear here", timeout=PATIENCE)
    send(page, photographs[0])
    expect(page.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
    expect(lines).to_have_value(typed, timeout=PATIENCE)


def test_a_name_without_an_ending_is_kept_whole(page: Page, photo: Path, tmp_path: Path) -> None:
    named = photo.rename(tmp_path / "Mr. Smith 1935")
    opened_list(page, named)
    assert downloaded(page, tmp_path).name == "Mr. Smith 1935-color.png"
    page.locator("#hints textarea").fill(f"25% 50% {RED}")
    assert downloaded(page, tmp_path, "#save-hints").name == "Mr. Smith 1935.hints.json"


def test_a_line_that_says_nothing_is_named(page: Page, photo: Path) -> None:
    opened_list(page, photo)
    page.locator("#hints textarea").fill("25% 50% brick")
    problem = page.locator("#hint-problem [role=alert]")
    expect(problem).to_contain_text("1: 'brick' is no color", timeout=PATIENCE)
    page.locator("#hints textarea").fill(f"25% 50% {RED}")
    expect(problem).to_have_count(0, timeout=PATIENCE)


@pytest.mark.slow
def test_each_photograph_has_its_own_colors(page: Page, photo: Path, tmp_path: Path) -> None:
    opened_list_of_two(page, photo, tmp_path / "other.png")
    lines = page.locator("#hints textarea")
    before = shown(page)
    lines.fill(f"25% 50% {RED} 5%")
    recolored(page, before)
    page.locator("#photographs").get_by_role("button", name="Thumbnail 2 of 2").click()
    expect(lines).to_have_value("")
    before = shown(page)
    lines.fill("50% 50% navy 5%")
    recolored(page, before)
    assert ab_at(downloaded(page, tmp_path), 130, 100) == pytest.approx(color_of("navy"), abs=4)
    # Taken back here, it does not come to the other one.
    before = shown(page)
    page.locator("#undo").click()
    expect(lines).to_have_value("")
    recolored(page, before)
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    page.locator("#photographs").get_by_role("button", name="Thumbnail 1 of 2").click()
    expect(lines).to_have_value(f"25% 50% {RED} 5%")
    page.locator("#redo").click()
    expect(lines).to_have_value(f"25% 50% {RED} 5%")
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    assert ab_at(downloaded(page, tmp_path), 80, 120) == pytest.approx(color_of(RED), abs=3)


def test_a_place_outside_is_said_and_can_be_mended(page: Page, photo: Path) -> None:
    opened_list(page, photo)
    lines = page.locator("#hints textarea")
    lines.fill(f"5000 10 {RED}")
    expect(page.locator("#problems")).to_contain_text("colored without what was said", timeout=PATIENCE)
    expect(page.locator("#problems")).to_contain_text("x is 5000, outside", timeout=PATIENCE)
    before = shown(page)
    lines.fill(f"80 120 {RED}")
    recolored(page, before)
    expect(page.locator("#problems")).not_to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("40% 30% #8b1a1a", Hint("40%", "30%", "#8b1a1a")),
        ("12 7.5 navy 3%", Hint(12, 7.5, "navy", "3%")),
        ("10% 10% hsl(30, 40%, 50%)", Hint("10%", "10%", "hsl(30, 40%, 50%)")),
        ("40% 25% red  5", Hint("40%", "25%", "red", 5)),
        ("10% 10% hsl(30, 40%, 50%) 8", Hint("10%", "10%", "hsl(30, 40%, 50%)", 8)),
    ],
)
def test_a_line_is_a_hint(line: str, hint: Hint) -> None:
    assert parse(f"\n  {line}  \n") == ((hint,), [])


def test_what_is_said_in_any_notation_is_drawn(photo: Path) -> None:
    """Pillow counts alpha to 255, and knows no hsla."""
    for color in ("rgba(139, 26, 26, 1.0)", "hsla(30, 40%, 50%, 1)", "rgba(139,26,26,100%)"):
        hints, _ = parse(f"50% 50% {color}")
        with Image.open(marked(photo, hints)) as drawn:
            middle = drawn.convert("RGB").getpixel((drawn.width // 2, drawn.height // 2))
        assert middle == pytest.approx(rgb_of(color), abs=12)


@pytest.mark.parametrize(
    "line",
    ["red", "1 2", "120% 5% red", "x y red", "1 2 #12345", "1 2 red -3", "inf 5 red", "1e999 5 red", "1 2 red blue"],
)
def test_other_lines_have_a_sentence(line: str) -> None:
    hints, (problem,) = parse(f"1 1 blue\n{line}")
    assert hints == (Hint(1, 1, "blue"),)
    assert problem.startswith("2: ")


def test_a_likely_color_is_taken_for_the_place_of_the_click(page: Page, photo: Path, tmp_path: Path) -> None:
    opened_list(page, photo)
    plain = downloaded(page, tmp_path)
    expected = likely_colors(color_at(Image.open(plain), 0.75, 0.5))
    before = shown(page)
    box = page.locator("#place img").bounding_box()
    assert box is not None
    page.locator("#place img").click(position={"x": 0.75 * box["width"], "y": box["height"] / 2})
    recolored(page, before)
    offered = page.locator("#likely").get_by_role("button")
    expect(offered).to_have_count(len(expected), timeout=PATIENCE)
    painted = color_of(str(offered.first.get_attribute("aria-label")))
    assert painted == pytest.approx(color_of(expected[0]), abs=3)
    before, chosen = shown(page), offered.nth(3)
    color = str(chosen.get_attribute("aria-label"))
    chosen.focus()
    page.keyboard.press("Enter")
    recolored(page, before)
    lines = page.locator("#hints textarea")
    assert lines.input_value().split()[2] == page.locator("#color input").input_value() == color
    assert ab_at(downloaded(page, tmp_path), 240, 120) == pytest.approx(color_of(color), abs=3)
    # What somebody has typed behind the color stays.
    place = " ".join(lines.input_value().split()[:2])
    before = shown(page)
    lines.fill(f"{place} hsl(30, 40%, 50%) 5%")
    recolored(page, before)
    before = shown(page)
    offered.nth(2).click()
    recolored(page, before)
    expect(lines).to_have_value(f"{place} {offered.nth(2).get_attribute('aria-label')} 5%")
    # A place that is no longer said is not said again.
    before = shown(page)
    page.locator("#clear").click()
    recolored(page, before)
    offered.first.click()
    expect(lines).to_have_value("")


@pytest.mark.slow
def test_likely_colors_are_those_of_the_photograph_that_is_shown(page: Page, photo: Path, tmp_path: Path) -> None:
    opened_list_of_two(page, photo, tmp_path / "other.png")
    page.locator("#place img").click()
    expect(page.locator("#likely")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#save-hints")).to_be_enabled(timeout=PATIENCE)
    page.locator("#photographs").get_by_role("button", name="Thumbnail 2 of 2").click()
    expect(page.locator("#likely")).not_to_be_visible(timeout=PATIENCE)


@pytest.mark.slow
def test_a_color_picture_gives_its_colors(page: Page, tmp_path: Path) -> None:
    cat = np.asarray(data.chelsea())
    Image.fromarray(cat).convert("L").save(tmp_path / "cat.png")
    Image.fromarray(np.ascontiguousarray(cat[:, ::-1])).save(tmp_path / "postcard.tif")
    Image.fromarray(cat).convert("L").save(tmp_path / "gray.png")
    (tmp_path / "broken.jpg").write_bytes(b"<html>not found</html>")
    opened_list(page, tmp_path / "cat.png")
    true = rgb2lab(cat)[..., 1:]
    plain = downloaded(page, tmp_path)
    errors = [np.abs(rgb2lab(np.asarray(Image.open(plain).convert("RGB")))[..., 1:] - true).mean()]

    def give(name: str) -> None:
        page.set_input_files("#reference input[type=file]", tmp_path / name)

    notes = page.locator("#problems")
    give("postcard.tif")
    expect(notes).to_contain_text("places have colors of postcard.tif", timeout=PATIENCE)
    liked = downloaded(page, tmp_path)
    errors.append(np.abs(rgb2lab(np.asarray(Image.open(liked).convert("RGB")))[..., 1:] - true).mean())
    assert errors[1] < 0.75 * errors[0]

    pipette = page.locator("#pipette img")
    expect(pipette).to_be_visible(timeout=PATIENCE)
    box = pipette.bounding_box()
    assert box is not None
    pipette.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    picker = page.locator("#color input")
    expect(picker).not_to_have_value("#8b1a1a", timeout=PATIENCE)
    there = color_at(Image.fromarray(cat[:, ::-1]), 0.25, 0.5)
    assert color_of(picker.input_value()) == pytest.approx(color_of(there), abs=4)

    page.locator("#like input").uncheck()
    expect(notes).not_to_be_visible(timeout=PATIENCE)
    assert downloaded(page, tmp_path).read_bytes() == plain.read_bytes()
    page.locator("#like input").check()
    page.locator("#reference").get_by_label("Clear").click()
    for name, problem in (
        ("gray.png", "colored without gray.png: the reference picture has no color"),
        ("broken.jpg", "colored without broken.jpg: unreadable"),
    ):
        give(name)
        expect(notes).to_contain_text(problem, timeout=PATIENCE)
        page.locator("#reference").get_by_label("Clear").click()
        expect(notes).not_to_be_visible(timeout=PATIENCE)


def test_likely_colors_begin_with_the_model() -> None:
    colors = likely_colors("#a07850")
    assert colors[0] == "#a07850"
    assert all(len(likely_colors(color)) == 8 for color in ("#808080", "#000000", "white", PALETTE[0]))
    assert len(colors) == len(set(colors)) == 8
    own, more, *nearest = (np.array(color_of(color)) for color in colors)
    assert more == pytest.approx(2 * own, abs=1.5)
    distances = [np.hypot(*(color - own)) for color in nearest]
    assert distances == sorted(distances)
    assert set(colors[2:]) <= set(PALETTE)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (0.5, 0.5), (0.999, 0.001)])
def test_the_color_of_a_place_is_a_mean(x: float, y: float, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    row, column = min(int(y * 40), 39), min(int(x * 60), 59)
    near = pixels[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, 3).mean(0).round().astype(int)
    assert color_at(Image.fromarray(pixels), x, y) == "#{:02x}{:02x}{:02x}".format(*near)
