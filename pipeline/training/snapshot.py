"""An objective as named tensors, and back: networks, optimizers, moving average, gradient scale."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pipeline.training.objectives import Objective
from pipeline.training.resume import Keeper, ResumeError, State
from pipeline.training.signals import StoppedError, StopRequest
from pipeline.training.tracking import Recorder


class Saver:
    """Saves and resumes the training of an objective; without a keeper it does neither."""

    def __init__(
        self,
        objective: Objective,
        recorder: Recorder,
        accelerator: Accelerator,
        keeper: Keeper | None,
        request: StopRequest,
    ):
        self._objective, self._recorder, self._accelerator = objective, recorder, accelerator
        self._keeper, self._request = keeper, request
        self.space = recorder.space

    def due(self) -> bool:
        """Whether to save after this step: asked to stop, or long enough since the last time."""
        return self._request.number is not None or (self._keeper is not None and self._keeper.due())

    def save(self, epoch: int, batches: int, sums: dict[str, Tensor]) -> None:
        """Save after `batches` of the epoch that follows the finished `epoch`.

        Raises:
            OSError: it could not be written; earlier states are as they were.
        """
        if self._keeper is None:
            return
        tensors, values = take(self._objective, self._accelerator)
        tensors.update({f"sum.{name}": value for name, value in sums.items()})
        tensors.update(
            {
                f"drawn.{name}": torch.frombuffer(bytearray(png), dtype=torch.uint8)
                for name, png in self._recorder.drawn().items()
            }
        )
        self._keeper.save(
            State(epoch, batches, tensors, {**values, "history": self._recorder.history, "sums": list(sums)})
        )

    def resume(self) -> tuple[int, int, dict[str, Tensor]]:
        """Finished epochs, batches of the next one, and the sums of their losses; zeros where nothing is saved.

        Raises:
            ResumeError: there is saved state, and none of it can be used.
        """
        state = self._keeper.load() if self._keeper else None
        if state is None:
            return 0, 0, {}
        restore(self._objective, self._accelerator, state)
        drawn = {name: value.numpy().tobytes() for name, value in _below(state.tensors, "drawn.").items()}
        self._recorder.restore(state.values["history"], drawn)
        tqdm.write(f"resumed after epoch {state.epoch} and {state.batches} batches of the next")
        # By the list, not by the tensors: safetensors keeps them in an order of its own, and history.csv has columns.
        device = self._accelerator.device
        sums = {name: state.tensors[f"sum.{name}"].to(device) for name in state.values["sums"]}
        return state.epoch, state.batches, sums

    def stop_if_asked(self) -> None:
        """Raises:
        StoppedError: by a signal, which the caller has saved for.
        """
        if self._request.number is not None:
            raise StoppedError(self._request.number)


def take(objective: Objective, accelerator: Accelerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training has moved, as tensors and as plain values."""
    tensors: dict[str, Tensor] = {}
    for name, network in objective.networks.items():
        state = accelerator.unwrap_model(network).state_dict()
        tensors.update({f"network.{name}.{key}": value for key, value in state.items()})
    for name, optimizer in objective.optimizers.items():
        tensors.update({f"optimizer.{name}.{key}": value for key, value in _flat(optimizer).items()})
    tensors.update({f"ema.{key}": value for key, value in objective.ema.average.items()})
    scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
    return tensors, {"ema_updates": objective.ema.updates, "scaler": scaler}


def restore(objective: Objective, accelerator: Accelerator, state: State) -> None:
    """Put a state back into an objective built with the same parameters.

    Raises:
        ResumeError: something is missing from it, or does not fit.
    """
    try:
        for name, network in objective.networks.items():
            accelerator.unwrap_model(network).load_state_dict(_below(state.tensors, f"network.{name}."))
        for name, optimizer in objective.optimizers.items():
            _fill(optimizer, _below(state.tensors, f"optimizer.{name}."))
        for key, value in objective.ema.average.items():
            value.copy_(state.tensors[f"ema.{key}"])
        objective.ema.updates = state.values["ema_updates"]
        if accelerator.scaler:
            accelerator.scaler.load_state_dict(state.values["scaler"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ResumeError(
            f"saved state of epoch {state.epoch} is not complete ({type(error).__name__}: {reason}); clear it with "
            "`twotone resume --clear` and run again to train from the beginning"
        ) from None


def _flat(optimizer: Optimizer) -> dict[str, Tensor]:
    """`<index of the parameter>.<name>`: Adam's step and averages."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, own in state.items() for key, value in own.items()}


def _fill(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        # In the order in memory of the parameter: another order may round otherwise.
        like = parameters[int(index)]
        own = torch.empty_like(like).copy_(value) if value.shape == like.shape and value.ndim else value
        state.setdefault(int(index), {})[key] = own
    names = {key for own in state.values() for key in own}
    for number, found in state.items():
        for key in names - set(found):
            raise KeyError(f"{key} of parameter {number}")
    if state and len(state) != len(parameters):
        raise KeyError(f"{len(parameters) - len(state)} of {len(parameters)} parameters")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
