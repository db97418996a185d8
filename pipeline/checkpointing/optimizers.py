"""An optimizer's averages as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Adam's step and averages by `<index of the parameter>.<name>`."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, own in states.items() for name, value in own.items()}


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        KeyError: something is missing; names it.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        # In the memory order of the parameter: another order may round differently.
        like = parameters[int(number)]
        ordered = torch.empty_like(like).copy_(value) if value.shape == like.shape and value.ndim else value
        states.setdefault(int(number), {})[name] = ordered
    names = {name for own in states.values() for name in own}
    for index, own in states.items():
        for name in names - set(own):
            raise KeyError(f"{name} of parameter {index}")
    if states and len(states) != len(parameters):
        raise KeyError(f"{len(parameters) - len(states)} of {len(parameters)} parameters")
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def below(contents: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in contents.items() if name.startswith(prefix)}
