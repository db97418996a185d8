"""The console script `twotone`."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import recipes
from pipeline.params import Params, ParamsError, exit_with, read_or_exit

if TYPE_CHECKING:
    from pipeline.training.preflight import Survey

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Two-stage training of photo colorizers.")
PARAMS, RECIPES = Path("params.yaml"), Path("recipes")


@app.command()
def recipe(name: Annotated[str | None, typer.Argument(help="Without it, list the recipes.")] = None) -> None:
    """Write a recipe into params.yaml and print what changed; then type dvc repro."""
    if name is None:
        return _list_recipes()
    try:
        tree = recipes.compose(RECIPES, name)
        differences = list(recipes.changes(recipes.current(PARAMS), tree))
        recipes.write(tree, PARAMS)
    except ParamsError as error:
        exit_with(str(error), status=2)
    console = Console(highlight=False, soft_wrap=True)
    for key, before, after in differences:
        console.print(f"{key}: {_shown(before)} -> {_shown(after)}", markup=False)
    console.print(f"{PARAMS} is {name} now, {len(differences)} values changed; next: dvc repro, or dvc exp run")
    return None


@app.command()
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="Of timm names, such as 'resnet*'; default: the tested ones.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Build it and measure a training step at the current size.")] = False,
) -> None:
    """List the timm backbones that can be the encoder of the U-Net."""
    params = read_or_exit(PARAMS)
    if check:
        if pattern is None:
            exit_with("--check needs the name of a backbone, such as: twotone backbones resnet50 --check", status=2)
        return _check(pattern, params)
    return _list_backbones(pattern, params)


def _list_recipes() -> None:
    console = Console(highlight=False)
    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for name in recipes.names(RECIPES):
        table.add_row(name, escape(recipes.opening(RECIPES, name)[0]))
    if not table.rows:
        exit_with(f"no recipes in {RECIPES}/; run from the top of the project", status=2)
    console.print(table)


def _list_backbones(pattern: str | None, params: Params) -> None:
    import timm
    from tqdm import tqdm

    from pipeline.models.backbones import TESTED, BackboneError
    from pipeline.training.preflight import survey

    chosen = sorted(TESTED) if pattern is None else fnmatch.filter(timm.list_models(), pattern)
    if not chosen:
        exit_with(f"no timm model is named like {pattern!r}; try a pattern such as 'resnet*'", status=2)
    works: list[Survey] = []
    refused: list[str] = []
    for name in tqdm(chosen, desc="backbones", leave=False):
        try:
            works.append(survey(name, params))
        except BackboneError as error:
            refused.append(f"{name} {error.reason}")
    table = Table("backbone", "decoder blocks", "parameters, M", "smallest image", box=None, pad_edge=False)
    for row in works:
        table.add_row(row.name, str(row.decoder_blocks), f"{row.parameters / 1e6:.1f}", f"{row.smallest} px")
    console = Console(highlight=False, soft_wrap=True)
    if works:
        console.print(table)
    for reason in refused:
        console.print(reason, markup=False)
    if not works:
        raise SystemExit(1)


def _check(name: str, params: Params) -> None:
    from pipeline.models.backbones import BackboneError
    from pipeline.training.devices import DeviceError
    from pipeline.training.preflight import measure_step, skips, survey

    try:
        found, cost = survey(name, params), measure_step(name, params)
    except (BackboneError, DeviceError) as error:
        exit_with(str(error))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{name}: {found.parameters / 1e6:.1f} M parameters, {found.decoder_blocks} decoder blocks")
    for reduction, channels in skips(name, params):
        console.print(f"  1/{reduction}: {channels} channels")
    size, batch = params.base.image_size, params.pretrain.batch_size
    console.print(
        f"a pretraining step of {batch} photographs at {size} px: {cost.seconds:.2f} s, "
        f"{cost.megabytes:,.0f} MiB at the peak, on {cost.device}"
    )


def _shown(value: Any) -> str:
    return "(absent)" if value is None else str(value)


if __name__ == "__main__":
    app()
