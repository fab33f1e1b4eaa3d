"""The prior: a diffusion generator is nothing but a denoiser, and a Gaussian's is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

from .config import PriorConfig

MEAN = 0.5
"""Of every pixel."""


class GaussianPrior(DiffusionGenerator):
    """Images around grey whose frequencies are independent Gaussians of power S(f), as if the image repeated itself.

    Of x = x0 + sigma n the frequency f then has the power S(f) + sigma^2, so that (Wiener 1949)

        E[x0 | x] = m + F^-1[ S(f) / (S(f) + sigma^2) F[x - m] ]
    """

    # The noise levels between which the denoiser can be asked. A network has those that it was trained on.
    sigma_min = 1e-3
    sigma_max = 50.0

    def __init__(self, config: PriorConfig, runtime: Runtime) -> None:
        """A network is loaded here, to `runtime.device` and `runtime.dtype`."""
        self.config = config

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """See `DiffusionGenerator.denoise`. Whatever range or padding a network wants is done in here."""
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(len(x))[:, None, None, None]
        power = self.power(x.shape[-2], x.shape[-1]).to(x)
        spectrum = torch.fft.fft2(x - MEAN)
        return MEAN + torch.fft.ifft2(power / (power + level.square()) * spectrum).real

    def power(self, height: int, width: int) -> Tensor:
        """S(f), [H,W] float64, whose mean is the variance of a pixel."""
        squared = torch.fft.fftfreq(height)[:, None].double().square() + torch.fft.fftfreq(width).double().square()
        shape = (squared + self.config.longest**-2) ** (-self.config.exponent / 2)
        return self.config.contrast**2 * shape / shape.mean()
