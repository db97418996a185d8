"""evaluate: baselines and both generators on the test split -> reports/evaluate/."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.shards import Photographs, split_names
from pipeline.evaluation.predictors import baselines, network_predictor
from pipeline.evaluation.report import protocol, write_report
from pipeline.evaluation.scoring import first_images, score_all
from pipeline.files import fresh_folder, publish
from pipeline.models.checkpoint import load_generator
from pipeline.params import Params
from pipeline.training.devices import start


def run(params: Params) -> None:
    block, seed, data = params.evaluate, params.base.seed, Path("data/sample")
    work, device = fresh_folder(Path("logs/evaluate")), start(params.base).device
    generators = {name: load_generator(Path("checkpoints", name)) for name in ("pretrain", "finetune")}
    final = generators["finetune"]
    train, test = (Photographs(data, split, final.config.image_size) for split in ("train", "test"))
    predictors = baselines(train, block.batch_size, block.lightness_bins)
    predictors |= {name: network_predictor(loaded, device, seed) for name, loaded in generators.items()}
    scores = score_all(predictors, test, split_names(data, "test"), block.batch_size)
    rows = {name: predictors[name] for name in ("gray", "pretrain", "finetune")}
    if final.config.generator.noise != "none":
        rows |= {f"seed {seed + more}": network_predictor(final, device, seed + more) for more in (1, 2)}
    images = first_images(rows, test, block.columns)
    write_report(work, scores, images, protocol(len(test), block.lightness_bins, final.config))
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))
