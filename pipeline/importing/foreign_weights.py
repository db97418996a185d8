"""Weights that other programs have saved with torch, as weights of this project's networks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import WeightsError
from pipeline.models.packaged_weights import without_counts

# Under these keys training scripts keep the weights, beside optimizers, epochs and losses.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "generator", "net_G", "netG", "G", "params")
_JUDGES = ("discriminator", "net_D", "netD", "D")
# Of a program that has both networks in one module: which names belong to which.
_PREFIXES = {"generator": ("net_G.", "netG.", "generator.", "gen.", "G."), "discriminator": ("net_D.", "netD.", "D.")}


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fill a network."""

    state: dict[str, Tensor]
    how: str
    """by name, or by order."""
    zeros: list[str] = field(default_factory=list)
    """Biases that the file's network does not have: zero here, which is the same."""
    misfits: list[str] = field(default_factory=list)
    """What did not fit; where there is any, `state` is not complete."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of the networks in a file, by name, in their order. Nothing in it is executed.

    Raises:
        WeightsError: it is no such file, or holds no weights.
    """
    if path.suffix in (".h5", ".keras"):
        raise WeightsError(f"{path}: a file of Keras; only files of torch (.pt, .pth, .pth.tar) can be imported")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file fails in whatever way its bytes ask for
        asked = re.search(r"GLOBAL:? (?:GLOBAL )?(\S+)", str(error), re.IGNORECASE)
        if asked:
            raise WeightsError(
                f"{path}: holds more than weights ({asked[1]}), which could run code and so is not loaded; save it "
                "again with torch.save(model.state_dict(), path)"
            ) from None
        raise WeightsError(f"{path}: no file of weights that torch has saved ({type(error).__name__})") from None
    tensors = _tensors(content)
    if not tensors:
        raise WeightsError(f"{path}: no weights in it, nor under {', '.join(_WRAPPERS)}")
    return tensors


def part_of(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Return the tensors of one network, where names say which is which; all of them for a generator, where they do
    not.
    """
    for prefix in _PREFIXES[network]:
        part = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if part:
            return part
    return dict(tensors) if network == "generator" else {}


def of_neither(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of neither network, where names say which is which: losses, for example, keep constants."""
    prefixes = tuple(prefix for group in _PREFIXES.values() for prefix in group)
    outside = [name for name in tensors if not name.startswith(prefixes)]
    return outside if len(outside) < len(tensors) else []


def fit(tensors: Mapping[str, Tensor], network: nn.Module) -> Fit:
    """Match tensors with a network's by their names, or else by their order: of convolutions, and of normalizations.

    Every tensor of either side is accounted for.
    """
    wanted, given = network.state_dict(), without_counts(tensors)
    by_name = [name for name, value in wanted.items() if name in given and given[name].shape == value.shape]
    if len(by_name) == len(given) == len(without_counts(wanted)):
        return Fit({**wanted, **{name: given[name].to(wanted[name].dtype) for name in by_name}}, "by name")
    return _fit_by_order(_layers(given), _layers(without_counts(wanted)), wanted)


def swap_joined(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """For programs that join the skip before the decoder's channels, where this project joins it after them.

    The halves of what a transposed convolution takes are exchanged, but for the innermost, which joins nothing.
    """
    swapped, ups = dict(state), [n for n, m in network.named_modules() if isinstance(m, nn.ConvTranspose2d)]
    for name in ups[1:]:
        first, second = state[f"{name}.weight"].chunk(2)
        swapped[f"{name}.weight"] = torch.cat([second, first])
    return swapped


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the state dict in what a file holds, without the prefix that torch's wrappers for several GPUs add."""
    if not isinstance(content, Mapping):
        return {}
    found = {key: inner for key in (*_WRAPPERS, *_JUDGES) if (inner := _tensors(content.get(key)))}
    judge = next((found.pop(key) for key in _JUDGES if key in found), {})
    if found:
        generator = next(iter(found.values()))
        # Under the names by which `part_of` tells them apart, where both are there.
        named = {f"net_G.{name}": value for name, value in generator.items()}
        return named | {f"net_D.{name}": value for name, value in judge.items()} if judge else generator
    own = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    own = own or judge
    wrapped = all(name.startswith("module.") for name in own)
    return {name.removeprefix("module.") if wrapped else name: value for name, value in own.items()}


@dataclass(frozen=True)
class _Layer:
    """A convolution (weight of four dimensions) or a normalization, with its tensors by the ends of their names."""

    name: str
    tensors: dict[str, Tensor]

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight"]

    def full(self, part: str) -> str:
        return f"{self.name}.{part}" if self.name else part


def _layers(state: Mapping[str, Tensor]) -> dict[int, list[_Layer]]:
    """Layers by the number of dimensions of their weight, in their order."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        grouped.setdefault(layer, {})[part] = value
    found: dict[int, list[_Layer]] = {}
    for name, tensors in grouped.items():
        dimensions = tensors["weight"].dim() if "weight" in tensors else 0
        found.setdefault(dimensions, []).append(_Layer(name, tensors))
    return found


def _fit_by_order(given: dict[int, list[_Layer]], wanted: dict[int, list[_Layer]], state: Mapping[str, Tensor]) -> Fit:
    result = Fit(dict(state), "by order")
    for dimensions in sorted({*given, *wanted}):
        theirs, ours = given.get(dimensions, []), wanted.get(dimensions, [])
        for layer, place in zip(theirs, ours, strict=False):
            _fill(result, layer, place)
        kind = {4: "convolution", 1: "normalization"}.get(dimensions, "tensor")
        more = [f"{layer.name}: a {kind} that has no place here" for layer in theirs[len(ours) :]]
        result.misfits.extend([*more, *(f"nothing for the {kind} {place.name}" for place in ours[len(theirs) :])])
    return result


def _fill(result: Fit, layer: _Layer, place: _Layer) -> None:
    """Fill one layer of the network."""
    for part in dict.fromkeys([*layer.tensors, *place.tensors]):
        theirs, ours = layer.tensors.get(part), place.tensors.get(part)
        if theirs is not None and ours is not None and theirs.shape == ours.shape:
            result.state[place.full(part)] = theirs.to(ours.dtype)
        elif theirs is None and ours is not None and part == "bias" and place.weight.dim() == 4:
            result.state[place.full(part)] = torch.zeros_like(ours)
            result.zeros.append(place.full(part))
        else:
            there, here = (_size(one) for one in (theirs, ours))
            result.misfits.append(f"{layer.full(part)} is {there}, {place.full(part)} is {here}")


def _size(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(str(side) for side in tensor.shape) or "a number"


def listed(misfits: list[str], most: int = 12) -> Iterator[str]:
    """Return the first of them, and how many more there are."""
    yield from misfits[:most]
    if len(misfits) > most:
        yield f"and {len(misfits) - most} more"
