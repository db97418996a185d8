"""An S3-compatible server on loopback, moto's, whose uploads can be made to fail or to stop from some moment on.

`python tests/s3_server.py FOLDER` writes its address to FOLDER/address. FOLDER/fault holds a number and a word: so many
uploads are stored, and those after them are refused as by a bucket whose key has expired (`6 refuse`), or wait for as
long as the file is there (`6 hold`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

# As S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class Faulty:
    """A WSGI application: moto's, with the fault that the file asks for."""

    def __init__(self, app: Any, folder: Path):
        self._app, self._fault, self._stored = app, folder / "fault", 0
        self._counting = Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not self._fault.exists():
            self._stored = 0
        elif environ["REQUEST_METHOD"] == "PUT":
            limit, fault = self._fault.read_text(encoding="utf-8").split()
            with self._counting:
                full = self._stored >= int(limit)
                self._stored += not full
            if full:
                if fault == "refuse":
                    start_response("403 Forbidden", [("Content-Type", "application/xml")])
                    return [EXPIRED]
                while self._fault.exists():
                    time.sleep(0.05)
        return self._app(environ, start_response)  # type: ignore[no-any-return]


def serve(folder: Path) -> None:
    app = Faulty(DomainDispatcherApplication(create_backend_app), folder)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    (folder / "writing").write_text(f"http://127.0.0.1:{server.server_port}", encoding="utf-8")
    (folder / "writing").rename(folder / "address")
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
