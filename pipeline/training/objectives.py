"""Objectives: what one training step does. The two training stages differ in nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from pipeline.checkpointing.store import below, load_optimizer_tensors, optimizer_tensors
from pipeline.color.tensors import ColorSpace
from pipeline.distributed.batch_norm import share_batch_norm
from pipeline.distributed.group import Group
from pipeline.errors import SavedStateError
from pipeline.models.generators import backbone_parameters, takes_hints
from pipeline.params.schema import Finetune, Pretrain
from pipeline.training.degradation import Damage, damage_seeds, degraded
from pipeline.training.ema import Ema
from pipeline.training.hints import simulated, with_hints
from pipeline.training.losses import Answer, ContentLoss, discriminator_loss, generator_loss
from pipeline.training.on_cpu import one_loop_for_adam, speed_up_on_cpu
from pipeline.training.schedules import require_schedule, schedule


@dataclass(frozen=True)
class Part:
    """As much of a batch as goes through the networks at once."""

    condition: Tensor
    """(n, in_channels, S, S) float32 in [-1, 1]."""
    target: Tensor
    """(n, out_channels, S, S) float32 in [-1, 1]."""
    share: float
    """Of the batch."""


Losses = Callable[[Part], tuple[Tensor, dict[str, Tensor]]]
"""A part -> the scalar whose gradient is followed, and each loss by its name."""


class Objective(ABC):
    """Networks, their optimizers, and one step on a batch.

    Args:
        networks: by name; one is "generator".
        optimizers: by the name of the network that each updates.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimizers: dict[str, Optimizer],
        params: Pretrain | Finetune,
        space: ColorSpace,
        accelerator: Accelerator,
    ):
        self.group = Group(accelerator.process_index, accelerator.num_processes)
        if self.group.count > 1:
            for network in networks.values():
                share_batch_norm(network)
        if accelerator.device.type == "cpu":
            for network in networks.values():
                speed_up_on_cpu(network)
        # Not to be wrapped in DistributedDataParallel: `Group.average_gradients` takes its place.
        self.networks: dict[str, nn.Module] = {
            name: accelerator.prepare_model(network, evaluation_mode=True) for name, network in networks.items()
        }
        self.optimizers: dict[str, Optimizer] = {
            name: accelerator.prepare_optimizer(optimizer) for name, optimizer in optimizers.items()
        }
        self.generator, self.discriminator = self.networks["generator"], self.networks.get("discriminator")
        self.hinted = takes_hints(networks["generator"])
        self.params, self.space, self.accelerator, self._degrade = params, space, accelerator, params.degrade
        self.ema = Ema(self.generator, params.ema_decay)
        self._rates = {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in optimizers.items()}
        self._factor = schedule(params.schedule, f"{type(params).__name__.lower()}.schedule")
        self._clip_norm, self._l1_penalty = params.clip_norm, params.l1_penalty

    def encode(self, rgb: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Return what the generator sees in training and what it should give, as `ColorSpace.encode`.

        The input is that of an old photograph for a share of them.

        Args:
            rgb: (N, 3, S, S) uint8 sRGB, the part of this process.
            seed: of the training. With the step and a photograph's place in the batch, it decides what becomes of it.
        """
        condition, target = self.space.encode(rgb)
        if not (self._degrade or self.hinted):
            return condition, target
        count, (height, width) = len(rgb), rgb.shape[2:]
        places = range(self.group.rank * count, (self.group.rank + 1) * count)
        seeds = damage_seeds(seed, step, places)
        if self._degrade:
            condition = degraded(condition, rgb, self.space, self._degrade, Damage.draw(seeds, (height, width)))
        if self.hinted:
            condition = with_hints(condition, simulated(target, seeds, self.params.without_hints))
        return condition, target

    @abstractmethod
    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:
        """Update the networks once; returns each loss as a detached scalar.

        Args:
            condition: (N, in_channels, S, S) float32 in [-1, 1].
            target: (N, out_channels, S, S) float32 in [-1, 1].
            number: of the step, from 0.
        """

    def set_rates(self, step: int, steps: int) -> None:
        """Set the learning rates that the schedule gives at this step of all."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                frozen = step * self.params.epochs < group.get("frozen", 0) * steps
                factor = 0.0 if frozen else group.get("factor", 1.0)
                group["lr"] = self._rates[name] * factor * self._factor(step, steps)

    def require_schedule(self, steps: int) -> None:
        """Try the schedule over all steps.

        Raises:
            ParamsError: one of one's own gives no factor somewhere.
        """
        require_schedule(self._factor, steps)

    def rates(self) -> dict[str, float]:
        """Return the current learning rates: lr_<name>."""
        return {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def finite(self) -> bool:
        """Whether every weight, and every running mean and variance, is a number."""
        values = (value for network in self.networks.values() for value in network.state_dict().values())
        return all(bool(torch.isfinite(value).all()) for value in values)

    def unwrapped(self) -> dict[str, nn.Module]:
        """Return the networks as they are saved."""
        return {name: self.accelerator.unwrap_model(network) for name, network in self.networks.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes, as tensors and JSON values by name."""
        state: dict[str, Any] = {"ema_updates": self.ema.updates}
        for name, network in self.unwrapped().items():
            state |= {f"network.{name}.{key}": value for key, value in network.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            state |= {f"optimizer.{name}.{key}": value for key, value in optimizer_tensors(optimizer).items()}
        state |= {f"ema.{key}": value for key, value in self.ema.average.items()}
        return state | {"scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave, into an objective made with the same parameters.

        Raises:
            SavedStateError: something is missing, or does not fit.
        """
        try:
            for name, network in self.unwrapped().items():
                network.load_state_dict(below(state, f"network.{name}."))
            for name, optimizer in self.optimizers.items():
                load_optimizer_tensors(optimizer, below(state, f"optimizer.{name}."))
            for key, value in self.ema.average.items():
                value.copy_(state[f"ema.{key}"])
            self.ema.updates = state["ema_updates"]
            if self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SavedStateError(
                f"saved state is not complete ({type(error).__name__}: {reason}); clear it with `twotone states "
                "--clear` and run again to train from the beginning"
            ) from None

    def _shown(self, condition: Tensor) -> Tensor:
        """Return what losses and the discriminator see of a generator's input: all but the hints."""
        return condition[:, : self.space.in_channels]

    def _penalty(self) -> dict[str, Tensor]:
        """`l1_penalty`: its weight times the sum of the absolute weights of the generator; {} where it has none.

        Biases and normalizations, which have one dimension, are left out, as is usual.
        """
        if not self._l1_penalty:
            return {}
        sums = [weight.abs().sum() for weight in self.generator.parameters() if weight.dim() > 1]
        return {"l1_penalty": self._l1_penalty * torch.stack(sums).sum()}

    def _parts(self, condition: Tensor, target: Tensor) -> list[Part]:
        """Cut a batch into what goes through the networks at once: all of it, but for `micro_batch`."""
        size = self.params.micro_batch or len(condition)
        pairs = zip(torch.split(condition, size), torch.split(target, size), strict=True)
        return [Part(seen, wanted, len(seen) / len(condition)) for seen, wanted in pairs]

    def _update(self, name: str, parts: Sequence[Part], losses: Losses) -> dict[str, Tensor]:
        """Take a step of a network's optimizer down the gradient of the parts' losses; returns the mean of each."""
        self.optimizers[name].zero_grad()
        means: dict[str, Tensor] = {}
        for part in parts:
            total, named = losses(part)
            self.accelerator.backward(total * part.share)
            _add(means, named, part.share)
        self._follow_gradient(name)
        return means

    def _follow_gradient(self, name: str) -> None:
        self.group.average_gradients(self.networks[name].parameters())
        if self._clip_norm:
            # Not accelerate's clip_grad_norm_: it unscales the other network's gradients, too, so that one overflow
            # of fp16 halves the scale twice.
            self.accelerator.unscale_gradients(self.optimizers[name])  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.networks[name].parameters(), self._clip_norm)
        self.optimizers[name].step()


@contextmanager
def _held(network: nn.Module | None) -> Iterator[None]:
    """Hold the parameters that learn meanwhile; one's own network may have others, which never do."""
    learning = (
        [parameter for parameter in network.parameters() if parameter.requires_grad] if network is not None else []
    )
    for parameter in learning:
        parameter.requires_grad_(False)
    yield
    for parameter in learning:
        parameter.requires_grad_(True)


def _add(means: dict[str, Tensor], losses: Mapping[str, Tensor], share: float) -> None:
    for name, loss in losses.items():
        means[name] = means.get(name, torch.zeros_like(loss)) + loss.detach() * share


class ContentObjective(Objective):
    """Pretraining: the generator learns from the content loss alone."""

    def __init__(self, generator: nn.Module, params: Pretrain, space: ColorSpace, accelerator: Accelerator):
        generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        betas = (params.beta1, params.beta2)
        fused = one_loop_for_adam(generator, accelerator.device)
        adamw = AdamW(_groups(generator, params), params.lr, betas, weight_decay=params.weight_decay, fused=fused)
        super().__init__({"generator": generator}, {"generator": adamw}, params, space, accelerator)
        self._content = ContentLoss(params.losses, accelerator)

    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:  # noqa: ARG002
        means = self._update("generator", self._parts(condition, target), self._losses)
        self.ema.update()
        return means

    def _losses(self, part: Part) -> tuple[Tensor, dict[str, Tensor]]:
        output = self.generator(part.condition).float()
        content = self._content(Answer(output, part.target, self._shown(part.condition), self.space))
        penalty = self._penalty()
        return self._content.weight * content["content"] + sum(penalty.values()), {**content, **penalty}


def _groups(generator: nn.Module, params: Pretrain) -> list[dict[str, Any]]:
    """Parameters that learn alike: decoder first, whose rate is the one that is reported, then encoder.

    As fastai does, normalizations and biases, which have one dimension, do not decay.
    """
    own = {id(parameter) for parameter in backbone_parameters(generator)}
    groups = []
    for inside, factor, still in ((False, 1.0, 0), (True, params.encoder_lr_factor, params.freeze_epochs)):
        for decays in (True, False):
            members = [p for p in generator.parameters() if (id(p) in own) == inside and (p.dim() > 1) == decays]
            decay = {} if decays else {"weight_decay": 0.0}
            groups += [{"params": members, "factor": factor, "frozen": still, **decay}] if members else []
    return groups


class AdversarialObjective(Objective):
    """Fine-tuning: content loss plus a conditional GAN, with one pass through the generator a step.

    With micro_batch there are two passes: only one part's answer fits in memory, and the second network's gradients
    need it again.

    Args:
        discriminator: None where params.adversarial_loss is none: the generator learns from the content loss alone.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        params: Finetune,
        space: ColorSpace,
        accelerator: Accelerator,
    ):
        generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks, rates = {"generator": generator}, {"generator": params.lr_generator}
        if discriminator is not None:
            networks["discriminator"] = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            rates["discriminator"] = params.lr_discriminator
        betas = (params.beta1, params.beta2)
        optimizers: dict[str, Optimizer] = {
            name: Adam(
                network.parameters(),
                rates[name],
                betas,
                fused=one_loop_for_adam(network, accelerator.device),
            )
            for name, network in networks.items()
        }
        super().__init__(networks, optimizers, params, space, accelerator)
        self._params = params
        self._content = ContentLoss(params.losses, accelerator)

    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:
        parts, discriminator = self._parts(condition, target), self.discriminator
        if discriminator is None:
            return self._step_generator(parts, self._answer, learns=True)
        learns = number >= self._params.warmup_steps
        if len(parts) == 1:
            with torch.set_grad_enabled(learns):
                whole = self._answer(parts[0])
            return {
                **self._update("discriminator", parts, lambda _part: self._discriminator_losses(whole)),
                **self._step_generator(parts, lambda _part: whole, learns=learns),
            }
        # Each part's noise is drawn alike in both passes: both networks see the same answer. Steps have consecutive
        # seeds, so a sum would give the noise of one part to another part of the next step.
        step_seed, first = torch.initial_seed(), {id(part): number for number, part in enumerate(parts)}

        def answer(part: Part) -> Answer:
            torch.manual_seed(int(np.random.SeedSequence([step_seed, first[id(part)]]).generate_state(1)[0]))
            return self._answer(part)

        def shown(part: Part) -> Answer:
            with torch.no_grad():
                return answer(part)

        return {
            **self._update("discriminator", parts, lambda part: self._discriminator_losses(shown(part))),
            **self._step_generator(parts, answer, learns=learns),
        }

    def _answer(self, part: Part) -> Answer:
        fake, real = self.generator(part.condition).float(), part.target
        saturated = self.space.saturated(real, self._params.target_saturation)
        return Answer(fake, real, self._shown(part.condition), self.space, saturated)

    def _discriminator_losses(self, answer: Answer) -> tuple[Tensor, dict[str, Tensor]]:
        real_logits = self._judge(answer.condition, answer.target if answer.saturated is None else answer.saturated)
        fake_logits = self._judge(answer.condition, answer.output.detach())
        loss = discriminator_loss(self._params.adversarial_loss, real_logits, fake_logits)
        return loss, {"discriminator": loss}

    def _step_generator(
        self, parts: Sequence[Part], answer: Callable[[Part], Answer], *, learns: bool
    ) -> dict[str, Tensor]:
        """Down the gradient of the sum of all losses, where the generator learns yet; returns each of them."""
        # The gradient passes through the discriminator, whose own gradients are not needed here.
        with _held(self.discriminator):
            if learns:
                means = self._update("generator", parts, lambda part: self._generator_losses(answer(part)))
                self.ema.update()
                return means
            means = {}
            for part in parts:
                with torch.no_grad():
                    _add(means, self._generator_losses(answer(part))[1], part.share)
            return means

    def _generator_losses(self, answer: Answer) -> tuple[Tensor, dict[str, Tensor]]:
        adversarial, content, penalty = {}, self._content(answer), self._penalty()
        if self.discriminator is not None:
            logits = self._judge(answer.condition, answer.output)
            adversarial = {"adversarial": generator_loss(self._params.adversarial_loss, logits)}
        loss = sum(adversarial.values()) + self._content.weight * content["content"] + sum(penalty.values())
        return loss, {**adversarial, **content, **penalty, "generator": loss}

    def _judge(self, condition: Tensor, colors: Tensor) -> Tensor:
        """Return the discriminator's logits."""
        logits: Tensor = self.networks["discriminator"](condition, colors).float()
        return logits
