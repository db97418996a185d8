"""`twotone serve`: the web page that colors photographs. Needs the extra `serve`."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when gradio is imported: nothing is counted, nothing is asked for.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.apps.model_choice import choose_model
from pipeline.apps.worker import Request, Result, Worker
from pipeline.errors import ColoringError, InputError, PageError
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.networks import has_dial
from pipeline.media.decoding import SUFFIXES

_MOST_VARIANTS = 6
# Photographs are private: every ten minutes, all that is older than an hour is deleted.
_KEEP_SECONDS, _CLEAN_SECONDS = 3600, 600
_LARGEST_RENDER = 512
_WAITING = 20
# The page loads nothing from elsewhere, whatever a dependency puts into it.
_HEADERS = [
    (b"content-security-policy", b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"),
    (b"x-content-type-options", b"nosniff"),
]
_FETCHES = re.compile(r"(file|proxy)=\s*[a-z]+:", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    allow_remote: bool


@dataclass(frozen=True)
class Limits:
    """What one photograph may cost."""

    pixels: int
    bytes: int
    seconds: float


def serve(model: Path | None, address: Address, limits: Limits, open_browser: bool) -> None:
    """Serve the page until the process is interrupted.

    Args:
        model: None to choose one of checkpoints/.

    Raises:
        InputError: the address cannot be used as asked.
        ModelError: there is no model.
        PageError: the port is taken, or the address belongs to another machine.
    """
    _require_usable(address)
    path = choose_model(model)
    colorizer = Colorizer.load(path)
    worker = Worker(path, limits.pixels, limits.seconds)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory(prefix="twotone-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = f"{folder}/gradio"
            results = Path(folder) / "results"
            results.mkdir()
            page = build_page(colorizer, worker, results, dial=has_dial(path))
            url = _launch(page, address, limits, results, open_browser)
            threading.Thread(target=_clean, args=(Path(folder), stop), daemon=True).start()
            print(f"{url} colors photographs with {path}; Ctrl-C ends it", flush=True)
            try:
                stop.wait()
            finally:
                page.close(verbose=False)
    finally:
        worker.close()


def _require_usable(address: Address) -> None:
    if ":" in address.host:
        raise InputError(f"--host {address.host}: addresses of IPv6 are not supported; 127.0.0.1 is this machine")
    if not address.allow_remote and not is_loopback(address.host):
        raise InputError(
            f"--host {address.host} can be reached by other machines, and the page asks nobody for a password; "
            "add --allow-remote if that is meant"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _launch(page: gr.Blocks, address: Address, limits: Limits, results: Path, open_browser: bool) -> str:
    """Start the server in a thread of its own; returns its URL."""
    middleware = [Middleware(_SameOriginOnly)]
    if is_loopback(address.host):
        # Without this, a page elsewhere could point a name of its own at this machine and read photographs.
        hosts = ["localhost", "127.0.0.1", "[::1]", address.host]
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=hosts))
    page.queue(max_size=_WAITING, default_concurrency_limit=2, api_open=False)
    try:
        _, url, _ = page.launch(
            server_name=address.host,
            server_port=address.port,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            footer_links=[],
            allowed_paths=[str(results)],
            max_file_size=limits.bytes,
            ssr_mode=False,
            enable_monitoring=False,
            app_kwargs={"middleware": middleware},
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        )
    except (OSError, ValueError):
        raise PageError(
            f"http://{address.host}:{address.port} cannot be served: the port is taken, or the address belongs to "
            "another machine; choose another --port or --host"
        ) from None
    return str(url)


def build_page(colorizer: Colorizer, worker: Worker, folder: Path, *, dial: bool = False) -> gr.Blocks:
    """The page: an upload, before and after under one slider, the controls, and the download.

    Args:
        folder: for the results.
        dial: whether the model has one from faithful to vivid.
    """
    with gr.Blocks(analytics_enabled=False, title="Twotone", delete_cache=(_CLEAN_SECONDS, _KEEP_SECONDS)) as page:
        gr.Markdown("# Twotone\nDrop a photograph, and see it in color. What was sent is deleted after an hour.")
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.File(label="Photograph", file_types=sorted(SUFFIXES), elem_id="photograph")
                photo.preprocess = _without_traceback(photo.preprocess)
                render = gr.Slider(32, _LARGEST_RENDER, colorizer.image_size, step=32, label="Render size",
                                   info="What the network sees, pixels: larger finds smaller things.")  # fmt: skip
                saturation = gr.Slider(0, 2, 1, step=0.05, label="Saturation", info="0 is gray.")
                vivid = gr.Slider(0, 1, 1, step=0.05, label="Vivid", visible=dial,
                                  info="0 is careful, 1 is colorful.")  # fmt: skip
                variants = gr.Slider(1, _MOST_VARIANTS, 1, step=1, label="Colorings", visible=colorizer.noisy,
                                    info="This model has several answers.")  # fmt: skip
            with gr.Column(scale=3):
                slider = gr.ImageSlider(label="Before and after", type="filepath", elem_id="result", max_height=700,
                                       interactive=False, buttons=["fullscreen"])  # fmt: skip
                gallery = gr.Gallery(label="Colorings: choose one", columns=_MOST_VARIANTS, height=160, visible=False,
                                     allow_preview=False, buttons=[], elem_id="colorings")  # fmt: skip
                download = gr.DownloadButton("Download at the original size", interactive=False, elem_id="download")
        result = gr.State(None, time_to_live=_KEEP_SECONDS, delete_callback=_delete)
        outputs = [slider, gallery, download, result]
        inputs = [photo, result, render, saturation, vivid, variants]

        def color(path: str | None, earlier: Result | None, *controls: float) -> list[Any]:
            if path is None:
                return _blank(earlier)
            size, chroma, share, count = controls
            work = Path(tempfile.mkdtemp(dir=folder))
            try:
                coloring = ColoringOptions(int(size), seed=0, saturation=chroma)
                colored = worker.color(Request(Path(path), work, coloring, int(count), share if dial else None))
            except ColoringError as error:
                shutil.rmtree(work, ignore_errors=True)
                raise gr.Error(str(error), duration=None, print_exception=False) from None
            _delete(earlier)
            return _view(colored)

        photo.upload(_blank, result, outputs, show_progress="hidden").then(color, inputs, outputs)
        photo.clear(_blank, result, outputs)
        for control in (render, saturation, vivid, variants):
            # By mouse, keyboard or number; of several changes made while it is busy, the last counts.
            control.change(color, inputs, outputs, trigger_mode="always_last")
        gallery.select(_choose, result, [slider, download])
    return page


def _without_traceback(preprocess: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """gradio writes a traceback into the log when somebody sends another type of file."""

    def quiet(payload: Any) -> Any:
        try:
            return preprocess(payload)
        except gr.Error as error:
            raise gr.Error(error.message, print_exception=False) from None

    return quiet


def _view(result: Result) -> list[Any]:
    several = len(result.after) > 1
    return [
        gr.ImageSlider((str(result.before), str(result.after[0]))),
        gr.Gallery([str(path) for path in result.after] if several else None, visible=several),
        gr.DownloadButton(value=str(result.full[0]), interactive=True),
        result,
    ]


def _blank(earlier: Result | None) -> list[Any]:
    _delete(earlier)
    return [
        gr.ImageSlider(None),
        gr.Gallery(None, visible=False),
        gr.DownloadButton(value=None, interactive=False),
        None,
    ]


def _choose(result: Result | None, event: gr.SelectData) -> list[Any]:
    number = int(event.index)
    if result is None or number not in range(len(result.after)):
        raise gr.Error("That coloring has been deleted; send the photograph again.", print_exception=False)
    return [
        gr.ImageSlider((str(result.before), str(result.after[number]))),
        gr.DownloadButton(value=str(result.full[number]), interactive=True),
    ]


def _delete(result: Result | None) -> None:
    if result is not None:
        shutil.rmtree(result.before.parent, ignore_errors=True)


def _clean(folder: Path, ended: threading.Event) -> None:
    """Delete files that are older than an hour, also those of broken sessions and uploads."""
    while not ended.wait(_CLEAN_SECONDS):
        for path in folder.rglob("*"):
            with suppress(OSError):
                if path.is_file() and time.time() - path.stat().st_mtime > _KEEP_SECONDS:
                    path.unlink()


class _SameOriginOnly:
    """Tells the browser to load nothing from elsewhere, and refuses to fetch anything from there."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        # gradio would fetch such an address for anybody, and pass it on as its own.
        if scope["type"] == "http" and _FETCHES.search(scope["path"]):
            await PlainTextResponse("not here", 403)(scope, receive, send)
            return

        await self._app(scope, receive, with_policy)
