"""Parameters as `-S` changes them: laid over params.yaml by DVC's own means, with advice where DVC takes none."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

from pipeline import dvc_project
from pipeline.errors import ParamsError
from pipeline.params import recipes
from pipeline.params.schema import Params, parse, read

_ONE_LOSS = re.compile(r"\+?((?:pretrain|finetune)\.losses)\.(\w+)=(.*)")
_USUAL = (
    "expected block.key=value, with inner quotes around a value with brackets, commas, quotes or letters beyond a to "
    "z, such as -S \"sample.path='/data/Müller (1)'\""
)


def changed(path: Path, changes: list[str]) -> list[tuple[str, Params]]:
    """Lay changes over params.yaml, as `dvc exp run -S` does.

    Args:
        changes: key=value. Several values, such as base.seed=1,2, mean an experiment for each.

    Returns:
        For each experiment what was laid over, "" where nothing was, and its parameters.

    Raises:
        ParamsError: DVC does not take a change, or the schema refuses the parameters.
    """
    if not changes or recipes.current(path) is None:
        return [("", read(path))]  # which says why it cannot be read
    words = [change.removeprefix(f"{path.name}:") for change in changes]
    return [_one(path, experiment) for experiment in dvc_project.experiments(words)]


def _one(path: Path, words: list[str]) -> tuple[str, Params]:
    listed = f"-S {' -S '.join(words)}"
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copy(path, folder)
        refused = dvc_project.lay_over(copied, words)
        if refused:
            said = f"{listed}: {' '.join(refused.split()).partition(' See https')[0]}"
            raise ParamsError(f"{said}; {_advice(path, words, copied)}")
        return listed, parse(recipes.current(Path(copied)), f"{path} with {listed}")


def _advice(path: Path, words: list[str], copied: str) -> str:
    """Say how to write a change that DVC does not take; tried before it is said."""
    for word in words:
        shutil.copy(path, copied)
        if not dvc_project.lay_over(copied, [word]):
            continue
        quoted = _quoted(path, word)
        shutil.copy(path, copied)
        if not dvc_project.lay_over(copied, [quoted]) and _is_valid(copied):
            return f"type -S {_for_a_shell(quoted)}"
    return _USUAL


def _quoted(path: Path, word: str) -> str:
    """Return a change in another form, which DVC may take."""
    one_loss = _ONE_LOSS.fullmatch(word)
    if one_loss:
        key, name, weight = one_loss.groups()
        block, _, losses = key.partition(".")
        now = (recipes.current(path) or {}).get(block, {}).get(losses, {})
        pairs = {**(now if isinstance(now, dict) else {}), name: weight}
        return f"{key}={' '.join(f'{loss}:{value}' for loss, value in pairs.items())}"
    key, _, value = word.partition("=")
    if key.endswith(".losses") and value.startswith("{"):
        pairs_in = value.strip("{} ").replace(": ", ":").replace(",", " ").split()
        return f"{key}={' '.join(pairs_in)}"
    value = os.path.expanduser(value)
    return f'{key}="{value}"' if "'" in value else f"{key}='{value}'"


def as_one_value(path: Path, changes: list[str]) -> str:
    """Say how changes that mean several experiments are written where they mean one; "" where none does."""
    several = [word for word in changes if len(dvc_project.experiments([word.removeprefix(f"{path.name}:")])) > 1]
    words = " ".join(f"-S {_for_a_shell(_quoted(path, word))}" for word in several)
    return f"a comma means an experiment for each; as one value: {words}" if words else ""


def _is_valid(copied: str) -> bool:
    try:
        parse(recipes.current(Path(copied)), copied)
    except ParamsError:
        return False
    return True


def _for_a_shell(text: str) -> str:
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'
