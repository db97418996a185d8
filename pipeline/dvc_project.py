"""All that the package asks of DVC: what dvc.lock records, how `-S` changes parameters, and experiments."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import translate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

# DVC is run, not imported: its import takes longer than most of what asks here.
_LAY_OVER = """
import sys
from dvc.utils.hydra import apply_overrides
try:
    apply_overrides(sys.argv[1], sys.argv[2:])
except Exception as error:
    sys.exit(str(error.__cause__ or error))
"""
# base.seed=1,2 means two experiments.
_SPREAD = """
import json, sys
from dvc.utils.hydra import get_hydra_sweeps
try:
    print(json.dumps([sweep["p"] for sweep in get_hydra_sweeps({"p": sys.argv[1:]})]))
except Exception:
    print(json.dumps([sys.argv[1:]]))
"""


# How fsspec's S3 calls what a remote of DVC has.
_FSSPEC = {
    "endpointurl": "endpoint_url",
    "profile": "profile",
    "access_key_id": "key",
    "secret_access_key": "secret",
    "session_token": "token",
}


def stale(name: str, stages: tuple[str, ...], project: Path) -> str:
    """Say why dvc.lock says that a model is not of today's stages; "" where it does not.

    Args:
        name: of the stage that publishes the model.
        stages: it and those that it may come from.
        project: the folder with dvc.lock and checkpoints/.
    """
    try:
        lock: Any = YAML(typ="safe").load((project / "dvc.lock").read_text(encoding="utf-8"))
        recorded = lock["stages"]
        made = {out["path"]: out["md5"] for stage in recorded.values() for out in stage.get("outs", [])}
        here = made.get(f"checkpoints/{name}")
        if here and here != folder_md5(project / "checkpoints" / name, project):
            return "is not the one in dvc.lock (dvc checkout brings that back)"
        for stage in stages:
            for dep in recorded.get(stage, {}).get("deps", []):
                if dep["path"].startswith("checkpoints/") and made.get(dep["path"], dep["md5"]) != dep["md5"]:
                    return f"was made from an earlier {dep['path']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError):
        return ""  # no DVC project, or none that can be read
    return ""


def folder_md5(folder: Path, project: Path) -> str:
    """Return DVC's hash of a folder: the MD5 of a JSON list of its files with their MD5s, but for those it ignores."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in below(folder, project) if path.is_file())
    entries = []
    for name, path in files:
        with path.open("rb") as file:
            entries.append({"md5": hashlib.file_digest(file, "md5").hexdigest(), "relpath": name})
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def below(folder: Path, project: Path) -> Iterator[Path]:
    """Yield what lies in a folder and in those inside it, but for what the project's .dvcignore names."""
    file = project / ".dvcignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    ignored = [re.compile(translate(line)) for line in lines if line and not line.startswith("#")]
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not any(pattern.match(part) for pattern in ignored for part in parts):
            yield path


def lay_over(params: str, changes: list[str]) -> str:
    """Change a parameters file in place, as `dvc exp run -S` does; returns why DVC refuses, "" where it took them."""
    done = subprocess.run([sys.executable, "-c", _LAY_OVER, params, *changes], capture_output=True, encoding="utf-8")
    return (done.stderr.strip() or "refused") if done.returncode else ""


def experiments(changes: list[str]) -> list[list[str]]:
    """Return the changes of each experiment that these mean: base.seed=1,2 means two."""
    done = subprocess.run([sys.executable, "-c", _SPREAD, *changes], capture_output=True, encoding="utf-8", check=True)
    found: list[list[str]] = json.loads(done.stdout)
    return found


def run_experiment(name: str, changes: list[str], *targets: str) -> bool:
    """Run an experiment in a copy of the project, with its output shown; returns whether it ended well.

    Args:
        targets: the stages to run, with all before them; without one, all.
    """
    words = ["exp", "run", "--temp", "-n", name, *(word for change in changes for word in ("-S", change)), *targets]
    print("dvc", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "dvc", *words], check=False).returncode == 0


def is_project(folder: Path) -> bool:
    return _answer(folder, "root") is not None


def remotes(folder: Path) -> list[str]:
    """Return each remote as its name and address; none where it is no project."""
    return [" ".join(line.split()) for line in (_answer(folder, "remote", "list") or "").splitlines()]


def remote_options(name: str) -> tuple[str | None, dict[str, Any]]:
    """Return the address of a remote and fsspec's options for it; None where DVC has no remote of this name."""
    if "://" in name or Path(name).is_absolute():
        return None, {}
    lines = (_answer(Path(), "config", "--list") or "").splitlines()
    begins = f"remote.{name}."
    own = dict(line.removeprefix(begins).split("=", 1) for line in lines if line.startswith(begins))
    url = own.get("url")
    if url is None:
        return None, {}
    if "://" not in url:  # relative to the file that names it
        # Of the main repository, also in an experiment's copy of it.
        root = os.environ.get("DVC_ROOT") or _answer(Path(), "root") or "."
        return str(Path(root, ".dvc", url).resolve()), {}
    region = {"client_kwargs": {"region_name": own["region"]}} if "region" in own else {}
    return url, {_FSSPEC[key]: value for key, value in own.items() if key in _FSSPEC} | region


def _answer(folder: Path, *words: str) -> str | None:
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    return done.stdout.strip() if done.returncode == 0 else None
