"""The console script `twotone`."""

from __future__ import annotations

import fnmatch
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import recipes
from pipeline.params import Params, ParamsError, exit_with, read_or_exit

if TYPE_CHECKING:
    from pipeline.inference.files import Options, Outcome
    from pipeline.training.preflight import Survey

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Two-stage training of photo colorizers.")
PARAMS, RECIPES, STATES = Path("params.yaml"), Path("recipes"), Path(".resume")


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


@app.command()
def resume(
    clear: Annotated[bool, typer.Option("--clear", help="Delete them: the next run starts anew.")] = False,
) -> None:
    """List the saved states of interrupted trainings."""
    from pipeline.training.resume import ResumeError, read_state

    console = Console(highlight=False, soft_wrap=True)
    files = sorted(STATES.glob("*/*/*.state"))
    table = Table("stage", "fingerprint", "after epoch", "and batches", "MiB", box=None, pad_edge=False)
    for path in files:
        try:
            state = read_state(path)
            position = (str(state.epoch), str(state.batches))
        except ResumeError:
            position = ("damaged", "")
        stage, key = path.parts[-3], path.parent.name
        table.add_row(stage, key[:12], *position, f"{path.stat().st_size / 2**20:.1f}")
    if files:
        console.print(table)
    if clear:
        for path in files:
            path.unlink(missing_ok=True)
    console.print(f"{len(files)} saved states in {STATES}{', deleted' if clear and files else ''}", markup=False)


@app.command()
def colorize(
    inputs: Annotated[list[str], typer.Argument(help="Photographs, films, folders (recursive), or patterns.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the colored copies.")],
    model: Annotated[
        Path | None, typer.Option(help="A checkpoint folder or a .onnx file; default: the newest in checkpoints/.")
    ] = None,
    render_size: Annotated[
        int | None, typer.Option(min=32, max=2048, help="Short side of what the network sees; default: as trained.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, where the generator has some.")] = 0,
    samples: Annotated[int, typer.Option(min=1, max=100, help="Colorings of each, by seeds from --seed on.")] = 1,
    saturation: Annotated[float, typer.Option(min=0, max=10, help="Multiplies the chroma.")] = 1.0,
    smoothing: Annotated[
        float,
        typer.Option(min=0, max=0.99, help="Of films: how much color of the frame before stays where it is still."),
    ] = 0.9,
    format: Annotated[str | None, typer.Option(help="jpg, png, webp, tiff or bmp; default: as the photograph.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace colored copies that are there.")] = False,
    compare: Annotated[bool, typer.Option(help="Also write each before and after, side by side.")] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 200_000_000,
) -> None:
    """Color photographs, and films, at their own size and lightness."""
    from pipeline.inference.files import Options

    options = Options(render_size, seed, samples, saturation, smoothing, format, overwrite, compare, max_pixels)
    raise SystemExit(_colorize(inputs, out, model, options))


def _colorize(inputs: list[str], out: Path, model: Path | None, options: Options) -> int:
    from tqdm import tqdm

    from pipeline.inference.colorizer import Colorizer
    from pipeline.inference.files import InputError, color_file, jobs
    from pipeline.inference.networks import newest_model
    from pipeline.inference.pictures import WRITABLE
    from pipeline.models.card import ArtifactError

    if options.format is not None and options.format not in WRITABLE:
        exit_with(f"--format must be one of {', '.join(WRITABLE)}, got {options.format!r}", status=2)
    try:
        work = jobs(inputs, out, options.format)
        path = model or newest_model(Path("checkpoints"))
        colorizer = Colorizer.load(path)
    except (InputError, ArtifactError) as error:
        exit_with(str(error), status=2)
    if options.samples > 1 and not colorizer.noisy:
        exit_with(f"--samples needs a generator with noise, and that of {path} has none", status=2)
    outcomes: list[Outcome] = []
    bar = tqdm(work, desc="colorize", unit="file")
    for job in bar:
        outcomes.append(color_file(job, colorizer, options))
        if outcomes[-1].status == "failed":
            tqdm.write(f"error: {job.source}: {outcomes[-1].detail}", file=sys.stderr)
    return _closing_table(outcomes, path)


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Option(help="A checkpoint folder or a .onnx file; default: the newest in checkpoints/.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen at an address that other machines can reach.")
    ] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 60_000_000,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are not taken.")] = 100,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for one photograph.")] = 60,
) -> None:
    """Color photographs on a web page of this machine."""
    _serve(model, host, port, allow_remote, browser, max_pixels, max_megabytes * 2**20, time_limit)


def _serve(
    model: Path | None, host: str, port: int, remote: bool, browser: bool, max_pixels: int, max_bytes: int, limit: float
) -> None:
    from pipeline.inference.colorizer import Colorizer
    from pipeline.inference.networks import newest_model
    from pipeline.models.card import ArtifactError

    try:
        from pipeline.inference.app import Model, ServeError, is_loopback, serve
        from pipeline.inference.worker import Worker
    except ImportError as error:
        exit_with(f"the page needs {error.name}; install the extra twotone[serve]", status=2)
    if ":" in host:
        exit_with(f"--host {host}: addresses of IPv6 are not supported; 127.0.0.1 is this machine", status=2)
    if not remote and not is_loopback(host):
        exit_with(
            f"--host {host} can be reached by other machines, and the page asks nobody for a password; "
            "add --allow-remote if that is meant",
            status=2,
        )
    try:
        path = model or newest_model(Path("checkpoints"))
        colorizer = Colorizer.load(path)
    except ArtifactError as error:
        exit_with(str(error), status=2)
    about, worker = Model(path, colorizer.image_size, colorizer.noisy), Worker(path, max_pixels, limit)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        serve(about, worker, host, port, max_bytes=max_bytes, browser=browser, started=_say_started(path))
    except ServeError as error:
        worker.close()
        exit_with(str(error))


def _say_started(model: Path) -> Callable[[str], None]:
    return lambda address: print(f"{address} colors photographs with {model}; Ctrl-C ends it", flush=True)


def _closing_table(outcomes: list[Outcome], model: Path) -> int:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("photograph", "", "", box=None, pad_edge=False, show_header=False)
    # Of a thousand that went well nobody wants a list.
    shown = [o for o in outcomes if o.status != "colored"] if len(outcomes) > 20 else outcomes
    for outcome in shown:
        table.add_row(escape(str(outcome.source)), outcome.status, escape(outcome.detail))
    if shown:
        console.print(table)
    counts = Counter(outcome.status for outcome in outcomes)
    console.print(
        f"{counts['colored']} colored, {counts['kept']} kept as they were, {counts['failed']} failed; model {model}",
        markup=False,
    )
    return 1 if counts["failed"] else 0


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
