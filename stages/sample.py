"""sample: photographs -> data/sample/ (manifest.csv and uint8 shards)."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import fresh_folder, publish, write_json
from pipeline.params.schema import Params
from pipeline.sampling.draw import draw
from pipeline.sampling.sources import list_candidates


def run(params: Params) -> None:
    candidates = list_candidates(params.sample, params.base.seed)
    work = fresh_folder(Path("logs/sample"))
    data = fresh_folder(work / "data")
    counts = draw(candidates, params.sample, params.base.image_size, params.base.seed, data)
    write_json(work / "metrics.json", counts)
    publish(work / "metrics.json", Path("reports/sample/metrics.json"))
    publish(data, Path("data/sample"))
