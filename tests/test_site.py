"""The site's generated pages and pictures are current, and every page that it shows is there."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import timm
from PIL import Image
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params.schema import Params, parse
from tests.helpers import QUICKSTART, ROOT

sys.path.append(str(ROOT / "scripts"))
import make_reference
import make_tutorial

# A row of docs/reference/params.md: key, meaning, what is allowed, value, stages.
ROW = re.compile(r"^\| `(\w+)` \| (.*) \| (.*) \| `(.*)` \| (.*) \|$")


def rows() -> dict[str, tuple[str, ...]]:
    found, block = {}, ""
    for line in make_reference.PAGE.read_text(encoding="utf-8").splitlines():
        block = line.removeprefix("## ") if line.startswith("## ") else block
        if row := ROW.match(line):
            found[f"{block}.{row[1]}"] = row.groups()[1:]
    return found


def test_the_page_of_parameters_is_made_of_the_schema() -> None:
    text = make_reference.PAGE.read_text(encoding="utf-8")
    assert make_reference.page() == text, "docs/reference/params.md is stale: run python scripts/make_reference.py"


def test_the_page_of_metrics_is_made_of_them() -> None:
    text = make_reference.METRICS.read_text(encoding="utf-8")
    assert make_reference.metrics() == text, "docs/reference/metrics.md is stale: run python scripts/make_reference.py"
    assert text.count("\n| `") == 22


def test_the_page_of_commands_is_made_of_the_command_line() -> None:
    text = make_reference.COMMANDS.read_text(encoding="utf-8")
    assert make_reference.commands() == text, "docs/reference/cli.md is stale: run python scripts/make_reference.py"
    assert text.count("### twotone ") == 14
    assert "| `--jpeg-quality` |" in text


def test_every_parameter_has_a_meaning_unless_its_name_says_it() -> None:
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    assert set(rows()) == {f"{block}.{key}" for block, keys in tree.items() for key in keys}
    assert not [name for name, (meaning, *_) in rows().items() if not meaning]


@pytest.mark.parametrize(("name", "stages"), [
    ("base.image_size", "sample, pretrain, export"),
    ("discriminator.norm", "finetune, export"),
    ("evaluate.columns", "evaluate"),
    ("base.num_workers", "none"),
])  # fmt: skip
def test_the_stages_are_those_that_watch_the_parameter(name: str, stages: str) -> None:
    assert rows()[name][3] == stages


@pytest.mark.parametrize("name", [name for name, row in rows().items() if ">=" in row[1] or "<" in row[1]])
def test_a_value_beyond_a_stated_bound_is_refused(name: str) -> None:
    """The page's bounds are those of the schema: a step beyond each is refused."""
    block, key = name.split(".")
    for sign, bound in re.findall(r"([<>]=?) ([\d.]+)", rows()[name][1]):
        beyond = float(bound) + {"<": 0, "<=": 1, ">": 0, ">=": -1}[sign]
        tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
        tree[block][key] = value_like(tree[block][key], beyond)
        with pytest.raises(ParamsError, match=rf"{block}\.{key}"):
            parse(tree)


def value_like(old: object, number: float) -> object:
    """A value of the old one's kind, with this number."""
    if isinstance(old, dict):
        return {next(iter(old)): number}
    if isinstance(old, list):
        return [int(number)]
    return number if isinstance(old, float) else int(number)


def test_every_page_of_the_navigation_exists() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = re.findall(r"^ *- .*: ([\w/.-]+\.md)$", text, re.MULTILINE)
    outside = re.findall(r'"(\w+\.md)": "([\w./]+)"', (ROOT / "docs/site_hooks.py").read_text(encoding="utf-8"))
    above = {page: ROOT / source for page, source in outside}
    assert len(pages) > 10
    assert all(above.get(page, ROOT / "docs" / page).is_file() for page in pages)
    assert {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} <= set(pages)


def test_the_schema_has_the_blocks_of_the_page() -> None:
    assert re.findall(r"^## (\w+)$", make_reference.PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(
        Params.model_fields
    )


def test_the_tutorials_pictures_are_those_that_the_script_draws() -> None:
    drawn = make_tutorial.pictures()
    assert {path.stem for path in make_tutorial.FOLDER.iterdir()} == set(drawn)
    assert sum(path.stat().st_size for path in make_tutorial.FOLDER.iterdir()) < 500_000
    for name, picture in drawn.items():
        with Image.open(make_tutorial.FOLDER / f"{name}.jpg") as stored:
            difference = np.asarray(stored).astype(int) - np.asarray(picture).astype(int)
        assert np.abs(difference).mean() < 4, f"docs/tutorial/{name}.jpg: run python scripts/make_tutorial.py"


def test_what_the_tutorial_says_of_its_networks_is_so() -> None:
    """70 pixels a patch, the next 8 further, and five halvings."""
    photograph = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    left, top, right, bottom = make_tutorial.receptive_field(photograph, 9, 7)
    assert (right - left, bottom - top) == (70, 70)
    assert make_tutorial.receptive_field(photograph, 9, 8) == (left + 8, top, right + 8, bottom)
    body = timm.create_model("resnet18", pretrained=False, features_only=True)
    assert body.feature_info.reduction() == [2, 4, 8, 16, 32]
