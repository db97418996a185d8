"""The page with several photographs, by keyboard, in other languages and on a phone."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from skimage.color import rgb2lab

from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.page.texts import ENGLISH, LANGUAGES
from tests.helpers import EIGHT_BIT, save_photo
from tests.page.conftest import PATIENCE, downloaded, patient_page, send

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# gradio's button that adds files to a list holds a second one.
OURS = {"exclude": [["#upload .icon-button-wrapper"]]}
# A button that has just become enabled fades in, and between the two colors it has a contrast of neither.
FADED_IN = "() => document.getAnimations().every((one) => !(one instanceof CSSTransition))"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_several_photographs_and_their_zip(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    streets = [tmp_path / "one/street.png", tmp_path / "two/street.png"]
    save_photo(streets[0], rng, (90, 120))
    save_photo(streets[1], rng, (70, 50))
    (tmp_path / "broken.jpg").write_bytes(b"<html>not found</html>")
    save_photo(tmp_path / "large.png", rng, (1200, 1000))
    send(page, streets[0], tmp_path / "broken.jpg", tmp_path / "large.png", streets[1])
    expect(page.locator("#status")).to_contain_text("Colored 2 / 4", timeout=PATIENCE)
    problems = page.locator("#problems [role=alert] li")
    expect(problems).to_have_text([re.compile("broken.jpg: unreadable"), re.compile("large.png: too many pixels")])

    archive = zipfile.ZipFile(downloaded(page, tmp_path, "#archive"))
    assert archive.namelist() == ["street-color.png", "street-color-2.png"]
    archive.extractall(tmp_path / "out")
    for source, name in zip(streets, archive.namelist(), strict=True):
        light = [rgb2lab(pixels(path)) for path in (source, tmp_path / "out" / name)]
        assert np.abs(light[1] - light[0])[..., 0].max() <= EIGHT_BIT
        assert np.abs(light[1] - light[0])[..., 1:].max() > 5

    second = page.locator("#photographs").get_by_role("button", name="Thumbnail 2 of 2")
    second.focus()
    page.keyboard.press("Enter")
    shown = page.locator("#result img").nth(1)
    expect(shown).to_have_js_property("naturalWidth", Image.open(streets[1]).width, timeout=PATIENCE)
    assert np.array_equal(pixels(downloaded(page, tmp_path)), pixels(tmp_path / "out/street-color-2.png"))

    page.get_by_label("Remove this file").first.click()
    expect(page.locator("#status")).to_contain_text("Colored 1 / 3", timeout=PATIENCE)
    expect(page.locator("#photographs")).to_have_count(0)
    assert np.array_equal(pixels(downloaded(page, tmp_path)), pixels(tmp_path / "out/street-color-2.png"))


@pytest.mark.slow
def test_dial_and_saturation_need_no_other_upload(
    page: Page, dial_model: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    photo = tmp_path / "photo.png"
    save_photo(photo, rng, (90, 120))
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url) if "/upload?" in request.url else None)
    send(page, photo)
    size = Colorizer.load(dial_model).image_size
    for label, key, vivid, saturation in (("Vivid", "", 1, 1), ("Vivid", "Home", 0, 1), ("Saturation", "End", 0, 2)):
        before = page.locator("#result img").nth(1)
        if key:
            old = str(before.get_attribute("src"))
            page.get_by_label(f"range slider for {label}").focus()
            page.keyboard.press(key)
            expect(before).not_to_have_attribute("src", old, timeout=PATIENCE)
        options = ColoringOptions(size, seed=0, saturation=saturation)
        expected = Colorizer.load(dial_model, vivid).color(pixels(photo), options)
        assert np.abs(pixels(downloaded(page, tmp_path)).astype(int) - expected).max() <= 1
    assert len(uploads) == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    browser: Browser, server: str, scheme: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    page = patient_page(browser, color_scheme=scheme)
    page.goto(server)
    page.locator("#upload input[type=file]").wait_for(state="attached")
    assert not violations(page)
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for photo in photos:
        save_photo(photo, rng, (90, 120))
    (tmp_path / "broken.jpg").write_bytes(b"<html>not found</html>")
    send(page, *photos, tmp_path / "broken.jpg")
    expect(page.locator("#status")).to_contain_text("Colored 2 / 3", timeout=PATIENCE)
    expect(page.locator("#archive")).to_be_enabled(timeout=PATIENCE)
    assert not violations(page, OURS)
    page.get_by_role("button", name="Say a color").click()
    expect(page.locator("#place img")).to_be_visible(timeout=PATIENCE)
    page.locator("#hints textarea").fill("25% 50% #c05050\n1 2 brick")
    expect(page.locator("#hint-problem [role=alert]")).to_contain_text("brick", timeout=PATIENCE)
    expect(page.locator("#save-hints")).to_be_enabled(timeout=PATIENCE)
    page.set_input_files("#reference input[type=file]", tmp_path / "a.png")
    expect(page.locator("#pipette img")).to_be_visible(timeout=PATIENCE)
    page.locator("#place img").click()
    expect(page.locator("#likely button").first).to_be_visible(timeout=PATIENCE)
    assert not violations(page, OURS)
    page.context.close()


def violations(page: Page, where: dict[str, list[list[str]]] | None = None) -> str:
    """What axe finds each time of five, as text: an answer that comes in between may start a button's fading anew."""
    for _ in range(5):
        page.wait_for_function(FADED_IN)
        found = Axe().run(page, where, RULES)
        if not found.response["violations"]:
            return ""
        page.wait_for_timeout(1000)
    return str(found.generate_report())


@pytest.mark.slow
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_each_language_on_a_phone(
    browser: Browser, server: str, language: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    texts = LANGUAGES[language]
    assert texts.keys() == ENGLISH.keys()
    phone = {"width": 390, "height": 844}
    page = patient_page(browser, locale=language, viewport=phone, is_mobile=True, has_touch=True)
    page.goto(server)
    expect(page.locator("html")).to_have_attribute("lang", language, timeout=PATIENCE)
    expect(page.locator("#status")).to_have_text(texts["waiting"], timeout=PATIENCE)
    for key in ("intro", "photographs", "saturation", "saturation_info", "vivid", "size_info", "download"):
        expect(page.get_by_text(texts[key], exact=True).first).to_be_visible(timeout=PATIENCE)
    save_photo(tmp_path / "photo.png", rng, (120, 900))
    send(page, tmp_path / "photo.png")
    expect(page.locator("#status")).to_have_text(f"{texts['colored']} 1 / 1", timeout=PATIENCE)
    expect(page.get_by_text(texts["divider_info"], exact=True)).to_be_visible()
    page.get_by_role("button", name=texts["say"]).click()
    for key in (
        "place",
        "color",
        "hints",
        "hints_info",
        "undo",
        "redo",
        "clear",
        "save_hints",
        "load_hints",
        "reference",
    ):
        expect(page.get_by_text(texts[key], exact=True).first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") == phone["width"]
    page.context.close()


@pytest.mark.slow
def test_the_divider_moves_by_keyboard(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "photo.png", rng, (90, 120))
    send(page, tmp_path / "photo.png")
    after = page.locator("#result img").nth(1)
    expect(after).to_have_attribute("style", re.compile("clip-path"), timeout=PATIENCE)
    half = str(after.get_attribute("style"))
    page.get_by_label("range slider for Divider").focus()
    page.keyboard.press("Home")
    expect(after).not_to_have_attribute("style", half, timeout=PATIENCE)
