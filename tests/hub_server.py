"""A hub on loopback that stores what `hf upload` sends, and gives it to `hf download`.

`python tests/hub_server.py FOLDER` writes its address to FOLDER/address. It knows the few requests of
https://huggingface.co/docs/hub/api that these two make.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILES: dict[str, bytes] = {}
COMMIT = "0123456789" * 4


class Hub(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/repos/create"):
            self._answer({"url": f"http://{self.headers['Host']}/user/colorizer", "id": "user/colorizer"})
        elif self.path.endswith("/validate-yaml"):
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            self._answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    FILES[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/user/colorizer/commit/{COMMIT}"
            self._answer({"success": True, "commitUrl": url, "commitOid": COMMIT})
        else:
            self._answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        found = re.fullmatch(r"/user/colorizer/resolve/[^/]+/(.+?)(\?.*)?", self.path)
        if found and found[1] in FILES:
            self._send(FILES[found[1]], 200, {"ETag": f'"{hashlib.sha256(FILES[found[1]]).hexdigest()}"'})
        elif "/tree/" in self.path:
            self._answer([{"type": "file", "path": name, "size": len(FILES[name]), "oid": ""} for name in FILES])
        elif self.path.startswith("/api/models/user/colorizer"):
            self._answer({"id": "user/colorizer", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]})
        else:
            self._answer({"error": self.path}, 404)

    do_HEAD = do_GET  # noqa: N815 (the name that the standard library looks for)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    folder = Path(sys.argv[1])
    (folder / "writing").write_text(f"http://127.0.0.1:{server.server_port}", encoding="utf-8")
    (folder / "writing").rename(folder / "address")
    server.serve_forever()
