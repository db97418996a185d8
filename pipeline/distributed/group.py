"""The processes that share a training, and what they tell each other. Alone, a process tells itself: nothing changes.

What is added up goes through the processes in one order, so that the same number of processes gives the same bytes.
torch's DistributedDataParallel does not: it changes its buckets after the first step, but not in a resumed training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.errors import ParamsError


@dataclass(frozen=True)
class Group:
    rank: int = 0
    """Of this process."""
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, reports and decides."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all gradients. All processes have gradients of the same parameters."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(total)
        parts = torch.split(total / self.count, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def means(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean of each scalar over the processes."""
        if self.count == 1:
            return dict(losses)
        values = torch.stack([loss.float() for loss in losses.values()])
        dist.all_reduce(values)
        return dict(zip(losses, (values / self.count).unbind(), strict=True))

    def sums(self, numbers: Iterable[float]) -> list[float]:
        """Each number, added up over the processes."""
        return self._combined(numbers, dist.ReduceOp.SUM)

    def largest(self, numbers: Iterable[float]) -> list[float]:
        """Return the largest of each number that a process has: what one wants, all then want."""
        return self._combined(numbers, dist.ReduceOp.MAX)

    def from_first(self, content: bytes) -> bytes:
        """Send what the first process has to all; the others give anything."""
        if self.count == 1:
            return content
        (size,) = self.largest([len(content) if self.first else 0])
        if not size:
            return b""
        own = bytearray(content) if self.first else bytearray(int(size))
        dist.broadcast(torch.frombuffer(own, dtype=torch.uint8), 0)
        return bytes(own)

    def require_same(self, digest: str) -> None:
        """Refuse processes that would train something else.

        Raises:
            ParamsError: processes have other parameters, photographs, code or first weights than the first one.
        """
        differs = self.from_first(digest.encode()) != digest.encode()
        if any(self.largest([differs])):
            raise ParamsError(
                f"process {self.rank} of {self.count} "
                + ("trains something else than the first: " if differs else "cannot go on, since another one differs: ")
                + "params.yaml, data/sample, what training starts from (checkpoints/pretrain for finetune), the code "
                "and the packages must be the same on all machines"
            )

    def _combined(self, numbers: Iterable[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
        if self.count == 1:
            return list(numbers)
        # On the CPU, so that no process waits for its GPU.
        values = torch.tensor(list(numbers), dtype=torch.float64)
        dist.all_reduce(values, operation)
        return [float(value) for value in values]


def join(count: int, device: str, patience: timedelta | None = None) -> None:
    """Meet the other processes, which the environment tells how to find; alone there is nothing to do.

    Args:
        patience: how long one process may let the others wait; None for what torch takes.
    """
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=patience)


def leave() -> None:
    """Let the other processes go, when all work is done."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
