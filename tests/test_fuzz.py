"""Bytes that come in: whatever they are, only the documented errors come out."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save

from pipeline.checkpointing.store import read_state
from pipeline.data.shards import split_names
from pipeline.errors import ImageError, ModelError, ParamsError, SampleError, SavedStateError, WeightsError
from pipeline.importing.foreign_weights import read_weights
from pipeline.media.pictures import read_picture
from pipeline.models.config import FORMAT, read_config
from pipeline.params.schema import parse, read
from pipeline.sampling.photographs import decode
from tests.helpers import QUICKSTART

EXAMPLES = pytest.mark.parametrize("examples", [100, pytest.param(2000, marks=pytest.mark.slow)])
LIMIT = 50_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def thorough(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut, with bytes changed and bytes put in; or bytes of no meaning at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    changed = bytearray(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)
    for position in draw(st.lists(st.integers(0, max(len(changed) - 1, 0)), max_size=8)):
        if changed:
            changed[position] = draw(st.integers(0, 255))
    place = draw(st.integers(0, len(changed)))
    changed[place:place] = draw(st.binary(max_size=12))
    return bytes(changed)


def photographs() -> list[tuple[str, bytes]]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    pillow_heif.register_heif_opener()
    files = []
    for ending, kind in (
        ("jpg", "JPEG"),
        ("png", "PNG"),
        ("webp", "WEBP"),
        ("bmp", "BMP"),
        ("tif", "TIFF"),
        ("gif", "GIF"),
        ("avif", "AVIF"),
        ("heic", "HEIF"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        files.append((ending, buffer.getvalue()))
    return files


@EXAMPLES
def test_the_decoder_gives_pixels_or_a_reason(tmp_path: Path, examples: int) -> None:
    @thorough(examples)
    @given(st.sampled_from(photographs()).flatmap(lambda file: st.tuples(st.just(file[0]), damaged(file[1]))))
    def try_it(file: tuple[str, bytes]) -> None:
        path = tmp_path / f"photo.{file[0]}"
        path.write_bytes(file[1])
        for reader in (decode, read_picture):
            with suppress(ImageError):
                pixels = reader(path, LIMIT).pixels
                assert pixels.shape[0] * pixels.shape[1] <= LIMIT

    try_it()


@EXAMPLES
def test_the_manifest_gives_names_or_a_sample_error(tmp_path: Path, examples: int) -> None:
    good = b"path,sha256,width,height,mean_chroma,split,reason\na.jpg,00,10,10,5.0,train,\nb.jpg,01,9,9,7.0,test,\n"

    @thorough(examples)
    @given(damaged(good))
    def try_it(content: bytes) -> None:
        (tmp_path / "manifest.csv").write_bytes(content)
        with suppress(SampleError):
            assert all(isinstance(name, str) for name in split_names(tmp_path, "train"))

    try_it()


@EXAMPLES
def test_model_json_gives_a_config_or_a_model_error(tmp_path: Path, examples: int) -> None:
    good = {
        "format": 1,
        "generator": json.loads(
            json.dumps(YAML(typ="safe").load((QUICKSTART).read_text(encoding="utf-8"))["generator"])
        ),
        "color_space": "lab",
        "image_size": 64,
        "sha256": {"generator.safetensors": "00"},
    }
    as_bytes = damaged(json.dumps(good).encode())
    as_tree = st.dictionaries(st.sampled_from(list(good)), VALUES).map(lambda odd: json.dumps({**good, **odd}).encode())

    @thorough(examples)
    @given(as_bytes | as_tree | VALUES.map(lambda value: json.dumps(value).encode()))
    def try_it(content: bytes) -> None:
        (tmp_path / "model.json").write_bytes(content)
        with suppress(ModelError):
            assert read_config(tmp_path).format == FORMAT

    try_it()


@EXAMPLES
def test_params_are_parsed_or_refused(tmp_path: Path, examples: int) -> None:
    text = (QUICKSTART).read_bytes()
    tree = YAML(typ="safe").load(text)
    keys = [(block, key) for block, own in tree.items() for key in own]

    @thorough(examples)
    @given(st.tuples(st.sampled_from(keys), VALUES), damaged(text))
    def try_it(odd: tuple[tuple[str, str], Any], content: bytes) -> None:
        (block, key), value = odd
        with suppress(ParamsError):
            parse({**tree, block: {**tree[block], key: value}})
        (tmp_path / "params.yaml").write_bytes(content)
        with suppress(ParamsError):
            read(tmp_path / "params.yaml")

    try_it()


@EXAMPLES
def test_weights_of_other_programs_are_read_or_refused(tmp_path: Path, examples: int) -> None:
    file = io.BytesIO()
    torch.save({"state_dict": {"conv.weight": torch.zeros(2, 1, 3, 3)}}, file)

    @thorough(examples)
    @given(damaged(file.getvalue()))
    def try_it(content: bytes) -> None:
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        with suppress(WeightsError):
            assert all(isinstance(value, torch.Tensor) for value in read_weights(path).values())

    try_it()


@EXAMPLES
def test_saved_state_is_read_or_refused(tmp_path: Path, examples: int) -> None:
    about = json.dumps({"epoch": 1, "batches": 0, "values": {}})
    block = save({"w": torch.zeros(4)}, {"about": about})

    @thorough(examples)
    @given(damaged(block), st.booleans())
    def try_it(content: bytes, sealed: bool) -> None:
        head = hashlib.sha256(content).hexdigest().encode() if sealed else b"00"
        path = tmp_path / "000001-00000000.state"
        path.write_bytes(b"twotone-state-1 " + head + b"\n" + content)
        with suppress(SavedStateError):
            assert isinstance(read_state(path).contents, dict)

    try_it()
