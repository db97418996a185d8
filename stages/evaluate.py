"""evaluate: baselines and both generators on the test split, and on evaluate.photographs -> reports/evaluate/."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from pipeline.data.shards import Photographs, held_out, split_names
from pipeline.devices import start
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.classifier import Classifier
from pipeline.evaluation.dial import FACTORS, VIVID, At, curve
from pipeline.evaluation.hints import COLUMNS, hint_curve
from pipeline.evaluation.metrics import own_metrics, require_metric
from pipeline.evaluation.published_metrics import Fid, Lpips
from pipeline.evaluation.report import Measured, Pictures, protocol, write_report
from pipeline.evaluation.scoring import Judges, score_all
from pipeline.files import fresh_folder, publish, write_csv, write_json
from pipeline.models.checkpoint import LoadedGenerator, load_generator
from pipeline.models.config import GENERATOR_FILE
from pipeline.models.mixing import mixed
from pipeline.params.schema import FEWEST_FOR_FID, NO_PHOTOGRAPHS, Params
from pipeline.quality.color_statistics import ColorPrior
from pipeline.quality.predictor import Predictor, once, predictor
from pipeline.quality.saturation import Knob, mean_colorfulness, saturated
from pipeline.sampling.outside import OUTSIDE, take_all

_SAMPLE = Path("data/sample")


@dataclass(frozen=True)
class _Colorizers:
    """What is measured."""

    generators: dict[str, LoadedGenerator]
    networks: dict[str, Predictor]
    """The generators, as what colors."""
    predictors: dict[str, Predictor]
    """These and the baselines."""
    prior: ColorPrior
    factor: float
    """Of pretrain_saturated."""

    @property
    def size(self) -> int:
        return self.generators["finetune"].config.image_size


def run(params: Params) -> None:
    for metric in own_metrics(params.evaluate.metrics).values():
        require_metric(metric)
    # As protocol.json says, and whatever training computed in.
    exact = params.base.model_copy(update={"precision": "fp32"})
    work, device = fresh_folder(Path("logs/evaluate")), start(exact).device
    split = held_out(_SAMPLE)
    if split != "test":
        tqdm.write("sample.test is 0: measuring on the photographs of validation")
    colorizers = _colorizers(params, device)
    measure = partial(_measure, params, colorizers, device)
    measure(split, Photographs(_SAMPLE, split, colorizers.size), split_names(_SAMPLE, split), work)
    outside = fresh_folder(work / OUTSIDE)
    if params.evaluate.photographs == NO_PHOTOGRAPHS:
        write_json(outside / "metrics.json", {})
    else:
        data = fresh_folder(Path("logs/outside"))
        photographs = Path(params.evaluate.photographs)
        take_all(photographs, params.sample, colorizers.size, _SAMPLE, data)
        publish(data / "manifest.csv", outside / "manifest.csv")
        measure(OUTSIDE, Photographs(data, OUTSIDE, colorizers.size), split_names(data, OUTSIDE), outside)
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))


def _colorizers(params: Params, device: torch.device) -> _Colorizers:
    block, generators = params.evaluate, _generators(params)
    size = generators["finetune"].config.image_size
    train, valid = (Photographs(_SAMPLE, name, size) for name in ("train", "valid"))
    predictors, prior = baselines(train, block.batch_size, block.lightness_bins)
    networks = {
        name: once(predictor(one.network.to(device), one.space, device, params.base.seed))
        for name, one in generators.items()
    }
    knob = Knob(networks["pretrain"], valid, block.batch_size)
    factor = knob.factor(mean_colorfulness([networks["finetune"](batch)[1] for batch in knob.batches]))
    predictors |= networks | {"pretrain_saturated": saturated(networks["pretrain"], factor)}
    return _Colorizers(generators, networks, predictors, prior, factor)


def _measure(
    params: Params,
    colorizers: _Colorizers,
    device: torch.device,
    split: str,
    photographs: Photographs,
    names: list[str],
    out: Path,
) -> None:
    """Measure on the photographs of a split, and write all of it into `out`."""
    block, seed, generators = params.evaluate, params.base.seed, colorizers.generators
    judges = Judges(
        colorizers.prior,
        Classifier() if block.classifier != "none" else None,
        Lpips(block.lpips_weights) if block.lpips_weights != "none" else None,
        # The split has enough (pipeline/params/schema.py).
        Fid(block.fid_weights) if block.fid_weights != "none" and len(photographs) >= FEWEST_FOR_FID else None,
        own_metrics(block.metrics),
    )
    scores = score_all(colorizers.predictors, photographs, names, judges, block.batch_size)
    scores.fid = judges.fid.distances() if judges.fid else {}
    shown: dict[str, Predictor] = {name: colorizers.predictors[name] for name in ("gray", "pretrain", "finetune")}
    final = generators["finetune"]
    if final.config.generator.noise != "none":
        for more in (1, 2):
            shown[f"seed {seed + more}"] = predictor(final.network, final.space, device, seed + more)
    pictures = Pictures(photographs, shown, block.columns)
    kept = [name for name in generators if name not in ("pretrain", "finetune")]
    weights = {name: one.config.sha256[GENERATOR_FILE] for name, one in generators.items()}
    measured = Measured(
        split, photographs, kept, colorizers.factor, judges, params.sample.fit, weights, block.batch_size
    )
    write_report(out, scores, pictures, protocol(measured, block.lightness_bins, final.config), judges.own)
    # Between networks that have nothing in common there is no dial: its ends alone.
    settings = VIVID[:: len(VIVID) - 1] if params.finetune.goes_on else VIVID
    dial = curve(_dial(params, generators, device), settings, photographs, block.batch_size)
    write_csv(out / "dial.csv", dial, list(dial[0]))
    saturation = partial(saturated, colorizers.networks["pretrain"])
    knobs = curve(saturation, FACTORS, photographs, block.batch_size)
    write_csv(out / "knob.csv", knobs, list(knobs[0]))
    first = [photographs[number] for number in range(min(block.hints, len(photographs)))]
    write_csv(out / "hints.csv", hint_curve(final, first, seed, device), COLUMNS)


def _dial(params: Params, generators: dict[str, LoadedGenerator], device: torch.device) -> At:
    """Return the generator between both stages' as a function of the dial."""
    faithful, vivid = (generators[name].network for name in ("pretrain", "finetune"))
    between = load_generator(Path("checkpoints/finetune"), own_code=params.generator.part)

    def at(share: float) -> Predictor:
        between.network.to(device).load_state_dict(mixed(faithful, vivid, share))
        return predictor(between.network, between.space, device, params.base.seed)

    return at


def _generators(params: Params) -> dict[str, LoadedGenerator]:
    """Those of both stages, and of epochs that were kept: pretrain-epoch-0020."""
    stages = [Path("checkpoints", name) for name in ("pretrain", "finetune")]
    kept = [file.parent for stage in stages for file in sorted(stage.glob("epoch-*/model.json"))]
    return {
        "-".join(folder.parts[1:]): load_generator(folder, own_code=params.generator.part)
        for folder in (*stages, *kept)
    }
