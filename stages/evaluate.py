"""evaluate: baselines and both generators on the test split -> reports/evaluate/."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from pipeline.data.shards import Photographs, held_out, split_names
from pipeline.evaluation.predictors import baselines, network_predictor
from pipeline.evaluation.report import Measured, protocol, write_report
from pipeline.evaluation.scoring import first_images, score_all
from pipeline.files import fresh_folder, publish
from pipeline.models.checkpoint import load_generator
from pipeline.params import Params
from pipeline.training.devices import start


def run(params: Params) -> None:
    block, seed, data = params.evaluate, params.base.seed, Path("data/sample")
    # As protocol.json says, and whatever training computed in.
    exact = params.base.model_copy(update={"precision": "fp32"})
    work, device = fresh_folder(Path("logs/evaluate")), start(exact).device
    split = held_out(data)
    if split != "test":
        tqdm.write("sample.test is 0: measuring on the photographs of validation")
    stages = [Path("checkpoints", name) for name in ("pretrain", "finetune")]
    kept = [file.parent for stage in stages for file in sorted(stage.glob("epoch-*/model.json"))]
    generators = {"-".join(folder.parts[1:]): load_generator(folder) for folder in (*stages, *kept)}
    final = generators["finetune"]
    train, test = (Photographs(data, name, final.config.image_size) for name in ("train", split))
    predictors = baselines(train, block.batch_size, block.lightness_bins)
    predictors |= {name: network_predictor(loaded, device, seed) for name, loaded in generators.items()}
    scores = score_all(predictors, test, split_names(data, split), block.batch_size)
    rows = {name: predictors[name] for name in ("gray", "pretrain", "finetune")}
    if final.config.generator.noise != "none":
        rows |= {f"seed {seed + more}": network_predictor(final, device, seed + more) for more in (1, 2)}
    images = first_images(rows, test, block.columns)
    names = [name for name in generators if name not in ("pretrain", "finetune")]
    write_report(work, scores, images, protocol(Measured(split, len(test), names), block.lightness_bins, final.config))
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))
