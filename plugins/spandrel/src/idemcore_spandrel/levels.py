"""Networks that see an image beside a plane of its noise level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.networks.border import image_by_image, noise_levels, pad_to_multiple
from idemcore.runtime import Runtime

from .networks import Network

MOST: Mapping[str, float] = {"DRUNet": 50 / 255, "DnCNN": 75 / 255}
"""The most noise, in [0,1] units, that they were trained on, by architecture; DnCNN's variant is FDnCNN."""
LEAST = 0.5 / 255
"""They were trained down to none; below this, 8-bit images hold more."""


def takes_level(network: Network) -> bool:
    """Is it given a map of the noise level beside the image?"""
    name = network.architecture.id
    return name == "DRUNet" or (name == "DnCNN" and "FDnCNN" in network.tags)


@dataclass(frozen=True)
class LevelNetwork:
    """Such a network on its device."""

    network: Network
    runtime: Runtime

    @property
    def most(self) -> float:
        """The largest level, in [0,1] units."""
        return MOST[self.network.architecture.id]

    @property
    def multiple(self) -> int:
        """The sides that it takes are multiples of this."""
        return self.network.size_requirements.multiple_of

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """E[x0 | x0 + sigma n = x], [B,3,H,W]. Levels are clamped to those of the training. Gradients flow.

        A network of grey images sees each colour by itself.
        """
        return image_by_image(self._denoise, x, noise_levels(sigma, x).clamp(LEAST, self.most))

    def _denoise(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded, each = pad_to_multiple(x, self.multiple), self.network.input_channels
        planes = padded.reshape(-1, each, *padded.shape[-2:])
        levels = level.repeat_interleave(len(planes) // len(x)).reshape(-1, 1, 1, 1).expand_as(planes[:, :1])
        dtype = self.runtime.dtype
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
            found = self.network.model(torch.cat([planes, levels], dim=1))
        return found.float().reshape_as(padded)[..., :height, :width]
