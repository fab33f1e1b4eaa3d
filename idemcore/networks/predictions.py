"""Denoisers made of networks, whatever these predict. A generator around a network is its weights and one of these.

z = sqrt(abar) (2 x0 - 1) + sqrt(1 - abar) n          what the network is given, with the timestep t of abar

eps   predicts n                     2 x0 - 1 = (z - sqrt(1 - abar) out) / sqrt(abar)     Ho et al., NeurIPS 2020
v     sqrt(abar) n - sqrt(1-abar) x  2 x0 - 1 = sqrt(abar) z - sqrt(1 - abar) out         Salimans & Ho, ICLR 2022
x     predicts 2 x0 - 1              2 x0 - 1 = out
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..protocols import DiffusionGenerator
from .border import image_by_image, noise_levels, pad_to_multiple

Prediction = Literal["eps", "v", "x"]
Network = Callable[[Tensor, Tensor], Tensor]
"""From z [B,3,H,W] and t [B], int64, to what it predicts, [B,3 or more,H,W]; channels after the third are left out."""


class TimestepDenoiser(DiffusionGenerator):
    """E[x0 | x] by a network of discrete timesteps, as DDPM and its successors are trained.

    A level between two timesteps is given to the network as the nearer one; the input is scaled for the level itself.
    """

    def __init__(
        self, network: Network, abar: Tensor, predicts: Prediction = "eps", multiple: int = 1,
        size: tuple[int, int] | None = None, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        """`abar` [T], descending, is the product of 1 - beta up to each timestep, e.g. `linear_abar()`.

        The network takes sides that are multiples of `multiple`, or images of `size` (H, W) alone, in `dtype`.
        """
        self.network, self.predicts, self.multiple, self.size, self.dtype = network, predicts, multiple, size, dtype
        self.sigmas = noise_level_of(abar.double().cpu())
        self.sigma_min, self.sigma_max = float(self.sigmas[0]), float(self.sigmas[-1])

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """See `DiffusionGenerator.denoise`."""
        return image_by_image(self._denoise, x, noise_levels(sigma, x))

    def timestep(self, level: Tensor) -> Tensor:
        """Int64 [B]: the t whose noise level is nearest, in ratio."""
        assert self.sigmas is not None
        far = (level.cpu().double()[:, None].log() - self.sigmas.log()).abs()  # there: Apple's devices have no float64
        return far.argmin(dim=1).to(level.device)

    def _denoise(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        abar = (1 / (1 + 4 * level.cpu().double().square()))[:, None, None, None]  # 1 - abar has no digits in float32
        z = abar.sqrt().to(x) * (2 * x - 1)
        output = self.network(pad_to_multiple(z, self.multiple).to(self.dtype), self.timestep(level))
        return (image_of(self.predicts, z, output[:, :3, :height, :width].float(), abar) + 1) / 2


def image_of(predicts: Prediction, z: Tensor, output: Tensor, abar: Tensor) -> Tensor:
    """2 x0 - 1, the image in [-1,1], from what a network predicts of z, as the top of the page says."""
    signal, noise = abar.sqrt().to(z), (1 - abar).sqrt().to(z)
    if predicts == "eps":
        return (z - noise * output) / signal
    return signal * z - noise * output if predicts == "v" else output


def linear_abar(steps: int = 1000) -> Tensor:
    """Float64 [steps]: beta evenly from 0.1/steps to 20/steps (Ho et al. 2020, for any number of steps)."""
    return _product(torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64))


def cosine_abar(steps: int = 1000) -> Tensor:
    """Float64 [steps]: Nichol & Dhariwal 2021, eq. 17."""
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    kept = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
    return _product(1 - kept[1:] / kept[:-1])


def noise_level_of(abar: Tensor) -> Tensor:
    """Sigma of x0 + sigma n in [0,1] units: sqrt((1 - abar) / abar) / 2, ascending where abar descends."""
    return ((1 - abar) / abar).sqrt() / 2


def _product(betas: Tensor) -> Tensor:
    return (1 - betas.clamp(max=0.999)).cumprod(0)
