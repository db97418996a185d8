"""What one training step is: the two stages differ in nothing else."""

from __future__ import annotations

from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from pipeline.params import Finetune, Pretrain, Schedule
from pipeline.training.losses import CONTENT, discriminator_loss, generator_loss


class Objective(Protocol):
    """Networks, their optimizers, and one step on a batch."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    rates: dict[str, float]
    """Learning rate of each optimizer before the schedule."""
    schedule: Schedule

    def step(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Update the networks once; returns each loss as a detached scalar.

        Args:
            condition: (N, in_channels, S, S) float32 in [-1, 1].
            target: (N, out_channels, S, S) float32 in [-1, 1].
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
        self._loss = CONTENT[params.content_loss]
        self._backward = accelerator.backward

    def step(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        loss = self._loss(self._generator(condition).float(), target)
        self._optimizer.zero_grad()
        self._backward(loss)
        self._optimizer.step()
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
        self._params = params
        self._content = CONTENT[params.content_loss]
        self._backward = accelerator.backward

    def step(self, condition: Tensor, target: Tensor) -> dict[str, Tensor]:
        fake = self._generator(condition).float()
        return {
            **self._step_discriminator(condition, target, fake.detach()),
            **self._step_generator(condition, target, fake),
        }

    def _step_discriminator(self, condition: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        kind = self._params.adversarial_loss
        real_logits = self._discriminator(condition, target).float()
        fake_logits = self._discriminator(condition, fake).float()
        loss = discriminator_loss(kind, real_logits, fake_logits)
        self._adam_d.zero_grad()
        self._backward(loss)
        self._adam_d.step()
        return {"discriminator": loss.detach()}

    def _step_generator(self, condition: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        # The discriminator only passes the gradient on: computing its own would be wasted.
        self._discriminator.requires_grad_(False)
        logits = self._discriminator(condition, fake).float()
        adversarial = generator_loss(self._params.adversarial_loss, logits)
        content = self._content(fake, target)
        loss = adversarial + self._params.lambda_content * content
        self._adam_g.zero_grad()
        self._backward(loss)
        self._adam_g.step()
        self._discriminator.requires_grad_(True)
        return {"adversarial": adversarial.detach(), "content": content.detach(), "generator": loss.detach()}


def parameters_finite(networks: dict[str, nn.Module]) -> bool:
    return all(bool(torch.isfinite(p).all()) for network in networks.values() for p in network.parameters())
