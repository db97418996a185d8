"""`twotone doctor`: what is installed, which device and precision a run would use and why, and what is missing."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from statistics import median

from pipeline import dvc_project
from pipeline.errors import ModelError, ParamsError, TwotoneError, missing_extra
from pipeline.params.schema import Base, Params, read
from pipeline.system import cores
from pipeline.tables import print_table

_DISTRIBUTION = "twotone-colorizer"
_PACKAGES = ("torch", "torchvision", "fastai", "timm", "accelerate", "dvc")
# A difference below it is noise of a short measurement.
_NOTICEABLE = 0.1
_NOBODY = "git does not know who you are, so dvc exp run cannot commit"
_NO_COPIES = ", in a path with letters beyond ASCII, where `dvc exp run --temp`, `--queue` and `twotone seeds` fail"
# A layer in the middle of a U-Net: photographs, channels, side.
_LAYER = (8, 64, 32)


@dataclass(frozen=True)
class Finding:
    """A line of the table. With `problem`, which says what to do, `dvc repro` would not run."""

    topic: str
    found: str
    problem: str = ""


def examine(path: Path) -> int:
    """Print what is found, then what is wrong.

    Args:
        path: params.yaml; the folder that it is in is the project.

    Returns:
        0, or 1 where something keeps `dvc repro` from running.
    """
    params, findings = _params(path)
    folder = path.parent
    findings += [_coloring(), *_packages()]
    trains = all(map(_installed, _PACKAGES))
    if trains:
        findings += [*_device(params.base if params else None), *_weights(params)]
    findings += _models(folder)
    around = [*_git(folder), *_dvc(folder)]
    # Who only colors needs neither; that training is not installed is said above.
    findings += around if trains else [replace(finding, problem="") for finding in around]
    print_table(("topic", "found"), [(finding.topic, finding.found) for finding in findings])
    problems = [finding.problem for finding in findings if finding.problem]
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if not problems:
        later = " (not yet for dvc exp run: git)" if any(_NOBODY in finding.found for finding in findings) else ""
        print(f"ready for dvc repro{later}; `twotone check` tries the parameters and the source of photographs")
    return 1 if problems else 0


def _params(path: Path) -> tuple[Params | None, list[Finding]]:
    try:
        return read(path), [Finding("parameters", f"{path}: valid")]
    except (OSError, ParamsError) as error:
        advice = "run from the top of the checkout" if not path.exists() else str(error)
        return None, [Finding("parameters", f"{path}: none that can be read", f"{path}: {advice}")]


def _coloring() -> Finding:
    from pipeline.inference.starter import starter_folder

    with_it = "ready, with the starter model" if starter_folder() else "ready, with a model of yours: --model"
    return Finding("coloring", with_it)


def _packages() -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} at {sys.prefix}")
    here = [name for name in _PACKAGES if _installed(name)]
    yield Finding("packages", ", ".join(f"{name} {metadata.version(name)}" for name in here))
    if len(here) < len(_PACKAGES):
        absent = ", ".join(name for name in _PACKAGES if name not in here)
        yield Finding("training", f"not possible: {absent} missing", missing_extra("training needs more", "train"))
    for extra, needed in sorted(_extras().items()):
        missing = [name for name in needed if not _installed(name)]
        found = f"missing: {', '.join(missing)}; uv sync --extra {extra}" if missing else "installed"
        yield Finding(f"extra {extra}", found)


def _extras() -> dict[str, list[str]]:
    """Each extra of this distribution with the names of its packages."""
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires(_DISTRIBUTION) or []:
        parts = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if parts:
            extras.setdefault(parts[2], []).append(parts[1])
    return extras


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _device(base: Base | None) -> Iterator[Finding]:
    import torch

    from pipeline.devices import choose_device, choose_precision

    yield Finding("processor", f"{cores()} cores, {torch.get_num_threads()} threads; {_bf16_of_processor()}")
    yield Finding("GPUs", _gpus())
    try:
        device = choose_device(base.device if base else "auto", base.deterministic if base else True)
        precision = choose_precision(base.precision if base else "auto", device)
    except TwotoneError as error:
        yield Finding("device", "the one that params.yaml asks for is not here", str(error))
        return
    yield Finding("device", f"{device}, because {_why_device(base, device)}")
    yield Finding("precision", f"{precision}, because {_why_precision(base, device)}")
    yield Finding("bf16", _bf16_verdict(_bf16_ratio(device), precision))


def _bf16_of_processor() -> str:
    import torch

    if torch.cpu._is_amx_tile_supported():
        return "AMX for bf16"
    return "AVX512-BF16 for bf16" if torch.cpu._is_avx512_bf16_supported() else "no instructions for bf16"


def _gpus() -> str:
    import torch

    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
    if torch.backends.mps.is_available():
        return "Apple's (mps)"
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    return f"none; {built}"


def _why_device(base: Base | None, device: str) -> str:
    import torch

    if base and base.device != "auto":
        return f"base.device is {base.device}"
    if device == "cpu" and torch.backends.mps.is_available():
        return "base.deterministic is true, and Apple's GPU has no deterministic max pooling"
    return "there is no GPU" if device == "cpu" else "base.device is auto and this GPU is here"


def _why_precision(base: Base | None, device: str) -> str:
    if base and base.precision != "auto":
        return f"base.precision is {base.precision}"
    if device == "cuda":
        return "auto takes bf16 from compute capability 8.0 (Ampere) on, fp32 below"
    return f"auto follows the processor: {_bf16_of_processor()}" if device == "cpu" else "auto on mps is fp32"


def _bf16_verdict(ratio: float, precision: str) -> str:
    """Return a sentence on whether bf16 pays, by the time it took as a share of fp32's."""
    measured = f"a convolution, forward and backward, takes {ratio:.2f} of fp32's time here"
    if ratio < 1 - _NOTICEABLE:
        return f"pays: {measured}" + ("" if precision == "bf16" else "; set base.precision to bf16 to use it")
    if ratio > 1 + _NOTICEABLE:
        return f"does not pay: {measured}" + ("; set base.precision to fp32" if precision == "bf16" else "")
    return f"makes no difference: {measured}"


def _bf16_ratio(device: str) -> float:
    """Return the time of a training step of one layer in bf16, divided by that in fp32: medians of alternating runs."""
    import torch

    count, channels, side = _LAYER
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device)
    batch = torch.randn(count, channels, side, side, device=device, requires_grad=True)

    def seconds(bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            output = layer(batch)
        gradient, _ = torch.autograd.grad(output.float().sum(), (batch, layer.weight))
        gradient.sum().item()  # waits for the GPU
        return time.perf_counter() - start

    pairs = [(seconds(True), seconds(False)) for _ in range(9)]
    # The first ones choose algorithms.
    return median(bf16 for bf16, _ in pairs[2:]) / median(fp32 for _, fp32 in pairs[2:])


def _weights(params: Params | None) -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from pipeline.models.packaged_weights import PACKAGES, packaged_file

    packaged = [name for name in PACKAGES if packaged_file(name)]
    yield Finding("weights in packages", ", ".join(packaged) or "none; uv sync --extra weights")
    yield Finding("weights of the hub", HF_HUB_CACHE if Path(HF_HUB_CACHE).is_dir() else f"none yet in {HF_HUB_CACHE}")
    if params is None or params.generator.architecture != "dynamic_unet":
        return
    backbone, weights = params.generator.backbone, params.generator.weights
    topic = f"weights of {backbone}"
    if weights == "none":
        yield Finding(topic, "drawn at random (generator.weights is none)")
    elif weights == "imagenet":
        yield _imagenet(topic, backbone)
    else:
        missing = "" if Path(weights).is_file() else f"generator.weights {weights}: no such file"
        yield Finding(topic, weights, missing)


def _imagenet(topic: str, backbone: str) -> Finding:
    from pipeline.models.weights import imagenet_source

    places = {
        "package": "ImageNet, from an installed package",
        "cache": "ImageNet, from the hub's cache",
        "hub": "ImageNet, which the first run fetches from the hub",
    }
    source = imagenet_source(backbone)
    problem = "" if source else f"timm knows no ImageNet weights of {backbone!r}; set generator.weights to none"
    return Finding(topic, places.get(source, "none"), problem)


def _models(folder: Path) -> Iterator[Finding]:
    from pipeline.coloring.model_choice import ORDER, why_stale
    from pipeline.models.config import read_config

    for name in ORDER:
        place = folder / "checkpoints" / name
        try:
            reason = why_stale(name, folder)
            found = read_config(place).summary() + (f"; it {reason}" if reason else "")
        except ModelError:
            found = "none; dvc repro trains it, dvc pull fetches it where a remote has it"
        yield Finding(str(place), found)


def _git(folder: Path) -> Iterator[Finding]:
    git = _answer(folder, "git", "--version")
    if git is None:
        yield Finding("git", "none", "git is not installed; DVC keeps its records in a git repository")
        return
    if _answer(folder, "git", "rev-parse", "--git-dir") is None:
        yield Finding("git", f"{git}; no repository here", "no git repository here; type `git init`, then `git add -A`")
        return
    commit = _answer(folder, "git", "rev-parse", "--short", "HEAD")
    # What git itself asks for before it commits, and dvc exp run commits.
    known = _answer(folder, "git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT") is not None
    found = [git, f"at commit {commit}" if commit else "no commit yet, which dvc exp run needs"]
    if not known:
        found.append(f"{_NOBODY}: type `git config --global user.name NAME`, and user.email ADDRESS")
    yield Finding("git", "; ".join(found))


def _dvc(folder: Path) -> Iterator[Finding]:
    if not dvc_project.is_project(folder):
        yield Finding("dvc", "no project here", "no DVC project here; type `dvc init` at the top of a git repository")
        return
    remotes = ", ".join(dvc_project.remotes(folder))
    # dvc writes its path into a configuration file as ASCII.
    copies = "" if str(folder.resolve()).isascii() else _NO_COPIES
    yield Finding("dvc", f"a project{copies}; remotes: {remotes or 'none (docs/how-to/remotes.md)'}")


def _answer(folder: Path, *command: str) -> str | None:
    """Return what a command prints; None where it fails or is not there."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
