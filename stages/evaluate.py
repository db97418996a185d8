"""evaluate: baselines and both generators on the test split -> reports/evaluate/."""

from __future__ import annotations

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
from pipeline.evaluation.published_metrics import Fid, Lpips
from pipeline.evaluation.report import Measured, Pictures, protocol, write_report
from pipeline.evaluation.scoring import Judges, score_all
from pipeline.files import fresh_folder, publish, write_csv
from pipeline.models.checkpoint import LoadedGenerator, load_generator
from pipeline.models.config import GENERATOR_FILE
from pipeline.models.mixing import mixed
from pipeline.params.schema import Params
from pipeline.quality.predictor import Predictor, once, predictor
from pipeline.quality.saturation import Knob, mean_colorfulness, saturated

_SAMPLE = Path("data/sample")


def run(params: Params) -> None:
    block, seed = params.evaluate, params.base.seed
    # As protocol.json says, and whatever training computed in.
    exact = params.base.model_copy(update={"precision": "fp32"})
    work, device = fresh_folder(Path("logs/evaluate")), start(exact).device
    split = held_out(_SAMPLE)
    if split != "test":
        tqdm.write("sample.test is 0: measuring on the photographs of validation")
    generators = _generators()
    final = generators["finetune"].config
    train, valid, test = (Photographs(_SAMPLE, name, final.image_size) for name in ("train", "valid", split))
    predictors, prior = baselines(train, block.batch_size, block.lightness_bins)
    judges = Judges(
        prior,
        Classifier() if block.classifier != "none" else None,
        Lpips(block.lpips_weights) if block.lpips_weights != "none" else None,
        Fid(block.fid_weights) if block.fid_weights != "none" else None,
    )
    networks = {
        name: once(predictor(one.network.to(device), one.space, device, seed)) for name, one in generators.items()
    }
    knob = Knob(networks["pretrain"], valid, block.batch_size)
    factor = knob.factor(mean_colorfulness([networks["finetune"](batch)[1] for batch in knob.batches]))
    predictors |= networks | {"pretrain_saturated": saturated(networks["pretrain"], factor)}
    scores = score_all(predictors, test, split_names(_SAMPLE, split), judges, block.batch_size)
    shown: dict[str, Predictor] = {name: predictors[name] for name in ("gray", "pretrain", "finetune")}
    if final.generator.noise != "none":
        for more in (1, 2):
            one = generators["finetune"]
            shown[f"seed {seed + more}"] = predictor(one.network, one.space, device, seed + more)
    pictures = Pictures(test, shown, block.columns)
    kept = [name for name in generators if name not in ("pretrain", "finetune")]
    weights = {name: one.config.sha256[GENERATOR_FILE] for name, one in generators.items()}
    measured = Measured(split, test, kept, factor, judges, params.sample.fit, weights, block.batch_size)
    write_report(work, scores, pictures, protocol(measured, block.lightness_bins, final))
    # Between networks that have nothing in common there is no dial: its ends alone.
    settings = VIVID[:: len(VIVID) - 1] if params.finetune.goes_on else VIVID
    dial = curve(_dial(generators, device, seed), settings, test, block.batch_size)
    write_csv(work / "dial.csv", dial, list(dial[0]))
    knobs = curve(partial(saturated, networks["pretrain"]), FACTORS, test, block.batch_size)
    write_csv(work / "knob.csv", knobs, list(knobs[0]))
    first = [test[number] for number in range(min(block.hints, len(test)))]
    write_csv(work / "hints.csv", hint_curve(generators["finetune"], first, seed, device), COLUMNS)
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))


def _dial(generators: dict[str, LoadedGenerator], device: torch.device, seed: int) -> At:
    """Return the generator between both stages' as a function of the dial."""
    faithful, vivid = (generators[name].network for name in ("pretrain", "finetune"))
    between = load_generator(Path("checkpoints/finetune"))

    def at(share: float) -> Predictor:
        between.network.to(device).load_state_dict(mixed(faithful, vivid, share))
        return predictor(between.network, between.space, device, seed)

    return at


def _generators() -> dict[str, LoadedGenerator]:
    """Those of both stages, and of epochs that were kept: pretrain-epoch-0020."""
    stages = [Path("checkpoints", name) for name in ("pretrain", "finetune")]
    kept = [file.parent for stage in stages for file in sorted(stage.glob("epoch-*/model.json"))]
    return {"-".join(folder.parts[1:]): load_generator(folder) for folder in (*stages, *kept)}
