"""What a stage is about to train, in sentences: its steps, its losses, and a moving average that never gets long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.params.schema import Finetune, Pretrain
from pipeline.training.ema import largest_decay, steps_to_reach


def plan(stage: str, block: Pretrain | Finetune, steps: int) -> Iterator[str]:
    """Yield what the stage will do.

    Args:
        steps: of all its epochs together.
    """
    if not steps:
        yield f"{stage}: no epochs; publishes what it starts from"
        return
    judged = isinstance(block, Finetune) and block.judged
    against = f", against a discriminator ({block.adversarial_loss})" if isinstance(block, Finetune) and judged else ""
    epochs = f"{block.epochs} epoch{'s' if block.epochs > 1 else ''}"
    yield f"{stage}: {steps} steps in {epochs}, losses {losses_text(block.losses)}{against}"
    learning = steps - (block.warmup_steps if isinstance(block, Finetune) else 0)
    if block.ema_decay and learning < steps_to_reach(block.ema_decay):
        yield (
            f"{stage}: ema_decay {block.ema_decay:g} is reached after {steps_to_reach(block.ema_decay)} steps, and "
            f"the generator has {learning}: its average forgets with {largest_decay(learning):.2g} at most"
        )


def losses_text(weights: Mapping[str, float]) -> str:
    """{l1: 100, mse: 1} -> "100 l1 + 1 mse"."""
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight) or "none"
