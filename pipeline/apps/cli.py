"""The console script `twotone`: its commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import recipes
from pipeline.errors import InputError, exit_status
from pipeline.params import read

# Everything heavy is imported by the command that needs it: `twotone --help` answers at once.

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Two-stage training of photo colorizers.")
PARAMS, RECIPES, STATES = Path("params.yaml"), Path("recipes"), Path(".resume")
Model = Annotated[
    Path | None, typer.Option(help="A checkpoint folder or a .onnx file; default: the newest in checkpoints/.")
]


def main() -> None:
    sys.exit(exit_status(_run, "the command"))


def _run() -> int:
    try:
        app()
    except SystemExit as end:  # typer ends every command so
        return int(end.code or 0)
    return 0


@app.command()
def recipe(name: Annotated[str | None, typer.Argument(help="Without it, list the recipes.")] = None) -> None:
    """Write a recipe into params.yaml and print what changed; then type dvc repro."""
    if name is None:
        return _list_recipes()
    tree = recipes.compose(RECIPES, name)
    differences = list(recipes.changes(recipes.current(PARAMS), tree))
    recipes.write(tree, PARAMS)
    console = Console(highlight=False, soft_wrap=True)
    for key, before, after in differences:
        console.print(f"{key}: {_text(before)} -> {_text(after)}", markup=False)
    console.print(f"{PARAMS} is {name} now, {len(differences)} values changed; next: dvc repro, or dvc exp run")
    return None


@app.command()
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="timm names, such as 'resnet*'; default: the tested ones.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Build it and measure a training step at the current size.")] = False,
) -> None:
    """List the timm backbones that can be the encoder of the U-Net."""
    params = read(PARAMS)
    if check and pattern is None:
        raise InputError("--check needs the name of a backbone, such as: twotone backbones resnet50 --check")
    from pipeline.apps.backbones import check_backbone, list_backbones

    if check:
        return check_backbone(str(pattern), params)
    raise typer.Exit(list_backbones(pattern, params))


@app.command()
def resume(
    clear: Annotated[bool, typer.Option("--clear", help="Delete them: the next run starts anew.")] = False,
) -> None:
    """List the saved states of interrupted trainings."""
    from pipeline.apps.saved_states import list_states

    list_states(STATES, clear=clear)


@app.command()
def colorize(
    inputs: Annotated[list[str], typer.Argument(help="Photographs, films, folders (recursive), or patterns.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the colored copies.")],
    model: Model = None,
    render_size: Annotated[
        int | None, typer.Option(min=32, max=2048, help="Short side of what the network sees; default: as trained.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise, where the generator has some.")] = 0,
    samples: Annotated[int, typer.Option(min=1, max=100, help="Colorings of each, by seeds from --seed on.")] = 1,
    saturation: Annotated[float, typer.Option(min=0, max=10, help="Multiplies the chroma.")] = 1.0,
    smoothing: Annotated[
        float,
        typer.Option(min=0, max=0.99, help="For films: how much color of the frame before stays where it is still."),
    ] = 0.9,
    format: Annotated[str | None, typer.Option(help="jpg, png, webp, tiff or bmp; default: as the photograph.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace colored copies that exist.")] = False,
    compare: Annotated[bool, typer.Option(help="Also write each before and after, side by side.")] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 200_000_000,
) -> None:
    """Color photographs, and films, at their own size and lightness."""
    from pipeline.apps.colorize import BatchOptions
    from pipeline.apps.colorize import colorize as color_all
    from pipeline.inference.colorizer import ColoringOptions

    coloring = ColoringOptions(render_size, seed, saturation)
    options = BatchOptions(coloring, samples, smoothing, format, overwrite, compare, max_pixels)
    raise typer.Exit(color_all(inputs, out, model, options))


@app.command()
def serve(
    model: Model = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen at an address that other machines can reach.")
    ] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 60_000_000,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are refused.")] = 100,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for one photograph.")] = 60,
) -> None:
    """Color photographs on a web page of this machine."""
    try:
        from pipeline.apps.page import Address, Limits, serve
    except ImportError as error:
        raise InputError(f"the page needs {error.name}; install the extra twotone[serve]") from None
    serve(model, Address(host, port, allow_remote), Limits(max_pixels, max_megabytes * 2**20, time_limit), browser)


def _list_recipes() -> None:
    names = recipes.names(RECIPES)
    if not names:
        raise InputError(f"no recipes in {RECIPES}/; run from the top of the project")
    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for name in names:
        table.add_row(name, escape(recipes.opening(RECIPES, name)[0]))
    Console(highlight=False).print(table)


def _text(value: Any) -> str:
    return "(absent)" if value is None else str(value)


if __name__ == "__main__":
    main()
