"""Make docs/page.jpg: the page with a photograph of docs/historic, half of it in color, and colors that were said.

python scripts/make_page.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from make_hints import AMERICA, HINTS, ROOT
from playwright.sync_api import Page, expect, sync_playwright

NAME = "nipomo-1936.jpg"
PORT = 7921
PATIENCE = 60_000


def main() -> None:
    command = [str(Path(sys.executable).with_name("twotone")), "serve", "--port", str(PORT)]
    words = ["--model", str(ROOT / "checkpoints/starter")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*command, *words], text=True, **pipes) as server:
        assert server.stdout is not None
        server.stdout.readline(), server.stdout.readline()  # the model, and then the address
        try:
            with sync_playwright() as playwright:
                found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1000, "height": 800}, locale="en")
                color(page)
                end = page.locator("#hints").bounding_box()
                assert end is not None
                shown = {"x": 0.0, "y": 0.0, "width": 1000.0, "height": end["y"] + end["height"] + 20}
                page.screenshot(path=ROOT / "docs/page.jpg", type="jpeg", quality=82, full_page=True, clip=shown)
                browser.close()
        finally:
            server.terminate()


def color(page: Page) -> None:
    """Send the photograph, and say its colors."""
    page.goto(f"http://127.0.0.1:{PORT}/")
    page.locator("#upload input[type=file]").wait_for(state="attached")
    page.set_input_files("#upload input[type=file]", AMERICA / NAME)
    expect(page.locator("#status")).to_contain_text("Colored 1 / 1", timeout=PATIENCE)
    page.get_by_role("button", name="Say a color").click()
    expect(page.locator("#place img")).to_be_visible(timeout=PATIENCE)
    colored = page.locator("#result img").nth(1)
    before = str(colored.get_attribute("src"))
    page.locator("#hints textarea").fill("\n".join(f"{one.x} {one.y} {one.color} {one.radius}" for one in HINTS[NAME]))
    expect(colored).not_to_have_attribute("src", before, timeout=PATIENCE)
    page.wait_for_timeout(3000)  # the marks are drawn, and buttons have faded in


if __name__ == "__main__":
    main()
