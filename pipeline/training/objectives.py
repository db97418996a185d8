"""What one training step is: the two stages differ in nothing else."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from pipeline.params import Finetune, Pretrain, Schedule
from pipeline.training.ema import Ema
from pipeline.training.losses import CONTENT, discriminator_loss, generator_loss


class Objective(Protocol):
    """Networks, their optimizers, and one step on a batch."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    rates: dict[str, float]
    """Learning rate of each optimizer before the schedule."""
    schedule: Schedule
    ema: Ema
    """Of the generator."""

    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:
        """Update the networks once; returns each loss as a detached scalar.

        Args:
            condition: (N, in_channels, S, S) float32 in [-1, 1].
            target: (N, out_channels, S, S) float32 in [-1, 1].
            number: of the step, from 0.
        """
        ...


class ContentObjective:
    """Pretraining: the generator learns from the content loss alone."""

    def __init__(self, generator: nn.Module, params: Pretrain, accelerator: Accelerator):
        generator = generator.to(memory_format=torch.channels_last)
        optimizer = AdamW(generator.parameters(), params.lr, weight_decay=params.weight_decay)
        self._generator, self._optimizer = accelerator.prepare(generator, optimizer)
        self.networks = {"generator": self._generator}
        self.optimizers: dict[str, Optimizer] = {"generator": self._optimizer}
        self.rates = {"generator": params.lr}
        self.schedule = params.schedule
        self.ema = Ema(self._generator, params.ema_decay)
        self._loss = CONTENT[params.content_loss]
        self._update = partial(_update, accelerator, params.clip_norm)

    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:  # noqa: ARG002
        loss = self._loss(self._generator(condition).float(), target)
        self._update(loss, self._generator, self._optimizer)
        self.ema.update()
        return {"content": loss.detach()}


class AdversarialObjective:
    """Fine-tuning: content loss plus a conditional GAN, one generator forward a step."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, params: Finetune, accelerator: Accelerator):
        generator = generator.to(memory_format=torch.channels_last)
        discriminator = discriminator.to(memory_format=torch.channels_last)
        betas = (params.beta1, params.beta2)
        adam_g = Adam(generator.parameters(), params.lr_generator, betas)
        adam_d = Adam(discriminator.parameters(), params.lr_discriminator, betas)
        self._generator, self._discriminator, self._adam_g, self._adam_d = accelerator.prepare(
            generator, discriminator, adam_g, adam_d
        )
        self.networks = {"generator": self._generator, "discriminator": self._discriminator}
        self.optimizers: dict[str, Optimizer] = {"generator": self._adam_g, "discriminator": self._adam_d}
        self.rates = {"generator": params.lr_generator, "discriminator": params.lr_discriminator}
        self.schedule = params.schedule
        self.ema = Ema(self._generator, params.ema_decay)
        self._params = params
        self._content = CONTENT[params.content_loss]
        self._update = partial(_update, accelerator, params.clip_norm)

    def step(self, condition: Tensor, target: Tensor, number: int) -> dict[str, Tensor]:
        learns = number >= self._params.warmup_steps
        with torch.set_grad_enabled(learns):
            fake = self._generator(condition).float()
        return {
            **self._step_discriminator(condition, target, fake.detach()),
            **self._step_generator(condition, target, fake, learns),
        }

    def _step_discriminator(self, condition: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        real_logits = self._discriminator(condition, target).float()
        fake_logits = self._discriminator(condition, fake).float()
        loss = discriminator_loss(self._params.adversarial_loss, real_logits, fake_logits)
        self._update(loss, self._discriminator, self._adam_d)
        return {"discriminator": loss.detach()}

    def _step_generator(self, condition: Tensor, target: Tensor, fake: Tensor, learns: bool) -> dict[str, Tensor]:
        # The discriminator only passes the gradient on: computing its own would be wasted.
        self._discriminator.requires_grad_(False)
        logits = self._discriminator(condition, fake).float()
        adversarial = generator_loss(self._params.adversarial_loss, logits)
        content = self._content(fake, target)
        loss = adversarial + self._params.lambda_content * content
        if learns:
            self._update(loss, self._generator, self._adam_g)
            self.ema.update()
        self._discriminator.requires_grad_(True)
        return {"adversarial": adversarial.detach(), "content": content.detach(), "generator": loss.detach()}


def all_finite(networks: dict[str, nn.Module]) -> bool:
    """Whether every weight, and every running mean and variance, is a number."""
    return all(
        bool(torch.isfinite(value).all()) for network in networks.values() for value in network.state_dict().values()
    )


def _update(accelerator: Accelerator, clip_norm: float, loss: Tensor, network: nn.Module, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    accelerator.backward(loss)
    if clip_norm:
        accelerator.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()
