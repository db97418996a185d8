"""The web page of `twotone serve`. The extra twotone[serve]."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
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

from pipeline.inference.worker import Request, Result, Worker, WorkError

_ENDINGS = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"]
_MOST_SAMPLES = 6
# Photographs are private: what was sent and made is deleted after an hour, looked at every ten minutes.
_KEEP_SECONDS, _LOOK_SECONDS = 3600, 600
_LARGEST_RENDER = 512
_WAITING = 20
# Whatever a dependency puts into the page: it loads from here, and from nowhere else.
_HEADERS = [
    (b"content-security-policy", b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"),
    (b"x-content-type-options", b"nosniff"),
]
_FETCHES = re.compile(r"(file|proxy)=\s*[a-z]+:", re.IGNORECASE)


class ServeError(Exception):
    """The page cannot be served; the message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """What the page says of a model."""

    path: Path
    image_size: int
    noisy: bool


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve(
    model: Model, worker: Worker, host: str, port: int, *, max_bytes: int, browser: bool, started: Callable[[str], None]
) -> None:
    """Serve the page until the process is interrupted; `started` is called with its address.

    Raises:
        ServeError: the port is taken, or the address is not this machine's.
    """
    middleware = [Middleware(_ThisPageAlone)]
    if is_loopback(host):
        # A page elsewhere whose name was made to point here must not read photographs.
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", host]))
    with tempfile.TemporaryDirectory(prefix="twotone-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = f"{folder}/gradio"
        results = Path(folder) / "results"
        results.mkdir()
        page = build(model, worker, results)
        page.queue(max_size=_WAITING, default_concurrency_limit=2, api_open=False)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                prevent_thread_lock=True,
                share=False,
                quiet=True,
                footer_links=[],
                allowed_paths=[str(results)],
                max_file_size=max_bytes,
                ssr_mode=False,
                enable_monitoring=False,
                app_kwargs={"middleware": middleware},
                theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            )
        except (OSError, ValueError):
            raise ServeError(
                f"http://{host}:{port} cannot be served: the port is taken, or the address is not this machine's; "
                "choose another --port or --host"
            ) from None
        ended = threading.Event()
        threading.Thread(target=_tidy, args=(Path(folder), ended), daemon=True).start()
        started(address)
        try:
            page.block_thread()
        finally:
            ended.set()
            page.close(verbose=False)
            worker.close()


def build(model: Model, worker: Worker, folder: Path) -> gr.Blocks:
    """The page: a photograph in; before and after under one slider, the controls, and the download."""
    with gr.Blocks(analytics_enabled=False, title="Twotone", delete_cache=(_LOOK_SECONDS, _KEEP_SECONDS)) as page:
        gr.Markdown("# Twotone\nDrop a photograph, and see it in color. What was sent is deleted after an hour.")
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.File(label="Photograph", file_types=_ENDINGS, elem_id="photograph")
                render = gr.Slider(32, _LARGEST_RENDER, model.image_size, step=32, label="Render size",
                                   info="What the network sees, pixels: larger finds smaller things.")  # fmt: skip
                saturation = gr.Slider(0, 2, 1, step=0.05, label="Saturation", info="0 is gray.")
                samples = gr.Slider(1, _MOST_SAMPLES, 1, step=1, label="Colorings", visible=model.noisy,
                                    info="This model has several answers.")  # fmt: skip
            with gr.Column(scale=3):
                shown = gr.ImageSlider(label="Before and after", type="filepath", elem_id="result", max_height=700,
                                       interactive=False, buttons=["fullscreen"])  # fmt: skip
                gallery = gr.Gallery(label="Colorings: choose one", columns=_MOST_SAMPLES, height=160, visible=False,
                                     allow_preview=False, buttons=[], elem_id="colorings")  # fmt: skip
                download = gr.DownloadButton("Download at the original size", interactive=False, elem_id="download")
        kept = gr.State(None, time_to_live=_KEEP_SECONDS, delete_callback=_forget)
        outputs = [shown, gallery, download, kept]
        inputs = [photo, render, saturation, samples, kept]

        def color(path: str | None, size: float, chroma: float, count: float, earlier: Result | None) -> list[Any]:
            if path is None:
                return _blank(earlier)
            own = Path(tempfile.mkdtemp(dir=folder))
            try:
                request = Request(Path(path), own, int(size), tuple(range(int(count))), chroma)
                result = worker.color(request)
            except WorkError as error:
                shutil.rmtree(own, ignore_errors=True)
                raise gr.Error(str(error), duration=None, print_exception=False) from None
            _forget(earlier)
            return _view(result)

        photo.upload(_blank, kept, outputs, show_progress="hidden").then(color, inputs, outputs)
        photo.clear(_blank, kept, outputs)
        for control in (render, saturation, samples):
            # By mouse, keyboard or number; of what is asked for in the meantime, the last.
            control.change(color, inputs, outputs, trigger_mode="always_last")
        gallery.select(_chosen, kept, [shown, download])
    return page


def _view(result: Result) -> list[Any]:
    several = len(result.after) > 1
    return [
        gr.ImageSlider((str(result.before), str(result.after[0]))),
        gr.Gallery([str(path) for path in result.after] if several else None, visible=several),
        gr.DownloadButton(value=str(result.full[0]), interactive=True),
        result,
    ]


def _blank(earlier: Result | None) -> list[Any]:
    _forget(earlier)
    return [
        gr.ImageSlider(None),
        gr.Gallery(None, visible=False),
        gr.DownloadButton(value=None, interactive=False),
        None,
    ]


def _chosen(result: Result | None, event: gr.SelectData) -> list[Any]:
    number = int(event.index)
    if result is None or number not in range(len(result.after)):
        raise gr.Error("That coloring is no longer here; send the photograph again.", print_exception=False)
    return [
        gr.ImageSlider((str(result.before), str(result.after[number]))),
        gr.DownloadButton(value=str(result.full[number]), interactive=True),
    ]


def _forget(result: Result | None) -> None:
    if result is not None:
        shutil.rmtree(result.before.parent, ignore_errors=True)


def _tidy(folder: Path, ended: threading.Event) -> None:
    """Delete what has lain for an hour, whoever made it: sessions that ended badly, uploads that broke off."""
    while not ended.wait(_LOOK_SECONDS):
        for path in folder.rglob("*"):
            with suppress(OSError):
                if path.is_file() and time.time() - path.stat().st_mtime > _KEEP_SECONDS:
                    path.unlink()


class _ThisPageAlone:
    """Tells the browser to load nothing from elsewhere, and fetches nothing from there itself."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        # gradio would fetch such an address for whoever asks, and hand it on as its own.
        if scope["type"] == "http" and _FETCHES.search(scope["path"]):
            await PlainTextResponse("not here", 403)(scope, receive, send)
            return

        await self._app(scope, receive, with_policy)
