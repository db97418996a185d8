"""Kinds of photographs by weight, and the square that is taken of one."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.shards import Photographs, split_names
from pipeline.errors import SourceError
from pipeline.params.schema import Params
from pipeline.sampling.draw import draw, resize_to_square
from pipeline.sampling.folder import folder
from pipeline.sampling.quotas import shared_out
from tests.helpers import save_photo


@pytest.fixture
def kinds(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twenty photographs of places, twelve of people, ten of nothing that anybody asked for."""
    root = tmp_path / "photos"
    for kind, count in (("places", 20), ("people", 12), ("other", 10)):
        (root / kind).mkdir(parents=True)
        for number in range(count):
            save_photo(root / kind / f"{number:02d}.png", rng)
    (root / "people/TERMS.txt").write_text("\nCC0 \nMore words.\n", encoding="utf-8")
    return root


def sample(params: Params, root: Path, out: Path, **keys: Any) -> dict[str, Any]:
    block = type(params.sample).model_validate(
        params.sample.model_dump() | {"source": "folder", "path": str(root)} | keys
    )
    out.mkdir()
    return draw(folder(root), block, 32, 5, out)


def counts(out: Path, split: str) -> Counter[str]:
    return Counter(name.split("/")[0] for name in split_names(out, split))


def test_training_photographs_are_shared_out_by_weight_and_held_out_ones_evenly(
    params: Params, kinds: Path, tmp_path: Path
) -> None:
    weights = {"places": 3, "people": 1}
    drawn = sample(params, kinds, tmp_path / "out", train=12, valid=4, test=6, weights=weights)
    assert counts(tmp_path / "out", "train") == {"places": 9, "people": 3}
    assert counts(tmp_path / "out", "valid") == {"places": 2, "people": 2}
    assert counts(tmp_path / "out", "test") == {"places": 3, "people": 3}
    assert drawn["kinds"] == {
        "places": {"train": 9, "valid": 2, "test": 3, "terms": "not stated"},
        "people": {"train": 3, "valid": 2, "test": 3, "terms": "CC0"},
    }
    assert json.loads((tmp_path / "out/sample.json").read_text(encoding="utf-8"))["kinds"] == drawn["kinds"]


def test_weights_may_be_a_text_and_are_refused_in_words(params: Params) -> None:
    block = params.sample.model_dump() | {"source": "folder"}
    assert type(params.sample).model_validate(block | {"weights": "places:2 people:0.5"}).weights == {
        "places": 2.0,
        "people": 0.5,
    }
    for wrong in ("places:0", "places", {"places": -1}, {}):
        with pytest.raises(ValueError, match="weights"):
            type(params.sample).model_validate(block | {"weights": wrong})


def test_a_kind_that_is_short_is_named(params: Params, kinds: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"not enough photographs.* of people.*12"):
        sample(params, kinds, tmp_path / "few", train=16, valid=2, test=2, weights={"places": 1, "people": 3})
    with pytest.raises(SourceError, match=r"of poeple \(there are 0\)"):
        sample(params, kinds, tmp_path / "typed", train=4, valid=2, test=2, weights={"places": 1, "poeple": 1})


def test_rejected_photographs_of_a_kind_are_replaced_by_others_of_it(
    params: Params, kinds: Path, tmp_path: Path
) -> None:
    for number in range(3):
        Image.new("RGB", (40, 40), (90, 90, 90)).save(kinds / f"people/{number:02d}.png")
    sample(params, kinds, tmp_path / "out", train=8, valid=2, test=2, weights={"places": 1, "people": 1})
    assert counts(tmp_path / "out", "train") == {"places": 4, "people": 4}
    with (tmp_path / "out/manifest.csv").open(newline="", encoding="utf-8") as file:
        assert not any(row["path"].startswith("other") for row in csv.DictReader(file))


def test_shares_are_whole_numbers_whose_sum_is_the_total() -> None:
    assert shared_out(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert shared_out(7, {"a": 5, "b": 1e-9}) == {"a": 7, "b": 0}


def test_a_random_square_is_decided_by_the_name_and_lies_anywhere(
    params: Params, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Columns of a wide photograph say where its square was cut."""
    across = np.tile(np.linspace(0, 255, 320).astype(np.uint8)[:, None], (64, 1, 3)).reshape(64, 320, 3)
    image = Image.fromarray(across)
    places = [resize_to_square(image, 64, "random", f"{n}.jpg").mean() for n in range(40)]
    assert min(places) < 40
    assert max(places) > 215
    assert resize_to_square(image, 64, "random", "0.jpg").mean() == places[0]
    root = tmp_path / "wide"
    root.mkdir()
    for number in range(12):
        save_photo(root / f"{number}.png", rng, (120, 32))
    for out in ("a", "b"):
        sample(params, root, tmp_path / out, train=6, valid=2, test=2, fit="random")
    assert (tmp_path / "a/manifest.csv").read_bytes() == (tmp_path / "b/manifest.csv").read_bytes()
    assert all(
        (Photographs(tmp_path / "a", "train", 32)[n] == Photographs(tmp_path / "b", "train", 32)[n]).all()
        for n in range(6)
    )
