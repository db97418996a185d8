"""The page, as somebody with a browser meets it: a real server, a real Chromium."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from itertools import pairwise, takewhile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from skimage.color import rgb2lab

from pipeline.coloring.worker import Request, Worker
from pipeline.errors import ColoringError
from pipeline.inference.colorizer import ColoringOptions
from pipeline.page.page import _controls, apart
from tests.helpers import EIGHT_BIT, noisy_photo, save_photo
from tests.page.conftest import PATIENCE, TWOTONE, downloaded, opened, patient_page, send


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def chroma(path: Path) -> float:
    return float(np.hypot(*np.moveaxis(rgb2lab(pixels(path))[..., 1:], 2, 0)).mean())


def test_a_photograph_comes_back_in_color_at_its_size(
    browser: Browser, server: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    save_photo(tmp_path / "street.png", rng, (300, 200))
    asked: list[str] = []
    page = patient_page(browser, accept_downloads=True)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    send(page, tmp_path / "street.png")
    before, after = page.locator("#result img").first, page.locator("#result img").nth(1)
    expect(after).to_be_visible(timeout=PATIENCE)
    expect(before).to_be_visible()
    place = page.locator("#result .slider-wrap").bounding_box()
    assert place is not None
    # The divider has come to the middle: before the pictures are laid out, it is not there to be dragged.
    page.wait_for_function(
        "middle => {const own = document.querySelector('#result [data-testid=slider]')?.getBoundingClientRect();"
        "return own && Math.abs(own.x + own.width / 2 - middle) < 3}",
        arg=place["x"] + place["width"] / 2,
    )
    half = after.get_attribute("style")
    middle = place["y"] + place["height"] / 2
    page.mouse.move(place["x"] + place["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 5, middle, steps=5)
    page.mouse.up()
    expect(after).not_to_have_attribute("style", str(half))
    assert "clip-path" in str(after.get_attribute("style"))
    path = downloaded(page, tmp_path)
    assert path.name == "street-color.png"
    light = [rgb2lab(pixels(place))[..., 0] for place in (tmp_path / "street.png", path)]
    assert light[1].shape == light[0].shape
    assert np.abs(light[1] - light[0]).max() <= EIGHT_BIT
    assert chroma(path) > 5
    elsewhere = [url for url in asked if not url.startswith((server, "data:", "blob:"))]
    assert not elsewhere
    page.context.close()


def test_controls_and_several_colorings(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "photo.png", rng, (90, 120))
    send(page, tmp_path / "photo.png")
    downloaded(page, tmp_path)
    colorings = page.get_by_label("number input for Colorings")
    colorings.fill("3")
    colorings.blur()
    thumbnails = page.locator("#colorings button.thumbnail-item, #colorings .thumbnail-lg")
    expect(thumbnails).to_have_count(3, timeout=PATIENCE)
    first = pixels(downloaded(page, tmp_path))
    thumbnails.nth(2).click()
    expect(page.locator("#result img").nth(1)).to_have_attribute("src", re.compile(r"after-2"), timeout=PATIENCE)
    chosen = downloaded(page, tmp_path)
    assert chosen.name == "photo-color-2.png"
    assert not np.array_equal(first, pixels(chosen))
    saturation = page.get_by_label("number input for Saturation")
    saturation.fill("0")
    saturation.blur()
    expect(page.locator("#result img").nth(1)).to_have_attribute("src", re.compile(r"after-0"), timeout=PATIENCE)
    assert chroma(downloaded(page, tmp_path)) < 0.5


def test_a_bad_upload_gets_a_sentence(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"<html>not found</html>")
    save_photo(tmp_path / "large.png", rng, (1200, 1000))
    save_photo(tmp_path / "good.png", rng, (60, 50))
    for name, sentence in (
        ("broken.jpg", "broken.jpg: unreadable: none of JPEG, PNG"),
        ("large.png", "large.png: too many pixels: "),
    ):
        send(page, tmp_path / name)
        expect(page.get_by_text(sentence)).to_be_visible(timeout=PATIENCE)
        assert "Traceback" not in page.content()
        expect(page.locator("#result img")).to_have_count(0)
        page.locator("#upload").get_by_label("Clear").or_(page.locator("#upload").get_by_label("Remove")).first.click()
    send(page, tmp_path / "good.png")
    assert downloaded(page, tmp_path).name == "good-color.png"


def test_what_a_copy_has_not_is_said(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    """J of the cases: pages that are lost; and a film, which the page does not color."""
    pages = [Image.fromarray(rng.integers(0, 256, (40, 50), dtype=np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "album.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(noisy_photo(rng)).save(tmp_path / "whole.jpg", quality=95)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) * 3 // 4])
    (tmp_path / "walk.mp4").write_bytes(b"a film")
    send(page, *(tmp_path / name for name in ("album.tif", "cut.jpg", "walk.mp4")))
    expect(page.get_by_text("album.tif: 2 further pages could not be taken over")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("cut.jpg: it is cut off: only the first")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("walk.mp4: a film; this page colors photographs")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#status")).to_contain_text("Colored 2 / 3", timeout=PATIENCE)


def test_a_number_beyond_a_slider_is_its_end(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "photo.png", rng, (90, 120))
    send(page, tmp_path / "photo.png")
    first = pixels(downloaded(page, tmp_path))
    saturation = page.get_by_label("number input for Saturation")
    saturation.fill("99")
    saturation.blur()
    expect(page.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    assert page.get_by_text("Error", exact=True).count() == 0
    second = downloaded(page, tmp_path)
    # Twice the chroma, where it fits into sRGB.
    assert chroma(second) > float(np.hypot(*np.moveaxis(rgb2lab(first)[..., 1:], 2, 0)).mean()) + 3


def test_results_are_there_when_the_page_is_loaded_again(page: Page, tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("a.png", "b.png"):
        save_photo(tmp_path / name, rng, (90, 120))
    send(page, tmp_path / "a.png", tmp_path / "b.png")
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    saturation = page.get_by_label("number input for Saturation")
    saturation.fill("0.5")
    saturation.blur()
    page.wait_for_timeout(1000)
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    before = pixels(downloaded(page, tmp_path))
    page.reload()
    expect(page.locator("#status")).to_contain_text("Colored 2 / 2", timeout=PATIENCE)
    expect(page.locator("#photographs .thumbnail-lg")).to_have_count(2, timeout=PATIENCE)
    expect(page.get_by_label("number input for Saturation")).to_have_value("0.5", timeout=PATIENCE)
    assert np.array_equal(pixels(downloaded(page, tmp_path)), before)


def test_each_tab_has_its_own_photographs(page: Page, server: str, tmp_path: Path, rng: np.random.Generator) -> None:
    names = ("a", "b")
    for name in names:
        save_photo(tmp_path / f"{name}.png", rng, (90, 120))
    second = opened(page.context, server)
    for tab, name in ((page, "a"), (second, "b")):
        send(tab, tmp_path / f"{name}.png")
        expect(tab.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
    for tab, name in ((page, "a"), (second, "b")):
        tab.reload()
        expect(tab.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
        assert downloaded(tab, tmp_path).name == f"{name}-color.png"
    third = opened(page.context, server)
    expect(third.locator("#status")).to_contain_text("appear here")
    third.wait_for_timeout(1000)
    expect(third.locator("#status")).to_contain_text("appear here")


def test_pages_elsewhere_send_nothing(server: str) -> None:
    for site in ("cross-site", "same-site"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _upload(server, "x.png", "many bytes", {"Sec-Fetch-Site": site})
    for origin in ("http://pictures.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _upload(server, "x.png", "many bytes", {"Origin": origin})
    assert _upload(server, "x.png", "few", {"Sec-Fetch-Site": "same-origin", "Origin": "null"})
    assert _upload(server, "x.png", "few", {"Origin": server.rstrip("/")})


@pytest.mark.slow
def test_two_at_once(context: BrowserContext, server: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pages = [opened(context, server) for _ in range(2)]
    sizes = [(320, 240), (200, 260)]
    for number, (page, size) in enumerate(zip(pages, sizes, strict=True)):
        save_photo(tmp_path / f"{number}.png", rng, size)
        send(page, tmp_path / f"{number}.png")
    for number, page in enumerate(pages):
        path = downloaded(page, tmp_path)
        assert path.name == f"{number}-color.png"
        assert Image.open(path).size == Image.open(tmp_path / f"{number}.png").size
        page.close()


@pytest.mark.slow
def test_only_this_machine_is_answered(server: str, model: Path) -> None:
    asked = urllib.request.Request(server, headers={"Host": "pictures.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(asked)
    with urllib.request.urlopen(server) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server}gradio_api/file=http://pictures.example/")
    port = server.rsplit(":", 1)[1].strip("/")
    for words, status, sentence in (
        (["--host", "0.0.0.0"], 2, "--host 0.0.0.0 can be reached by other machines"),
        (["--host", "::1"], 2, "--host ::1: addresses of IPv6 are not supported"),
        (["--port", port], 1, f"http://127.0.0.1:{port} cannot be served: the port is taken"),
    ):
        done = subprocess.run(
            [TWOTONE, "serve", "--model", str(model), *words], capture_output=True, encoding="utf-8", timeout=300
        )
        assert done.returncode == status
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def _upload(server: str, name: str, content: str, more: dict[str, str] | None = None) -> str:
    """Send a file past the page, as a program would; returns its path on the server."""
    head = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    body = f"--part\r\n{head}\r\n\r\n{content}\r\n--part--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=part", **(more or {})}
    asked = urllib.request.Request(f"{server}gradio_api/upload", body.encode(), headers)
    with urllib.request.urlopen(asked) as answer:
        (path,) = json.load(answer)
    return str(path)


def test_the_slider_goes_as_far_as_the_model() -> None:
    """gradio refuses what a slider starts with if it lies beyond its end."""
    *_, size = _controls(SimpleNamespace(image_size=1024, noisy=False), dial=None)  # type: ignore[arg-type]
    assert size.preprocess(size.value) == 1024


def test_an_upload_is_no_page(server: str) -> None:
    """HTML that was sent must not run as if it were ours."""
    path = _upload(server, "x.html", "<script>")
    with urllib.request.urlopen(f"{server}gradio_api/file={path}") as answer:
        kind, how = answer.headers["Content-Type"], answer.headers["Content-Disposition"]
    assert "html" not in kind or how.startswith("attachment")


def test_a_wrong_file_sent_to_the_api_gets_a_sentence(server: str) -> None:
    """And no traceback: the server's log is looked at when it has ended, in the fixture."""
    path = _upload(server, "x.txt", "hello")
    data = {
        "data": [
            [{"path": path, "meta": {"_type": "gradio.FileData"}}],
            None,
            None,
            "",
            "",
            *([None] * 3),
            False,
            1,
            1,
            1,
            32,
        ],
        "fn_index": _number_of_coloring(server),
    }
    joined = json.dumps({**data, "session_hash": "api", "trigger_id": 1}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{server}gradio_api/queue/join", joined, headers))
    with urllib.request.urlopen(f"{server}gradio_api/queue/data?session_hash=api", timeout=60) as events:
        lines = [line.decode() for line in takewhile(lambda line: b"process_completed" not in line, events)]
    assert any("x.txt: unreadable: none of JPEG" in line for line in lines)


def _number_of_coloring(server: str) -> int:
    """Find the only event that many changes trigger."""
    with urllib.request.urlopen(f"{server}config", timeout=60) as answer:
        events = json.load(answer)["dependencies"]
    (found,) = [event["id"] for event in events if len(event["targets"]) > 3]
    return int(found)


def test_updates_are_some_time_apart() -> None:
    """Of two within milliseconds the page may lose the first; a browser shows that once in many runs."""
    updates = apart(lambda count: iter(range(count)))
    times = [(update, time.monotonic()) for update in updates(3)]
    assert [update for update, _ in times] == [0, 1, 2]
    assert all(later - earlier > 0.2 for (_, earlier), (_, later) in pairwise(times))


def test_what_takes_too_long_is_stopped(model: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "photo.png", rng, (60, 50))
    (tmp_path / "out").mkdir()
    request = Request(tmp_path / "photo.png", tmp_path / "out", ColoringOptions(32))
    hurried = Worker(model, 10**6, seconds=0.01)
    for _ in range(2):
        with pytest.raises(ColoringError, match=r"photo.png: not done after 0.01 seconds; a smaller render size"):
            hurried.color(request)
    hurried.close()
    patient = Worker(model, 10**6, seconds=60)
    assert patient.color(request).full == (tmp_path / "out/photo-color.png",)
    patient.close()
