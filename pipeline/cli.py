"""The console script `twotone`: its commands and their options."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.errors import InputError, exit_status, missing_extra

if TYPE_CHECKING:
    from pipeline.params.schema import Params

# Everything heavy is imported by the command that needs it: `twotone --help` answers at once, and the schema of
# params.yaml, which takes a tenth of a second, is none of coloring's.


class _Commands(TyperGroup):
    def resolve_command(self, context: Any, words: list[str]) -> Any:
        """Find the command; a photograph in its place has lost `colorize`."""
        if words and words[0] not in self.commands and Path(words[0]).exists():
            raise InputError(f"{words[0]} is no command; type `twotone colorize {words[0]}` to color it")
        return super().resolve_command(context, words)


app = typer.Typer(cls=_Commands, no_args_is_help=True)
_COLOR, _TRAIN, _COMPARE, _MODELS = "Color photographs", "Train", "Compare", "Models of others"
PARAMS, RECIPES, STATES = Path("params.yaml"), Path("recipes"), Path(".resume")
Changes = Annotated[
    list[str] | None, typer.Option("-S", "--set-param", help="As for dvc exp run: -S finetune.losses.l1=10")
]
Device = Annotated[
    str,
    typer.Option(
        help="What the network computes on: cuda, mps, directml, coreml, openvino or cpu; auto takes the first of "
        "them that is here."
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        help="A checkpoint folder or a .onnx file; default: export, finetune or pretrain of checkpoints/, else the "
        "starter model."
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        print(f"twotone {metadata.version('twotone-colorizer')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not say how far long work is.")] = False,
) -> None:
    """Color black-and-white photographs, and train the models that do."""
    if quiet:
        from pipeline.progress import QUIET

        # A variable, because `twotone seeds` starts other processes.
        os.environ[QUIET] = "1"


def main() -> None:
    sys.exit(exit_status(_run, "the command"))


def _run() -> int:
    try:
        app()
    except SystemExit as end:  # typer ends every command so
        return int(end.code or 0)
    except ModuleNotFoundError as error:
        raise InputError(missing_extra(f"this command needs {error.name}", "train")) from None
    return 0


@app.command(rich_help_panel=_COLOR, epilog="Example: twotone colorize photographs/ -o colored/")
def colorize(
    inputs: Annotated[
        list[str], typer.Argument(help="Photographs, films, folders (recursive), patterns; or - for standard input.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The folder of the colored copies, or the file of one; default: NAME-color beside each."
        ),
    ] = None,
    model: Model = None,
    render_size: Annotated[
        int | None, typer.Option(min=32, max=2048, help="Short side of what the network sees; default: as trained.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise, where the generator has some.")] = 0,
    samples: Annotated[int, typer.Option(min=1, max=100, help="Colorings of each, by seeds from --seed on.")] = 1,
    saturation: Annotated[float, typer.Option(min=0, max=10, help="Multiplies the chroma.")] = 1.0,
    smoothing: Annotated[
        float,
        typer.Option(min=0, max=0.99, help="For films: how much of its earlier color a thing keeps, along its motion."),
    ] = 0.9,
    format: Annotated[str | None, typer.Option(help="jpg, png, webp, tiff or bmp; default: as the photograph.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace colored copies that exist.")] = False,
    vivid: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="From 0, faithful (after pretraining), to 1, colorful (after fine-tuning); needs a model with a dial, "
            "such as one exported with export.dial true.",
        ),
    ] = None,
    own_lightness: Annotated[
        bool, typer.Option("--own-lightness", help="Show the output of a model of base.color_space rgb as it is.")
    ] = False,
    device: Device = "auto",
    damaged: Annotated[bool, typer.Option(help="Color what is there of photographs that are cut off.")] = False,
    hints: Annotated[
        Path | None,
        typer.Option(
            help="Colors for places of one photograph: a JSON file, or a copy with painted dots; default: "
            "NAME.hints.json or NAME.hints.png beside each."
        ),
    ] = None,
    no_hints: Annotated[bool, typer.Option("--no-hints", help="Leave hints beside photographs alone.")] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            help="A color picture of the same thing or place, such as a frame of a film that somebody has colored: "
            "photographs and films get its colors where they match. Needs the "
            "extras train, weights and hints."
        ),
    ] = None,
    compare: Annotated[bool, typer.Option(help="Also write each before and after, side by side.")] = False,
    jpeg_quality: Annotated[int, typer.Option(min=1, max=100, help="Of copies that are JPEG; never subsampled.")] = 95,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be colored, and write nothing.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say what the starter model has learnt, and how well it does.")
    ] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 200_000_000,
    shard: Annotated[
        str, typer.Option(help="3/16: every 16th file, from the third on; for an archive that several machines color.")
    ] = "1/1",
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="That color photographs side by side; default: one a core, where there are many."),
    ] = None,
) -> None:
    """Color photographs, and films, at their own size and lightness."""
    from pipeline.coloring.colorize import colorize as color_all
    from pipeline.coloring.jobs import Naming, parse_shard
    from pipeline.coloring.one_file import BatchOptions
    from pipeline.coloring.piped import STANDARD_INPUT, color_piped
    from pipeline.inference.colorizer import ColoringOptions

    ending = format.lower().removeprefix(".") if format else None
    naming = Naming(out, ending, tuple(range(seed, seed + samples)), compare, parse_shard(shard))
    coloring = ColoringOptions(render_size, seed, saturation, own_lightness)
    batch = BatchOptions(
        naming,
        coloring,
        smoothing,
        overwrite,
        max_pixels,
        damaged=damaged,
        vivid=vivid,
        hints=hints,
        look_for_hints=not no_hints,
        like=like,
        device=device,
        processes=processes,
        jpeg_quality=jpeg_quality,
        dry_run=dry_run,
        verbose=verbose,
    )
    raise typer.Exit(color_piped(model, batch) if inputs == [STANDARD_INPUT] else color_all(inputs, model, batch))


@app.command(rich_help_panel=_COLOR, epilog="Example: twotone serve --open")
def serve(
    model: Model = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen at.")] = 7860,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen at an address that other machines can reach.")
    ] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Larger pictures are not decoded.")] = 60_000_000,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are refused.")] = 100,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for one photograph.")] = 60,
    device: Device = "auto",
) -> None:
    """Color photographs on a web page of this machine."""
    try:
        from pipeline.page.server import Address, Limits, serve
    except ImportError as error:
        raise InputError(missing_extra(f"the page needs {error.name}", "serve")) from None
    limits = Limits(max_pixels, max_megabytes * 2**20, time_limit)
    serve(model, Address(host, port, allow_remote), limits, browser, device)


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone recipe vivid")
def recipe(name: Annotated[str | None, typer.Argument(help="Without it, list the recipes.")] = None) -> None:
    """Write a recipe into params.yaml and print what changed; then type dvc repro."""
    from pipeline.params import recipes

    if name is None:
        return _list_recipes()
    tree = recipes.compose(RECIPES, name)
    before_it = recipes.current(PARAMS)
    if before_it is None and PARAMS.is_file() and PARAMS.stat().st_size:
        raise InputError(
            f"{PARAMS}: cannot be read, and its values would be lost; mend it (`twotone check` says where), or move it "
            "away"
        )
    differences = list(recipes.changes(before_it, tree))
    recipes.write(tree, PARAMS)
    for key, before, after in differences:
        print(f"{key}: {_text(before)} -> {_text(after)}")
    print(f"{PARAMS} is {name} now, {len(differences)} values changed; next: dvc repro, or dvc exp run")
    return None


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone backbones efficientnet")
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="timm names, such as 'resnet*'; default: the tested ones.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Build it and measure a training step at the current size.")] = False,
) -> None:
    """List the timm backbones that can be the encoder of the U-Net."""
    params = _params()
    if check and pattern is None:
        raise InputError("--check needs the name of a backbone, such as: twotone backbones resnet50 --check")
    from pipeline.experiments.backbones import check_backbone, list_backbones

    if check:
        return check_backbone(str(pattern), params)
    raise typer.Exit(list_backbones(pattern, params))


Fingerprint = Annotated[str | None, typer.Argument(help="Its first digits; default: all.")]
Clear = Annotated[bool, typer.Option("--clear", help="Delete them: these trainings start anew.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete them without asking.")]


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone states 1c8b --clear")
def states(fingerprint: Fingerprint = None, clear: Clear = False, yes: Yes = False) -> None:
    """List or delete the saved states of interrupted trainings, which dvc repro goes on with."""
    from pipeline.experiments.saved_states import clear_trainings, list_trainings

    if clear:
        clear_trainings(STATES, PARAMS, fingerprint, ask=not yes)
    else:
        list_trainings(STATES, PARAMS, fingerprint)


@app.command(hidden=True)
def resume(fingerprint: Fingerprint = None, clear: Clear = False, yes: Yes = False) -> None:
    """Do what `twotone states` does: the old name."""
    print("note: `twotone resume` is `twotone states` now; `dvc repro` is what resumes a training", file=sys.stderr)
    states(fingerprint, clear, yes)


@app.command(rich_help_panel=_COMPARE, epilog="Example: twotone compare main")
def compare(
    revisions: Annotated[
        list[str] | None, typer.Argument(help="Commits, branches or experiments; default: pretrain of this run.")
    ] = None,
    colorizer: Annotated[str, typer.Option(help="Which colorizer of reports/evaluate/per_image.csv.")] = "finetune",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also draw the differences into this PNG.")] = None,
) -> None:
    """Compare the scores of this run with another's, photograph by photograph, and say whether they differ."""
    from pipeline.experiments.compare import compare as print_comparison

    print_comparison(revisions or [], colorizer, out)


@app.command(
    rich_help_panel=_COMPARE, epilog="Example: twotone score --true photographs --colored theirs --model starter"
)
def score(
    true: Annotated[Path, typer.Option("--true", help="The folder of the true color photographs.")],
    colored: Annotated[
        list[Path] | None, typer.Option("--colored", help="A folder of colored copies, by whomever; several times.")
    ] = None,
    model: Annotated[
        list[Path] | None, typer.Option("--model", help="A model that colors the photographs now; several times.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the results.")] = Path("score"),
    size: Annotated[int, typer.Option(min=32, max=2048, help="Short side at most that is compared, pixels.")] = 256,
    classifier: Annotated[bool, typer.Option(help="Also ask an ImageNet classifier; needs the extra weights.")] = True,
    lpips_weights: Annotated[str, typer.Option(help="none, fetch, or a path, as evaluate.lpips_weights.")] = "none",
    fid_weights: Annotated[str, typer.Option(help="none, fetch, or a path, as evaluate.fid_weights.")] = "none",
) -> None:
    """Measure colored photographs of any colorizer against the true ones, and compare colorizers."""
    from pipeline.experiments.score import ScoreRequest
    from pipeline.experiments.score import score as measure

    folders, models = tuple(colored or ()), tuple(model or ())
    measure(ScoreRequest(true, folders, models, out, size, classifier, lpips_weights, fid_weights))


@app.command(rich_help_panel=_COMPARE, epilog="Example: twotone report ../main -o report")
def report(
    before: Annotated[Path, typer.Argument(help="A checkout of what to compare with, where dvc repro has run.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of report.md and its pictures.")] = Path(
        "report"
    ),
    colorizer: Annotated[str, typer.Option(help="Which colorizer of reports/evaluate/per_image.csv.")] = "finetune",
) -> None:
    """Write Markdown for a pull request: metrics with intervals, loss curves, pictures before and after."""
    from pipeline.experiments.report import write_report

    write_report(before, Path(), out, colorizer)


@app.command(rich_help_panel=_COMPARE, epilog="Example: twotone seeds 123 124 125 -S pretrain.epochs=5")
def seeds(
    numbers: Annotated[list[int], typer.Argument(help="Values of base.seed, such as 123 124 125.")],
    changes: Changes = None,
) -> None:
    """Run the same experiment with several seeds, each in a folder of its own, and print mean and spread."""
    from pipeline.experiments.seeds import run_seeds

    run_seeds(numbers, changes or [])


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone inspect -o photographs.png")
def inspect(
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture of training photographs.")] = Path(
        "logs/inspect.png"
    ),
) -> None:
    """Show each network layer by layer, and training photographs as training will see them."""
    params = _params()
    from pipeline.experiments.inspect import inspect_data, inspect_networks

    inspect_networks(params)
    inspect_data(params, Path("data/sample"), out)


@app.command("import", rich_help_panel=_MODELS, epilog="Example: twotone import weights.pth -o checkpoints/theirs")
def import_(
    file: Annotated[Path, typer.Argument(help="Weights saved by torch: .pt, .pth, .pth.tar.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The checkpoint folder to write.")],
    architecture: Annotated[
        str | None, typer.Option(help="The generator's; default: the only one that the weights fit.")
    ] = None,
    image_size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the pictures it was trained on.")] = 256,
    discriminator: Annotated[
        Path | None, typer.Option(help="Weights of a PatchGAN, where they are in a file of their own.")
    ] = None,
) -> None:
    """Make a checkpoint folder of weights that other programs have trained."""
    from pipeline.importing.import_weights import Request, import_weights

    import_weights(Request(file, out, architecture, image_size, discriminator))


@app.command("lr-find", rich_help_panel=_TRAIN, epilog="Example: twotone lr-find pretrain")
def lr_find(
    stage: Annotated[str, typer.Argument(help="pretrain or finetune.")] = "pretrain",
    steps: Annotated[int, typer.Option(min=20, max=10_000, help="Steps, each with a higher rate.")] = 100,
    lowest: Annotated[
        float, typer.Option("--from", min=1e-12, max=0.1, help="The first rate; the last one is 1.")
    ] = 1e-6,
) -> None:
    """Look for a learning rate: train with a growing one, draw the loss, and suggest two. Nothing is published."""
    if stage not in ("pretrain", "finetune"):
        raise InputError(f"there are the stages pretrain and finetune, got {stage!r}")
    params = _params()
    from pipeline.data.shards import Photographs
    from pipeline.experiments.lr_find import Sweep, find, suggestions, write
    from stages import finetune, pretrain

    module: Any = finetune if stage == "finetune" else pretrain
    photographs = Photographs(Path("data/sample"), "train", params.base.image_size)
    objective = module.prepared(params)[0]
    sweep = Sweep(lowest, steps=steps)
    rows = find(objective, module.loader(params), photographs, sweep)
    key = "finetune.lr_generator" if stage == "finetune" else "pretrain.lr"
    (careful, bold), folder = suggestions(rows, sweep), Path("logs/lr-find", stage)
    write(rows, (careful, bold), key, folder)
    print(f"{key}: {careful:g} is careful and {bold:g} bold, after {len(rows)} steps; see {folder / 'lr-find.png'}")


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone check -S base.image_size=128")
def check(changes: Changes = None) -> None:
    """Check params.yaml, the source of photographs, weights and device, before dvc removes a stage's outs."""
    from pipeline.experiments.check import check_project

    check_project(PARAMS, changes or [])


@app.command(rich_help_panel=_TRAIN, epilog="Example: twotone doctor")
def doctor() -> None:
    """Show what is installed, which device and precision a run would use and why, and whether DVC and git are ready."""
    from pipeline.experiments.doctor import examine

    raise typer.Exit(examine(PARAMS))


def _params() -> Params:
    from pipeline.params.schema import read

    return read(PARAMS)


def _list_recipes() -> None:
    from pipeline.params import recipes
    from pipeline.tables import print_table

    names = recipes.names(RECIPES)
    if not names:
        raise InputError(f"no recipes in {RECIPES}/; run from the top of the project")
    print_table(("recipe", "what it is"), [(name, recipes.opening(RECIPES, name)[0]) for name in names])


def _text(value: Any) -> str:
    return "(absent)" if value is None else str(value)


if __name__ == "__main__":
    main()
