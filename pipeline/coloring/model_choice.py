"""Which model colors: the one that is named, else export, finetune or pretrain, else the starter model."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import dvc_project
from pipeline.errors import DialError, ModelError
from pipeline.inference.hints import Hint, Painted
from pipeline.inference.starter import starter_folder
from pipeline.media.provenance import Origin
from pipeline.models.config import GENERATOR_FILE, ONNX_FILE, read_config

if TYPE_CHECKING:
    from pipeline.inference.colorizer import ColoringOptions, Colorizer

# By meaning, not by the times of files, which `dvc pull` and `dvc checkout` set at will.
ORDER = ("export", "finetune", "pretrain")
STARTER = "starter"
_IN_PLAIN_WORDS = "cautious colors, best outdoors and on faces"


def choose_model(named: Path | None, project: Path = Path(), *, verbose: bool = False) -> Path:
    """Return the model to color with, announced on stderr.

    Args:
        named: by the user, a path or "starter"; None to choose.
        project: the folder with checkpoints/ and dvc.lock.
        verbose: whether to say of the starter model, too, which network it is and how well it does.

    Raises:
        ModelError: there is no model.
    """
    path = _named(named) if named else _best(project)
    if not path.exists():
        raise ModelError(f"{path}: no such folder; a model is a checkpoint folder or a .onnx file")
    config = read_config(path.parent if path.suffix == ".onnx" else path)
    plain = label(path) == STARTER and not verbose
    print(f"model {label(path)}: {_IN_PLAIN_WORDS if plain else config.summary()}", file=sys.stderr)
    return path


def label(path: Path) -> str:
    """Return a model as messages call it: "starter", or its path."""
    return STARTER if path == starter_folder() else str(path)


@lru_cache(maxsize=4)
def load_signed(
    model: Path, vivid: float | None, threads: int | None = None, device: str = "auto"
) -> tuple[Colorizer, Origin]:
    """Return a model and what its pictures say, read together: one trained anew meanwhile must not sign for the old
    one.

    Raises:
        ModelError: no model there, a damaged one, or one without a dial.
    """
    from pipeline.inference.colorizer import Colorizer

    try:
        return Colorizer.load(model, vivid, threads, device), origin_of(model, vivid)
    except DialError as error:
        advice = "name checkpoints/finetune with --model, or a model that was exported with export.dial true"
        raise DialError(f"--vivid: {error}; {advice}") from None


def origin_of(model: Path, vivid: float | None = None) -> Origin:
    """Return what pictures that the model colors will say of it. Nothing in it depends on where the model lies.

    Args:
        model: a checkpoint folder or a .onnx file.
        vivid: where the dial stands; None for the model as it is.

    Raises:
        ModelError: model.json is missing or damaged.
    """
    folder, name = (model.parent, model.name) if model.suffix == ".onnx" else (model, ONNX_FILE)
    config = read_config(folder)
    name = name if name in config.sha256 else GENERATOR_FILE
    program = f"twotone-colorizer {metadata.version('twotone-colorizer')}"
    weights = f"{name} sha256 {config.sha256.get(name, 'unknown')}"
    # An exported model has the weights of both ends of the dial in one file.
    other = f" from sha256 {config.began_with}" if name == GENERATOR_FILE and config.began_with else ""
    has_dial = vivid is None and name == ONNX_FILE and config.interface and config.interface.dial
    at = config.interface.dial_at if has_dial and config.interface else vivid
    dial = "" if at is None else f"dial at {at:g}{other}"
    return Origin(program, config.summary(), weights, settings=dial)


def used(origin: Origin, coloring: ColoringOptions) -> Origin:
    """Return the origin, with how it colors one picture."""
    factor = f"saturation {coloring.saturation:g}" if coloring.saturation != 1 else ""
    settings = ", ".join(filter(None, [origin.settings, factor]))
    return hinted(replace(origin, redrawn=coloring.own_lightness, settings=settings), coloring.hints)


def hinted(origin: Origin, hints: tuple[Hint, ...] | Painted) -> Origin:
    """Return the origin of a picture for which colors were said."""
    return with_setting(origin, hints_text(hints))


def with_setting(origin: Origin, text: str) -> Origin:
    """Return the origin of a picture with one more thing that it was colored with."""
    return replace(origin, settings=", ".join(filter(None, [origin.settings, text])))


def hints_text(hints: tuple[Hint, ...] | Painted) -> str:
    """Say how many hints there are; "" where there are none."""
    if isinstance(hints, Painted):
        return "painted hints"
    return f"{len(hints)} hint{'s' if len(hints) > 1 else ''}" if hints else ""


def _named(named: Path) -> Path:
    """Take a weights file for its folder, and "starter" for the starter model where no folder has that name."""
    if str(named) == STARTER and not named.exists():
        return starter_folder() or named
    return named.parent if named.suffix == ".safetensors" and named.is_file() else named


def _best(project: Path) -> Path:
    checkpoints = project / "checkpoints"
    names = [name for name in ORDER if (checkpoints / name / "model.json").is_file()]
    if not names:
        starter = starter_folder()
        if starter is None:
            raise ModelError(f"{checkpoints}/: no model; train one with dvc repro, or name one with --model")
        return starter
    reason = why_stale(names[0], project)
    if reason:
        print(f"warning: checkpoints/{names[0]} {reason}; dvc repro makes it anew", file=sys.stderr)
    return checkpoints / names[0]


def why_stale(name: str, project: Path) -> str:
    """Say why a stage's model is not of today's stages, by dvc.lock; "" where nothing says so."""
    return dvc_project.stale(name, ORDER[ORDER.index(name) :], project)
