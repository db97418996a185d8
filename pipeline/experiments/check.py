"""`twotone check`: what a run would refuse, found before dvc removes a stage's outs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError, ParamsError, TwotoneError
from pipeline.experiments.changes import as_one_value, changed
from pipeline.models.config import OF_DYNAMIC_UNET
from pipeline.params import recipes
from pipeline.params.schema import NOTHING, Params, absent, start_folder, unshareable

if TYPE_CHECKING:
    from torch import nn

# What the stages write.
_OUTS = ("data/sample", "checkpoints", "reports")


def check_project(path: Path, changes: list[str]) -> None:
    """Check the parameters, then all that they name; print a line for each.

    Args:
        path: params.yaml.
        changes: laid over it, as `dvc exp run -S` takes them.

    Raises:
        ParamsError: the schema refuses the parameters.
        InputError: they name a source, weights, a backbone or a device that a run would refuse.
    """
    experiments = changed(path, changes)
    for words, params in experiments:
        several = len(experiments) > 1
        print(f"{path} with {words}: valid" if several else f"{path}: valid")
        missing = absent(recipes.current(path), params)
        if missing:
            print(f"{path}: not in it, and taken as in quickstart: {', '.join(missing)}")
        needed = [entry for entry in missing if entry.partition(":")[0] in _read_by_dvc()]
        if needed:
            raise InputError(f"{path}: lacks what dvc.yaml reads; add to it {', '.join(needed)}")
        for sentence in without_effect(params):
            print(f"without effect: {sentence}")
        checks = (_device, _source, _generator, _starts, _own_parts, _judges, _plans, _known_to_git)
        problems = [problem for check in checks if (problem := _problem(check, params))]
        if problems:
            hint = as_one_value(path, changes)
            raise InputError("; ".join(filter(None, [words if several else "", *problems, hint])))


def _read_by_dvc() -> set[str]:
    """Return the keys whose values stand in dvc.yaml as ${block.key}; none where this is no project."""
    file = Path("dvc.yaml")
    return set(re.findall(r"\$\{([\w.]+)\}", file.read_text(encoding="utf-8"))) if file.is_file() else set()


def _problem(check: Callable[[Params], str], params: Params) -> str:
    try:
        print(check(params))
    except TwotoneError as error:
        return str(error)
    return ""


def _own_parts(params: Params) -> str:
    """Import the losses, schedules and metrics of one's own, and try them; sources and networks have been by then."""
    from pipeline.color.tensors import ColorSpace
    from pipeline.evaluation.metrics import own_metrics, require_metric
    from pipeline.params.schema import own_parts, part_of
    from pipeline.training.losses import has_gradient
    from pipeline.training.schedules import require_schedule, schedule

    used, without, space = list[str](), list[str](), ColorSpace(params.base.color_space)
    for name, metric in own_metrics(params.evaluate.metrics).items():
        require_metric(metric)
        used.append(name)
    for key, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        each = params.sample.train // block.batch_size
        steps = block.epochs * min(each, block.epoch_steps or each)
        require_schedule(schedule(block.schedule, f"{key}.schedule"), steps)
        for name in block.losses:
            if part_of("losses", name) and not has_gradient(name, space, params.base.image_size):
                without.append(name)
        used += [part for part in own_parts(params, block) if part not in used]
    deaf = f"; on noise, nothing learns from {', '.join(without)}, which has no gradient" if without else ""
    return f"parts of your own: {', '.join(used) or 'none'}{deaf}"


def _device(params: Params) -> str:
    import torch

    from pipeline.checkpointing.remote import Remote
    from pipeline.devices import choose_device, choose_precision, require_devices
    from pipeline.trackers import require_trackers

    device = choose_device(params.base.device, params.base.deterministic)
    precision = choose_precision(params.base.precision, device)
    require_trackers(params.base.trackers)
    if params.base.processes != "auto":
        require_devices(device, params.base.processes)
    elif device == "cuda":
        for key, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
            if block.epochs:
                problems = unshareable(key, block.batch_size, block.micro_batch, torch.cuda.device_count())
                if problems:
                    raise ParamsError(problems[0])
    copies = "" if Remote.of(params.base.states) is None else f", states also at {params.base.states}"
    return f"base: {device}, {precision}{copies}"


def _source(params: Params) -> str:
    from pipeline.sampling.draw import refuse_impossible
    from pipeline.sampling.sources import list_candidates

    sample = params.sample
    if sample.source == "fastai":
        from pipeline.sampling.fastai_data import require_dataset

        require_dataset(sample.dataset)
        return f"sample: fastai's {sample.dataset}, which is downloaded when it is sampled"
    if sample.source == "folder":
        _require_what_dvc_takes("sample.path", Path(sample.path))
    candidates = list_candidates(sample, params.base.seed)
    refuse_impossible(candidates, sample)
    return f"sample: {len(candidates)} photographs or regions in {sample.path}, not yet decoded"


def _require_what_dvc_takes(key: str, folder: Path) -> None:
    """Refuse a folder that dvc does not take.

    Raises:
        InputError: dvc would stop at the folder or at a name in it.
    """
    real = folder.resolve()
    for out in map(Path, _OUTS):
        place = out.resolve()
        if real == place or real in place.parents or place in real.parents:
            raise InputError(f"{key} {folder}: must neither hold nor lie in {out}/, which the stages write")
    odd = [file for file in folder.rglob("*") if not str(file).isprintable() or not file.exists()]
    odd = [file for file in odd if not _is_utf8(file) or file.is_symlink()]
    if odd:
        what = "a link to nothing" if odd[0].is_symlink() else "a name that is no UTF-8"
        more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise InputError(f"{key}: {str(odd[0])!a} is {what}{more}; dvc stops there: rename it or delete it")


def _is_utf8(file: Path) -> bool:
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return False
    return True


def _generator(params: Params) -> str:
    import torch

    from pipeline.color.tensors import ColorSpace
    from pipeline.export.onnx_export import require_exportable
    from pipeline.models.checkpoint import LoadedGenerator
    from pipeline.models.config import ModelConfig
    from pipeline.models.generators import build_generator

    space, generator = ColorSpace(params.base.color_space), params.generator
    if generator.architecture == "dynamic_unet":
        from pipeline.models.weights import require_weights

        require_weights(generator.backbone, generator.weights)
        if generator.weights not in ("none", "imagenet"):
            _require_safetensors(Path(generator.weights))
    shapes_only = generator.model_copy(update={"weights": "none"})
    if generator.part:
        network = build_generator(shapes_only, space, params.base.image_size, seed=0)
        config = ModelConfig.describe(shapes_only, params.base.color_space, params.base.image_size)
        require_exportable(LoadedGenerator(network.eval(), config))
    else:
        with torch.device("meta"):  # on shapes alone
            network = build_generator(shapes_only, space, params.base.image_size, seed=0)
            _require_forward(network, space.in_channels, params.base.image_size)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return f"generator: {generator.architecture}, {millions:.1f} M parameters, weights {generator.weights}"


def _require_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            file.keys()
    except (SafetensorError, OSError) as error:
        raise InputError(f"generator.weights {path}: no file of safetensors: {error}") from None


def _require_forward(network: nn.Module, channels: int, size: int) -> None:
    """Compute shapes alone, on torch's device meta.

    Raises:
        InputError: a layer does not fit the one before it.
    """
    import torch

    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"generator: its layers do not fit each other at {size} px: {error}") from None


def _starts(params: Params) -> str:
    from pipeline.models.checkpoint import load_discriminator, load_start
    from pipeline.models.config import ModelConfig, read_config

    asked = ModelConfig.describe(params.generator, params.base.color_space, params.base.image_size)
    named = {"pretrain.start_from": params.pretrain.start_from, "finetune.start_from": params.finetune.start_from}
    starts = {key: folder for key, name in named.items() if (folder := start_folder(name))}
    for key, folder in starts.items():
        if not folder.is_dir():
            raise InputError(
                f"{key} {folder}: no such folder; allowed: the name of one in checkpoints/ with a model, or {NOTHING}"
            )
        load_start(folder, asked, key, seed=0)
        if key == "finetune.start_from" and params.finetune.judged:
            judge = _judge(params)
            load_discriminator(folder, read_config(folder), judge, params.discriminator)
    return f"start: {', '.join(f'{key} {folder}' for key, folder in starts.items()) or 'from nothing'}"


def _judge(params: Params) -> nn.Module:
    from pipeline.color.tensors import ColorSpace
    from pipeline.models.discriminators import build_discriminator

    return build_discriminator(params.discriminator, ColorSpace(params.base.color_space), 0, params.base.image_size)


def _judges(params: Params) -> str:
    from pipeline.evaluation.classifier import Classifier
    from pipeline.evaluation.published_metrics import Fid, Lpips
    from pipeline.models.imagenet_features import imagenet_classifier
    from pipeline.params.schema import NO_PHOTOGRAPHS
    from pipeline.sampling.folder import folder

    if params.finetune.judged:
        _judge(params)
    for key, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        if block.epochs and "feature_lite0" in block.losses:
            imagenet_classifier(f"{key}.losses")
    if params.evaluate.classifier != "none":
        Classifier()
    if params.evaluate.lpips_weights != "none":
        Lpips(params.evaluate.lpips_weights)
    if params.evaluate.fid_weights != "none":
        Fid(params.evaluate.fid_weights)
    asked, outside = params.evaluate, ""
    if asked.photographs != NO_PHOTOGRAPHS:
        found = folder(Path(asked.photographs), key="evaluate.photographs")
        _require_what_dvc_takes("evaluate.photographs", Path(asked.photographs))
        outside = f", {len(found)} photograph(s) in {asked.photographs}"
    return f"evaluate: classifier {asked.classifier}, LPIPS {asked.lpips_weights}, FID {asked.fid_weights}{outside}"


def _plans(params: Params) -> str:
    from pipeline.training.plan import plan

    lines: list[str] = []
    for stage, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        each = params.sample.train // block.batch_size
        lines += plan(stage, block, block.epochs * min(each, block.epoch_steps or each))
    return "\n".join(lines)


def _known_to_git(_params: Params) -> str:
    """Say which files an experiment in a copy would not have: DVC copies what git knows."""
    command = ["git", "ls-files", "--others", "--exclude-standard", "--", "parts", "pipeline", "stages", "dvc.yaml"]
    try:
        found = subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.split()
    except OSError:
        found = []
    if not found:
        return "git: no file of the code is unknown to it"
    return (
        f"git: does not know {', '.join(found[:5])}; `dvc exp run --temp` and `--queue` leave such files out: type git "
        f"add {' '.join(found[:5])}"
    )


def _unlearnt(params: Params) -> Iterator[str]:
    """Yield a sentence where pretrain leaves an encoder with random weights as it is."""
    block, generator = params.pretrain, params.generator
    drawn = generator.architecture == "dynamic_unet" and generator.weights == "none" and block.start_from == "none"
    frozen = not block.encoder_lr_factor or block.freeze_epochs == block.epochs
    if drawn and frozen and block.epochs:
        yield "pretrain for the backbone: its weights are drawn, and frozen in every epoch of that stage"


def without_effect(params: Params) -> list[str]:
    """Return a sentence for each value that changes nothing beside the others."""
    generator, found = params.generator, []
    defaults = type(generator)()
    if generator.architecture != "dynamic_unet":
        others = [key for key in OF_DYNAMIC_UNET if getattr(generator, key) != getattr(defaults, key)]
        found += [f"generator.{key}, which {generator.architecture} does not have" for key in others]
    elif generator.decoder == "halved" and generator.last_cross:
        found.append("generator.last_cross, which decoder halved does not have")
    judge = params.discriminator
    if judge.part:
        kept = type(judge)(architecture=judge.architecture)
        others = [key for key in type(judge).model_fields if getattr(judge, key) != getattr(kept, key)]
        found += [f"discriminator.{key}, which is for patchgan" for key in others]
    if params.export.vivid != 1 and not params.export.dial:
        found.append("export.vivid, without export.dial")
    if generator.weights != "none" and params.pretrain.start_from != "none":
        found.append(f"generator.weights, since pretrain starts from the weights of {params.pretrain.start_from}")
    if params.pretrain.patience >= params.pretrain.epochs > 0:
        found.append(f"pretrain.patience {params.pretrain.patience}: there are {params.pretrain.epochs} epochs")
    if params.pretrain.freeze_epochs and not params.pretrain.encoder_lr_factor:
        found.append("pretrain.freeze_epochs, since encoder_lr_factor 0 freezes the encoder in every epoch")
    found += _unlearnt(params)
    if params.finetune.adversarial_loss == "none":
        if params.discriminator != type(params.discriminator)():
            found.append("discriminator, since finetune.adversarial_loss is none")
        if params.finetune.lr_discriminator != type(params.finetune)().lr_discriminator:
            found.append("finetune.lr_discriminator, since finetune.adversarial_loss is none")
    if params.sample.dataset != type(params.sample)().dataset and params.sample.source != "fastai":
        found.append(f"sample.dataset, since sample.source is {params.sample.source}")
    for name, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        each = params.sample.train // block.batch_size
        if not generator.hints and block.without_hints != type(block)().without_hints:
            found.append(f"{name}.without_hints, without generator.hints")
        if block.epochs and block.epoch_steps > each:
            found.append(f"{name}.epoch_steps {block.epoch_steps}: an epoch has {each} steps")
        late = [epoch for epoch in block.sample_epochs if epoch > block.epochs]
        if late and block.epochs:
            found.append(f"{name}.sample_epochs beyond {block.epochs}, the last epoch: {', '.join(map(str, late))}")
    return found
