"""A model on disk: weights as safetensors, and model.json that says what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.errors import BackboneError, ModelError
from pipeline.models.config import (
    CHANGE,
    FAITHFUL,
    GENERATOR_FILE,
    ONNX_FILE,
    Discriminator,
    ModelConfig,
    read_config,
    read_weights,
    write_config,
)
from pipeline.models.generators import NoiseInput, build_generator
from pipeline.models.hints import Hinted, begin_without_hints


@dataclass(frozen=True)
class LoadedGenerator:
    network: nn.Module
    config: ModelConfig

    @property
    def space(self) -> ColorSpace:
        return ColorSpace(self.config.color_space)


def save_model(folder: Path, networks: Mapping[str, nn.Module], config: ModelConfig) -> None:
    """Write <name>.safetensors for each network, and model.json with their checksums.

    Raises:
        OSError: it could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, network in networks.items():
        content = _content(network)
        (folder / f"{name}.safetensors").write_bytes(content)
        digests[f"{name}.safetensors"] = hashlib.sha256(content).hexdigest()
    write_config(folder, config.model_copy(update={"sha256": digests}))


def load_generator(folder: Path, *, own_code: str = "") -> LoadedGenerator:
    """Build the generator again, in evaluation mode, on the CPU; from the exported file where a folder has no other.

    Args:
        own_code: the network of one's own that may be built, as module:function of the parameters. A model, which may
            be somebody else's, must not choose what runs here.

    Raises:
        ModelError: a file is missing, damaged, or not what model.json says; or timm does not know its backbone; or it
            is a network of one's own.
        ParamsError: a network of one's own cannot be built.
    """
    config = read_config(folder)
    if config.generator.own and config.generator.part != (own_code or None):
        raise ModelError(
            f"{folder}: its network is made by {config.generator.architecture}, and a model must not choose what runs "
            "here; color with what `export` makes of it, checkpoints/export, which needs no code. A stage builds it "
            "where generator.architecture names it and it is installed"
        )
    # Its weights are in the file: those that the encoder started from are not needed again.
    params = config.generator.model_copy(update={"weights": "none"})
    try:
        network = build_generator(params, ColorSpace(config.color_space), config.image_size, seed=0)
    except BackboneError as error:
        raise ModelError(
            f"{folder / 'model.json'}: {error}; timm {version('timm')} is installed here: install the version that "
            "the model was trained with"
        ) from None
    if (folder / GENERATOR_FILE).exists() or not (folder / ONNX_FILE).exists():
        load_weights(network, folder, "generator", config)
    else:
        _load_exported(network, folder, config)
    return LoadedGenerator(network.eval(), config)


def load_start(folder: Path, asked: ModelConfig, key: str, seed: int) -> LoadedGenerator:
    """Load the generator that a training goes on from.

    Where only the asked one takes hints, it learns to. Where only the folder's does, a dynamic_unet goes on without.

    Args:
        asked: the network that the parameters ask for.
        key: of params.yaml, that names the folder.
        seed: of the weights that a generator without hints has not.

    Raises:
        ModelError: no model there, a damaged one, or another network; says in what.
        ParamsError: a network of one's own cannot be built.
    """
    config = read_config(folder)
    if config.generator.own:
        require_same_architecture(folder, config, asked, key)  # so the parameters name its code, too
    loaded = load_generator(folder, own_code=asked.generator.part)
    if asked.generator.hints and not loaded.config.generator.hints:
        params = loaded.config.generator.model_copy(update={"weights": "none", "hints": True})
        network = build_generator(params, loaded.space, loaded.config.image_size, seed)
        begin_without_hints(network, loaded.network)
        update = {"generator": loaded.config.generator.model_copy(update={"hints": True})}
        loaded = LoadedGenerator(network.eval(), loaded.config.model_copy(update=update))
    elif isinstance(loaded.network, Hinted) and not asked.generator.hints:
        update = {"generator": loaded.config.generator.model_copy(update={"hints": False})}
        loaded = LoadedGenerator(loaded.network.network.eval(), loaded.config.model_copy(update=update))
    require_same_architecture(folder, loaded.config, asked, key)
    return loaded


def require_same_architecture(folder: Path, config: ModelConfig, asked: ModelConfig, key: str) -> None:
    """Check that the model of a folder is the network that the parameters ask for.

    Args:
        key: of params.yaml, that names the folder.

    Raises:
        ModelError: they differ; says in what.
    """
    ours, theirs = asked.network(), config.network()
    differences = [
        f"{name} is {ours.get(name)!r} here and {theirs.get(name)!r} there"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if differences:
        raise ModelError(
            f"{key} {folder}: another network: {', '.join(differences)}; ask for what {folder}/model.json says"
        )


def load_discriminator(folder: Path, config: ModelConfig, network: nn.Module, params: Discriminator) -> bool:
    """Fill a discriminator, made by params, from the folder's, where it has one; says whether it has.

    Raises:
        ModelError: the folder's is damaged or of another network.
    """
    if not (folder / "discriminator.safetensors").exists():
        return False
    if config.discriminator not in (None, params):
        theirs = ", ".join(f"{key} {value!r}" for key, value in config.discriminator.model_dump().items())
        raise ModelError(
            f"{folder}: its discriminator is another network ({theirs}); ask for that one, or delete "
            f"{folder / 'discriminator.safetensors'} for a new one"
        )
    load_weights(network, folder, "discriminator", config)
    return True


def _load_exported(network: nn.Module, folder: Path, config: ModelConfig) -> None:
    """Fill a generator from generator.onnx, whose weights have their own names; those of fp16 are rounded.

    Of a file with a dial, it gets the weights at the place where the dial stands when nobody sets it.
    """
    from onnx import load_from_string, numpy_helper

    path = folder / ONNX_FILE
    if config.interface is None:
        raise ModelError(f"{path}: its model.json does not say what the network takes; training cannot go on from it")
    content = read_weights(path, config)
    inner = network.network if isinstance(network, NoiseInput) else network
    state = {key: value for key, value in inner.state_dict().items() if key.endswith("num_batches_tracked")}
    try:
        found = {
            tensor.name.removeprefix("network."): torch.tensor(numpy_helper.to_array(tensor)).float()
            for tensor in load_from_string(content).graph.initializer
        }
        inner.load_state_dict(state | _at_rest(found, config.interface.dial_at))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: training cannot go on from it: {' '.join(str(error).split())[:300]}") from None


def _at_rest(weights: Mapping[str, Tensor], dial_at: float) -> dict[str, Tensor]:
    """Mix the weights of a file with a dial: NAME_faithful + dial * NAME_change; others stay as they are."""
    mixed = {}
    for name, weight in weights.items():
        if name.endswith(FAITHFUL):
            name = name.removesuffix(FAITHFUL)
            mixed[name] = weight + dial_at * weights[f"{name}{CHANGE}"]
        elif not name.endswith(CHANGE):
            mixed[name] = weight
    return mixed


def load_weights(network: nn.Module, folder: Path, name: str, config: ModelConfig) -> None:
    """Fill a network from <name>.safetensors.

    Raises:
        ModelError: the file is missing, damaged, or of another network, or a weight is NaN or infinite.
    """
    path = folder / f"{name}.safetensors"
    content = read_weights(path, config)
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    if name_of_bad := no_number(network.state_dict()):
        raise ModelError(f"{path}: {name_of_bad} holds weights that are NaN or infinite; name another model")


def no_number(weights: Mapping[str, Tensor]) -> str:
    """Return the first tensor that holds NaN or infinity, or ""."""
    bad = (name for name, weight in weights.items() if not weight.isfinite().all())
    return next(bad, "")


def digest(network: nn.Module) -> str:
    """Return the SHA-256 that the file of its weights has."""
    return hashlib.sha256(_content(network)).hexdigest()


def _content(network: nn.Module) -> bytes:
    content: bytes = save({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()})
    return content
