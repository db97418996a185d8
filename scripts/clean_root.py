"""Run the steps of the Dockerfile in an empty Debian, where no builder of images is installed.

    python scripts/clean_root.py FOLDER TORCH_BACKEND

FOLDER is a root that `debootstrap --variant=minbase bookworm FOLDER` has made. Then
`chroot FOLDER env -C /twotone ENTRYPOINT...` runs what the image would.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def instructions(text: str) -> list[tuple[str, str]]:
    """(word, rest) of each instruction, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def build(root: Path, arguments: dict[str, str]) -> dict[str, str]:
    """Run each instruction in a root; its environment in the end.

    Raises:
        subprocess.CalledProcessError: a step failed.
        ValueError: the Dockerfile has an instruction that this knows nothing of.
    """
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    certificates = os.environ.get("SSL_CERT_FILE")
    if certificates:
        # Those that this machine trusts, as behind a proxy.
        shutil.copy(certificates, root / "etc/certificates.crt")
        environment |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), "/etc/certificates.crt")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shell, place = ["/bin/sh", "-c"], "/"
    for word, rest in instructions((PROJECT / "Dockerfile").read_text(encoding="utf-8")):
        print(f"{word} {rest}", flush=True)
        if word == "ARG":
            name, _, default = rest.partition("=")
            environment[name] = arguments.get(name, default)
        elif word == "ENV":
            for pair in rest.split():
                name, _, value = pair.partition("=")
                environment[name] = value.replace("$PATH", environment["PATH"])
        elif word == "SHELL":
            shell = json.loads(rest)
        elif word == "WORKDIR":
            place = rest
        elif word == "COPY":
            copy(root / rest.split()[1].lstrip("/"))
        elif word == "RUN":
            command = ["chroot", str(root), "env", "-i", "-C", place]
            command += [f"{name}={value}" for name, value in environment.items()]
            subprocess.run([*command, *shell, rest], check=True)
        elif word not in ("FROM", "ENTRYPOINT", "CMD"):
            raise ValueError(f"Dockerfile: {word} is not known here")
    return environment


def copy(place: Path) -> None:
    """Copy the project's files without those of .dockerignore."""
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = {line for line in lines if line and not line.startswith("#")}

    def left_out(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(PROJECT)
        return {name for name in names if ignored & {f"**/{name}", (inside / name).as_posix()}}

    shutil.copytree(PROJECT, place, ignore=left_out, dirs_exist_ok=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), {"TORCH_BACKEND": sys.argv[2]} if len(sys.argv) > 2 else {})
