"""sample: photographs -> data/sample/ (manifest.csv and uint8 shards)."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from pipeline.distributed.world import rank, world_size
from pipeline.files import fresh_folder, publish, write_json
from pipeline.params.schema import Params
from pipeline.sampling.candidates import Candidates
from pipeline.sampling.draw import Examiners, draw
from pipeline.sampling.sources import list_candidates
from stages.dvc import code_files


def run(params: Params) -> None:
    candidates = list_candidates(params.sample, params.base.seed)
    if world_size() == 1:
        _draw(params, candidates, None)
    else:
        _share(params, candidates)


def _share(params: Params, candidates: Candidates) -> None:
    """Draw with the other processes that torchrun or srun has started: the first writes, and all decode."""
    # torch takes seconds to import, and a process alone needs none.
    from pipeline.distributed.group import Group, leave
    from pipeline.sampling.team import Team

    group = Group(rank(), world_size())
    try:
        team = Team(group, candidates, params.sample, params.base.image_size, _same(params))
        if group.first:
            with team:
                _draw(params, candidates, team)
        else:
            team.help()
    finally:
        leave()


def _same(params: Params) -> str:
    """Return a text that differs where another sample would be drawn; photographs may lie elsewhere."""
    code = hashlib.sha256(b"".join(file.read_bytes() for file in code_files("sample"))).hexdigest()
    packages = {name: version(name) for name in ("numpy", "pillow")}
    sample = params.sample.model_dump(mode="json", exclude={"path"})
    return json.dumps([sample, params.base.image_size, params.base.seed, code, packages])


def _draw(params: Params, candidates: Candidates, examiners: Examiners | None) -> None:
    work = fresh_folder(Path("logs/sample"))
    data = fresh_folder(work / "data")
    counts = draw(candidates, params.sample, params.base.image_size, params.base.seed, data, examiners)
    write_json(work / "metrics.json", counts)
    publish(work / "metrics.json", Path("reports/sample/metrics.json"))
    publish(data, Path("data/sample"))
