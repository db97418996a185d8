"""Photographs from outside the sample: what training has seen in any form is not measured as unseen."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.data.shards import split_names
from pipeline.params.schema import Params
from pipeline.sampling.draw import draw
from pipeline.sampling.folder import folder
from pipeline.sampling.outside import OUTSIDE, take_all
from tests.helpers import save_photo


def test_what_training_has_seen_in_another_form_is_left_out(
    params: Params, tmp_path: Path, rng: np.random.Generator
) -> None:
    photographs, outside = tmp_path / "photographs", tmp_path / "elsewhere"
    photographs.mkdir()
    outside.mkdir()
    for number in range(8):
        save_photo(photographs / f"{number}.png", rng, (160, 120))
    sample = params.sample.model_copy(
        update={"source": "folder", "path": str(photographs), "train": 5, "valid": 2, "test": 1}
    )
    drawn, out = tmp_path / "drawn", tmp_path / "out"
    drawn.mkdir()
    out.mkdir()
    draw(folder(photographs), sample, 32, 0, drawn)
    seen = [*split_names(drawn, "train"), *split_names(drawn, "valid")]
    for name in seen:
        with Image.open(photographs / name) as image:
            stem = Path(name).stem
            image.save(outside / f"{stem}-again.bmp")
            image.save(outside / f"{stem}.jpg", quality=90)
            image.resize((120, 90)).save(outside / f"{stem}-small.png")
            ImageOps.mirror(image).save(outside / f"{stem}-mirrored.jpg")
        (outside / f"{stem}-copy.png").write_bytes((photographs / name).read_bytes())
    for name in ("new.png", "other.png"):
        save_photo(outside / name, rng, (160, 120))
    (outside / "same.png").write_bytes((outside / "new.png").read_bytes())
    (tested,) = split_names(drawn, "test")
    (outside / "tested.png").write_bytes((photographs / tested).read_bytes())
    take_all(outside, sample, 32, drawn, out)
    assert split_names(out, OUTSIDE) == ["new.png", "other.png", "tested.png"]
    with (out / "manifest.csv").open(encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["same.png"] == "same pixels as new.png"
    stem = Path(seen[0]).stem
    assert reasons[f"{stem}-copy.png"] == "training has seen it"
    assert reasons[f"{stem}-again.bmp"] == f"same pixels as {seen[0]}"
    for form in (".jpg", "-small.png", "-mirrored.jpg"):
        assert reasons[f"{stem}{form}"] == f"nearly the same as {seen[0]} in train"
