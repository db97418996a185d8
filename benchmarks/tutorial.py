"""The reference: what the tutorials of this field write. Plain, in fp32, photograph by photograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset[tuple[Tensor, Tensor]]):
    """L and ab of each photograph: decoded, resized, mirrored and converted whenever it is asked for."""

    def __init__(self, files: list[Path], size: int):
        self._files, self._size = files, size

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self._files[index]).convert("RGB")
        pixels = np.array(image.resize((self._size, self._size), Image.Resampling.BICUBIC))
        if np.random.default_rng(index).random() < 0.5:
            pixels = pixels[:, ::-1]
        lab = torch.from_numpy(rgb2lab(pixels).astype(np.float32)).permute(2, 0, 1)
        return lab[:1] / 50 - 1, lab[1:] / 110


def batches(files: list[Path], size: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from DataLoader(Folder(files, size), batch_size, drop_last=True)


def l1_step(generator: nn.Module, adam: torch.optim.Optimizer, lightness: Tensor, ab: Tensor) -> None:
    loss = F.l1_loss(torch.as_tensor(generator(lightness)), ab)
    adam.zero_grad()
    loss.backward()
    adam.step()


class Gan:
    """pix2pix's step: the generator runs for each of the two networks."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module):
        self.generator, self.discriminator = generator, discriminator
        self.adam_g, self.adam_d = (
            torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, discriminator)
        )

    def step(self, lightness: Tensor, ab: Tensor) -> None:
        bce = F.binary_cross_entropy_with_logits
        fake = torch.as_tensor(self.generator(lightness)).detach()
        logits = [self.discriminator(lightness, colors) for colors in (ab, fake)]
        loss = (bce(logits[0], torch.ones_like(logits[0])) + bce(logits[1], torch.zeros_like(logits[1]))) / 2
        self.adam_d.zero_grad()
        loss.backward()
        self.adam_d.step()
        fake = torch.as_tensor(self.generator(lightness))
        judged = self.discriminator(lightness, fake)
        self.adam_g.zero_grad()
        (bce(judged, torch.ones_like(judged)) + 100 * F.l1_loss(fake, ab)).backward()
        self.adam_g.step()


def similarity(colored: np.ndarray, true: np.ndarray) -> float:
    """SSIM and CIEDE2000 as libraries compute them out of the box: in double precision, one photograph at a time."""
    from skimage.color import deltaE_ciede2000

    ssim = structural_similarity(
        colored, true, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(ssim + deltaE_ciede2000(rgb2lab(colored), rgb2lab(true)).mean())
