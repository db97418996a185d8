"""`twotone serve`: the server of the web page that colors photographs. Needs the extra `serve`."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.coloring.model_choice import choose_model, label
from pipeline.coloring.worker import Worker
from pipeline.errors import InputError, PageError
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.networks import dial_of
from pipeline.page.page import CLEAN_SECONDS, KEEP_SECONDS, build_page, looks
from pipeline.system import stop_signals

_WAITING = 20
# Photographs of several people are colored in turns, by one process.
_AT_ONCE = 8
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


def serve(model: Path | None, address: Address, limits: Limits, open_browser: bool, device: str = "auto") -> None:
    """Serve the page until the process is interrupted.

    Args:
        model: None to choose one of checkpoints/.
        device: what the network computes on: see inference/devices.py.

    Raises:
        InputError: the address cannot be used as asked.
        ModelError: there is no model.
        PageError: the port is taken, or the address belongs to another machine.
    """
    _require_usable(address)
    path = choose_model(model)
    colorizer = Colorizer.load(path, device=device)
    if colorizer.note:
        print(f"note: {colorizer.note}", file=sys.stderr)
    worker = Worker(path, limits.pixels, limits.seconds, device)
    stop = threading.Event()
    for number in stop_signals("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory(prefix="twotone-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = f"{folder}/gradio"
            results = Path(folder) / "results"
            results.mkdir()
            page = build_page(colorizer, worker, results, dial=dial_of(path))
            url = _launch(page, address, limits, results, open_browser)
            threading.Thread(target=_clean, args=(Path(folder), stop), daemon=True).start()
            print(
                f"{url} colors photographs with model {label(path)}: open it in a browser; Ctrl-C ends it", flush=True
            )
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


def _launch(page: Any, address: Address, limits: Limits, results: Path, open_browser: bool) -> str:
    """Start the server in a thread of its own; returns its URL."""
    middleware = [Middleware(_SameOriginOnly)]
    if is_loopback(address.host):
        # Without this, a page elsewhere could point a name of its own at this machine and read photographs.
        hosts = ["localhost", "127.0.0.1", "[::1]", address.host]
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=hosts))
    page.queue(max_size=_WAITING, default_concurrency_limit=_AT_ONCE, api_open=False)
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
            **looks(),
        )
    except (OSError, ValueError):
        raise PageError(
            f"http://{address.host}:{address.port} cannot be served: the port is taken, or the address belongs to "
            "another machine; choose another --port or --host"
        ) from None
    return str(url)


def _clean(folder: Path, ended: threading.Event) -> None:
    """Delete files that are older than an hour, also those of broken sessions and uploads."""
    while not ended.wait(CLEAN_SECONDS):
        for path in folder.rglob("*"):
            with suppress(OSError):
                if path.is_file() and time.time() - path.stat().st_mtime > KEEP_SECONDS:
                    path.unlink()


class _SameOriginOnly:
    """Tells the browser to load nothing from elsewhere, fetches nothing from there, and takes nothing from there."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        # gradio would fetch such an address for anybody, and pass it on as its own. And any page that somebody looks at
        # could send files here, which needs nobody's leave.
        if scope["type"] == "http" and (_FETCHES.search(scope["path"]) or _is_foreign(scope)):
            await PlainTextResponse("not here", 403)(scope, receive, send)
            return

        await self._app(scope, receive, with_policy)


def _is_foreign(scope: Scope) -> bool:
    """Whether a page of another site or port sends something; programs name none.

    Browsers say it to https and to their own machine, and to others the page's origin alone.
    """
    if scope["method"] in ("GET", "HEAD"):
        return False
    headers = dict(scope["headers"])
    said, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if said is not None:
        return said not in (b"same-origin", b"none")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")
