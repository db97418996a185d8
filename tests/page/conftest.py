"""A real server with a real model, and a real Chromium, for the tests of the page."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import MakeModel, tuned_pair

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
TWOTONE = str(Path(sys.executable).with_name("twotone"))
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def dial_model(make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything that the page has a control for."""
    return tuned_pair(make_model(noise="input"), tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="package")
def server(dial_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--port", str(port), "--model", str(dial_model), "--max-pixels", "1000000", "--time-limit", "300"]
    # Its own, since other tests serve pages at the same time.
    temporary = tmp_path_factory.mktemp("served")
    env = {**os.environ, "TMPDIR": str(temporary)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([TWOTONE, *words], env=env, **pipes) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("model ")
            line = process.stdout.readline()
            assert line.startswith(f"http://127.0.0.1:{port}/ colors photographs with model"), line
            yield line.split()[0]
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[0]
    assert said == "", "an error, a traceback, or gradio's word about the keyboard"
    assert not list(temporary.glob("twotone-*")), "photographs were left behind"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for a module: the second page that it opens has gradio's scripts already."""
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: str) -> Iterator[Page]:
    page = opened(context, server)
    yield page
    for tab in context.pages:
        tab.close()


def patient_page(browser: Browser, **options: Any) -> Page:
    """options: of the browser's context, such as a color scheme."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE)
    return page


def opened(context: BrowserContext, server: str) -> Page:
    page = context.new_page()
    page.goto(server)
    page.locator("#upload input[type=file]").wait_for(state="attached")
    return page


def send(page: Page, *paths: Path) -> None:
    page.set_input_files("#upload input[type=file]", list(paths))


def downloaded(page: Page, folder: Path, button: str = "#download") -> Path:
    expect(page.locator(button)).to_be_enabled(timeout=PATIENCE)
    with page.expect_download() as download:
        page.locator(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
