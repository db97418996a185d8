"""docs/results/: its trainings take minutes to hours; what its commands ask for is checked here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.params import recipes
from pipeline.params.schema import read
from tests.helpers import RECIPES, ROOT

# Real photographs' command is run by a test of the README's.
PAGES = [page for page in sorted((ROOT / "docs/results").glob("*.md")) if page.stem != "real-photographs"]


def commands() -> Iterator[tuple[str, list[str]]]:
    """(the recipe that params.yaml has, the words of a command), in the order of each page."""
    for page in PAGES:
        recipe = recipes.BASE
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("uv run "), comments=True)
                if words[:2] == ["twotone", "recipe"]:
                    # That of an earlier version has the keys of today's.
                    recipe = words[2].removesuffix("-0.1.0")
                else:
                    yield recipe, words


TRAININGS = [one for one in commands() if one[1][0] in ("dvc", "twotone")]
SCRIPTS = [words for _, words in commands() if words[0] == "python"]


def test_every_command_is_of_a_known_kind() -> None:
    assert len(TRAININGS) >= 5
    assert len(SCRIPTS) >= 2
    assert len(TRAININGS) + len(SCRIPTS) == len(list(commands()))


@pytest.mark.parametrize(("recipe", "words"), TRAININGS)
def test_what_a_training_asks_for_is_allowed(recipe: str, words: list[str], tmp_path: Path) -> None:
    assert words[:3] == ["dvc", "exp", "run"] or words[:2] == ["twotone", "seeds"] or words == ["dvc", "repro"]
    path = tmp_path / "params.yaml"
    recipes.write(recipes.compose(RECIPES, recipe), path)
    before = read(path)
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "-S"]
    if overrides:
        # As `dvc exp run` writes them into params.yaml.
        apply_overrides(str(path), overrides)
        assert read(path) != before


@pytest.mark.slow
@pytest.mark.parametrize("words", SCRIPTS)
def test_a_script_knows_its_options(words: list[str]) -> None:
    # `python scripts/one.py`, or a module: `python -m benchmarks.backbones`.
    script = words[1:3] if words[1] == "-m" else words[1:2]
    said = subprocess.run(
        [sys.executable, *script, "--help"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    for option in (word for word in words[1 + len(script) :] if word.startswith("-")):
        assert option in said.stdout
