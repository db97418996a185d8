"""The model card: README.md beside an exported model, with its data, scores, limits and parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.config import GENERATOR_FILE, OF_DYNAMIC_UNET, ModelConfig, Training
from pipeline.params.schema import NOTHING, Params
from pipeline.training.plan import losses_text

# https://huggingface.co/docs/hub/model-cards: the front matter by which models are found.
_CARD = """---
license: {license}
library_name: onnx
pipeline_tag: image-to-image
tags:
- colorization
- image-to-image
- unet
{adversarial}metrics:
- ab_mae
- psnr
- ssim
- ciede2000
---

# Photo colorizer ({generator}, {image_size} px)

Colors black-and-white photographs: {task}. Trained by Twotone in two stages: {pretrain},
then {finetune}.

## Use

```bash
twotone colorize photographs/ -o colored/ --model generator.onnx
```

```python
from pipeline.inference import Colorizer

Colorizer.load("generator.onnx")(image)  # a PIL image, an array, or a batch
```

Without this project: `model.json` says what the input and output channels are, and what the sides must be a multiple
of. Lightness is the photograph's own; only color comes from the network.

## Data

{data}

## Evaluation

{measured} Means at {image_size} px. Lower is better for ab_mae, ciede2000 and colorfulness_delta. gray, constant and
lightness_table are baselines without a network.

{table}

The exported file: {exported}

## Limits

Colors are plausible at best, never evidence of what the colors were. The network knows the kind of photograph it was
trained on, at {image_size} px; on other subjects expect sepia and gray. Things whose color is free, such as clothes,
flags and painted walls, get the color that was most frequent in training. The network has the bias of its photographs,
for skin above all; do not use it to make claims about people.

## Parameters

```yaml
{parameters}
```
"""


_CHOSEN_BY = ", and by which the published epoch was chosen"
_ORDER = ("gray", "constant", "lightness_table", "pretrain", "pretrain_saturated", "finetune")
# What fits a page; reports/evaluate/metrics.json has all.
_SHOWN = (
    *("ab_mae", "psnr_rgb", "psnr_ab", "ssim", "ciede2000", "colorfulness", "colorfulness_delta", "auc"),
    *("auc_rebalanced", "near_gray", "top1"),
)


Metrics = dict[str, dict[str, float]]


def read_metrics(path: Path) -> Metrics:
    """reports/evaluate/metrics.json: each metric by predictor.

    Raises:
        ModelError: it is missing, or evaluate did not write it.
    """
    try:
        metrics: Metrics = json.loads(path.read_text(encoding="utf-8"))
        if not {"finetune", "lightness_table"} <= set(metrics):
            raise ValueError("no finetune in it")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); run the evaluate stage (dvc repro)") from None
    return metrics


def write_card(path: Path, params: Params, config: ModelConfig, scores: Metrics, exported: dict[str, Any]) -> None:
    """Write the card as Markdown.

    Args:
        config: of the fine-tuned generator.
        scores: what evaluate measured.
        exported: the metrics of the export stage: parity, and ab_mae and bytes by variant.
    """
    generator, sample = config.generator, params.sample
    body = f" on {generator.backbone}" if generator.architecture == "dynamic_unet" else ""
    lab = config.color_space == "lab"
    path.write_text(
        _CARD.format(
            license=params.export.license,
            generator=f"{generator.architecture}{body}",
            image_size=config.image_size,
            task="from L\\* to a\\* and b\\*" if lab else "from gray to RGB, of which the color is used",
            pretrain=_first_stage(params),
            finetune=_second_stage(params, config),
            adversarial=_adversarial_tags(params),
            data=f"{sample.train} photographs for training and {sample.valid} for validation, from the source "
            f"`{_source(params)}`, chosen by seed {params.base.seed}.",
            measured=_measured_on(params, config),
            table=_table(scores),
            exported=_exported(exported) + _dial(params),
            parameters=_parameters(params),
        ),
        encoding="utf-8",
    )


def _measured_on(params: Params, config: ModelConfig) -> str:
    sample = params.sample
    count, split = (sample.test, "the test split") if sample.test else (sample.valid, "the validation split")
    if sample.source == "bundled":
        return (
            f"On {count} regions of {split}. Training saw other regions of the same photographs: these numbers "
            "say nothing of other photographs."
        )
    before = earlier_training(params, config)
    if before:
        return (
            f"On {count} photographs of {split}, which this training has not seen. The model that it went on from was "
            f"trained on {before.photographs} photographs ({before.source}): these may be among them."
        )
    trained = (params.finetune,) if params.finetune.goes_on else (params.pretrain, params.finetune)
    chosen = not sample.test and any(block.publish == "best" and block.epochs for block in trained)
    return f"On {count} photographs of {split}, none of which were trained on{_CHOSEN_BY * chosen}."


def _source(params: Params) -> str:
    # Not the path: it is private, and does not say what the photographs are.
    return params.sample.dataset if params.sample.source == "fastai" else params.sample.source


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def earlier_training(params: Params, config: ModelConfig) -> Training | None:
    """Return what a model that this training went on from has learnt from, if there is one.

    Args:
        config: of the fine-tuned generator.
    """
    learnt = config.training
    if learnt is None:
        return None
    first_learns = params.pretrain.epochs > 0 or params.pretrain.start_from == NOTHING
    # Stages that teach nothing publish what they began with, and that has learnt elsewhere.
    from_elsewhere = _unchanged(config) and (params.finetune.goes_on or not first_learns)
    return learnt if from_elsewhere else learnt.before


def _unchanged(config: ModelConfig) -> bool:
    """Whether the second stage has published what it began with."""
    return config.began_with == config.sha256.get(GENERATOR_FILE)


def _first_stage(params: Params) -> str:
    if params.finetune.goes_on:
        return f"what the model {params.finetune.start_from} had learnt"
    if not params.pretrain.epochs:
        began = params.pretrain.start_from
        return "none of the first: " + ("weights that were drawn" if began == NOTHING else f"the model {began}")
    most = "up to " if params.pretrain.patience else ""
    best = ", of which the best is published" if params.pretrain.publish == "best" else ""
    learnt = f"{most}{_epochs(params.pretrain.epochs)} of {losses_text(params.pretrain.losses)} alone{best}"
    began = "" if params.pretrain.start_from == NOTHING else f" from the model {params.pretrain.start_from}"
    return learnt + began


def _adversarial_tags(params: Params) -> str:
    if not (params.finetune.judged and params.finetune.epochs):
        return ""
    return "- pix2pix\n" if params.discriminator.part else "- pix2pix\n- patchgan\n"


def _second_stage(params: Params, config: ModelConfig) -> str:
    block = params.finetune
    if not block.epochs:
        return "none of the second: published as it began"
    if _unchanged(config):
        return (
            f"{_epochs(block.epochs)} of a second stage, none of which was better than a saturation slider: "
            "this is what it began with"
        )
    epochs, losses = _epochs(block.epochs), losses_text(block.losses)
    best = ", of which the best is published" if block.publish == "best" and block.epochs > 1 else ""
    if not block.judged:
        return f"{epochs} of {losses}{best}"
    judge = params.discriminator
    named = judge.architecture if judge.part else f"a {judge.receptive_field}-pixel PatchGAN"
    return f"{epochs} against {named} ({block.adversarial_loss} + {losses}){best}"


def _table(scores: dict[str, dict[str, float]]) -> str:
    names = [name for name in _SHOWN if name in scores["finetune"]]
    rows = [["colorizer", *names], ["---"] * (len(names) + 1)]
    # Baselines first; what else there is follows.
    order = sorted(scores, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    rows += [[colorizer, *(f"{scores[colorizer][name]:.4g}" for name in names)] for colorizer in order]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _exported(exported: dict[str, Any]) -> str:
    parts = [
        f"{name} has an ab_mae of {measured['ab_mae']:.4g} in {measured['bytes'] / 2**20:.1f} MiB"
        for name, measured in exported.items()
        if name != "parity"
    ]
    worst = max(exported["parity"].values())
    return f"{'; '.join(parts)}. fp32 differs from torch by at most {worst:.2g} Lab units."


def _dial(params: Params) -> str:
    if not params.export.dial:
        return ""
    return (
        f" It has a dial (`--vivid`) from 0, the generator after the first stage, to 1, the one after the second, and "
        f"rests at {params.export.vivid:g}, where these errors are measured."
    )


def _parameters(params: Params) -> str:
    lines = []
    for block, values in params.model_dump(mode="json").items():
        if block in ("evaluate", "export"):
            continue
        lines.append(f"{block}:")
        # How it was run changes no model; the path is private.
        hidden = {"path", "num_workers", "trackers", "device", "processes", "save_every_minutes", "states"}
        # Only fastai's photographs come from a data set by that name.
        hidden |= set() if params.sample.source == "fastai" else {"dataset"}
        hidden |= set() if params.generator.architecture == "dynamic_unet" else set(OF_DYNAMIC_UNET)
        lines += [f"  {key}: {json.dumps(value)}" for key, value in values.items() if key not in hidden]
    return "\n".join(lines)
