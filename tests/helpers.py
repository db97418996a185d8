"""What several tests share: a project under DVC, small photographs, files of every source's format."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML
from skimage.color import rgb2lab

from pipeline.media.pictures import Picture
from pipeline.media.provenance import Origin
from pipeline.media.writing import encode_picture
from tests.nursery import Nursery

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
# Not params.yaml, which its user may edit: the recipe that it is a copy of.
QUICKSTART = RECIPES / "quickstart.yaml"

Array = np.ndarray

# The real architecture, losses and stages on next to nothing: a stage takes seconds.
TINY: dict[str, dict[str, Any]] = {
    "base": {"image_size": 32, "device": "cpu", "precision": "fp32"},
    "sample": {"train": 8, "valid": 3, "test": 3},
    # Decoders grow with the last feature map, and saved states with the decoder; fastai's takes two seconds to import.
    "generator": {"max_width": 64, "decoder": "halved"},
    "pretrain": {"epochs": 1, "batch_size": 4, "sample_epochs": [1]},
    "discriminator": {"channels": 8},
    "finetune": {"epochs": 1, "batch_size": 4, "sample_epochs": [1], "publish": "last"},
    "evaluate": {"columns": 3, "classifier": "none", "hints": 1},
}

# Half a code, at the steepest place of the curve from 8-bit codes to L*: no rounding can move the lightness further.
EIGHT_BIT = 0.26


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something; an assertion fails where it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def serving(script: str, folder: Path) -> Iterator[Path]:
    """Run one of the tests' servers, which writes its address to FOLDER/address."""
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / script), str(folder)], stdout=log, stderr=log)
    try:
        until((folder / "address").exists)
        yield folder
    finally:
        process.kill()
        process.wait()


class Project:
    """A copy of this project in a repository of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(
        self, *command: str, ok: bool = True, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """python -m COMMAND"""
        done = finished([sys.executable, "-m", *command], self.folder, env, timeout=600)
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def bash(self, script: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Lines as a document has them; the first that fails ends them, and the test."""
        done = finished(["bash", "-euo", "pipefail", "-c", script], self.folder, timeout=timeout)
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def twotone(self, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("pipeline.cli", *words, ok=ok)

    def dvc(
        self, *command: str, ok: bool = True, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *command, ok=ok, env=env)

    def git(self, *command: str) -> None:
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *who, *command], cwd=self.folder, check=True, capture_output=True)

    def change(self, **blocks: dict[str, Any]) -> None:
        """Set keys of params.yaml: change(finetune={"epochs": 2})."""
        path, yaml = self.folder / "params.yaml", YAML()
        tree = yaml.load(path.read_text(encoding="utf-8"))
        for block, keys in blocks.items():
            tree[block].update(keys)
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)

    def outs(self) -> dict[str, bytes]:
        """The content of every file that a stage publishes."""
        places = [self.folder / name for name in ("data", "checkpoints", "reports")]
        files = [file for place in places for file in sorted(place.rglob("*")) if file.is_file()]
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in files}

    def queue_status(self) -> str:
        """What `dvc queue status` prints; asked again where it read a file that the worker was just writing."""
        for _ in range(10):
            done = self.dvc("queue", "status", ok=False)
            if "Expecting value" not in done.stderr:
                break
            time.sleep(1)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for_the_queue(self) -> None:
        """Until each task has ended well and the worker has tidied up: `dvc exp show` fails where folders vanish."""
        deadline = time.monotonic() + 900
        while True:
            status = self.queue_status()
            states = re.findall(r"^[0-9a-f]{7}\s.*\s(\w+)$", status, re.MULTILINE)
            if set(states) == {"Success"} and "Worker status: 0 active" in status:
                return
            if "Worker status: 0 active, 0 idle" in status:
                self.dvc("queue", "start")  # it has stopped early, as README says
            assert "Failed" not in states, self.dvc("queue", "logs", status.split()[0], ok=False).stdout
            assert time.monotonic() < deadline, status
            time.sleep(3)

    def processes(self) -> list[int]:
        """All that work in the project or in an experiment's copy of it."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if link.resolve().is_relative_to(self.folder):
                    found.append(int(link.parent.name))
            except OSError:
                continue  # ended meanwhile
        return found

    def the_machine_dies(self) -> None:
        """kill -9 of the queue's workers, of what they run, and of trainers."""
        while alive := self.processes():
            for pid in alive:
                with suppress(ProcessLookupError):  # ended meanwhile
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)


def finished(
    command: list[str], folder: Path, env: Mapping[str, str] = MappingProxyType({}), *, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output goes through files.

    A worker of DVC's queue inherits the output and may outlive the command: whoever reads a pipe waits for it, too.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        done = subprocess.run(
            command, cwd=folder, env={**environment(), **env}, stdout=out, stderr=err, timeout=timeout, check=False
        )
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read())
    return subprocess.CompletedProcess(command, done.returncode, *said)


def new_project(folder: Path) -> Project:
    """A tiny project with nothing run yet."""
    for part in ("pipeline", "stages", "parts", "recipes", "checkpoints/none"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / file, folder / file)
    shutil.copy(QUICKSTART, folder / "params.yaml")
    project = Project(folder)
    project.change(**TINY)
    project.git("init", "-q", "-b", "main")
    # What `dvc init` makes, without waiting for it to start.
    (folder / ".dvc/tmp").mkdir(parents=True)
    for file in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / file, folder / ".dvc" / file)
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "start")
    return project


HEAVY = ("check", "states", "compare", "score", "import", "report", "inspect", "lr-find", "doctor", "colorize")


@cache
def nursery() -> Nursery:
    """That of this worker's checkout, for commands."""
    made = Nursery(ROOT, environment())
    atexit.register(made.close)
    return made


def environment() -> dict[str, str]:
    # A path to this checkout would win over the copy's own modules.
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DVC_ROOT")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**inherited, "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": path}


def save_photo(path: Path, rng: np.random.Generator, size: tuple[int, int] = (48, 40)) -> None:
    """Smooth random colors, (width, height)."""
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)


def write_picture(path: Path, rgb: Array, like: Picture, kind: str, origin: Origin | None = None) -> str:
    """Encode a picture into a file; returns what the file could not take over."""
    content, left_out = encode_picture(rgb, like, kind, origin)
    path.write_bytes(content)
    return left_out


def noisy_photo(rng: np.random.Generator, height: int = 90, width: int = 121) -> Array:
    """(H, W, 3) smooth random colors under noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    noise = rng.integers(-20, 20, (height, width, 3))
    return (np.asarray(coarse.resize((width, height))) + noise).clip(0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def smooth_photos(rng: np.random.Generator, count: int, size: int) -> Array:
    """(count, size, size, 3)"""
    coarse = [Image.fromarray(rng.integers(30, 220, (4, 4, 3), dtype=np.uint8)) for _ in range(count)]
    return np.stack([np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in coarse])


def mean_chroma(rgb: Array) -> float:
    return float(np.hypot(*np.moveaxis(rgb2lab(rgb)[..., 1:], 2, 0)).mean())


def write_stl10(path: Path, photographs: Array) -> None:
    """(N, 96, 96, 3) uint8 as the data set's authors store them: by plane, column after column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photographs.transpose(0, 3, 2, 1).tobytes())


def write_lab_arrays(folder: Path, photographs: Array, parts: int) -> None:
    """(N, S, S, 3) uint8 sRGB in OpenCV's 8-bit L*a*b*."""
    folder.mkdir(parents=True)
    lab = rgb2lab(photographs)
    np.save(folder / "gray_scale.npy", (lab[..., 0] * 255 / 100).round().astype(np.uint8))
    ab = (lab[..., 1:] + 128).round().astype(np.uint8)
    for number, part in enumerate(np.array_split(ab, parts), start=1):
        np.save(folder / f"ab{number}.npy", part)


def twotone(
    folder: Path, *words: str, env: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """The console script, in a folder; commands that import torch, in a process that has."""
    if words[:1] in [(command,) for command in HEAVY]:
        return nursery().command(folder, words, {**os.environ, **env})
    script = Path(sys.executable).with_name("twotone")
    return subprocess.run(
        [str(script), *words], cwd=folder, env={**os.environ, **env}, capture_output=True, encoding="utf-8", timeout=300
    )
