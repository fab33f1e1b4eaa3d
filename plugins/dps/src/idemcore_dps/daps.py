"""DAPS: a flow to an image, Langevin dynamics towards the bitstream, and fresh noise of the next level."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .config import DAPSConfig
from .guidance import rms, violation
from .schedules import karras
from .vp import PURE, signed, unsigned


class DAPS(InversionSolver[DiffusionGenerator]):
    """Decoupled annealing posterior sampling: Zhang et al., CVPR 2025 (arXiv 2407.01521), alg. 1.

        for s -> s' in the schedule:
            x0 = the end of the flow from x at level s            `ode_steps` steps of Euler, poly-7
            z  = x0;  `langevin_steps` times:
                 z += l (-grad ||g(y) - g(f(z))||^2 / (2 tau^2) + (x0 - z) / s^2) + sqrt(2 l) n
            x  = z + s' n
        return z

    Images in [-1,1], variance exploding. Steps, levels, tau and l are those of the released code for FFHQ and ImageNet
    at 256x256; l falls linearly to a hundredth. The gradient is straight through the quantiser, where the paper has
    differentiable measurements. With the defaults it takes 1000 passes of the denoiser, none backwards, and 20,000
    passes and gradients of the codec: for JPEG minutes, for a learned codec hours.
    """

    def __init__(self, config: DAPSConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps, most = self.config.steps, min(self.config.sigma_max, 2 * generator.sigma_max)
        levels = karras(steps, most, min(max(self.config.sigma_min, 2 * generator.sigma_min), most)).tolist()
        z = signed(cell.estimate) if levels[0] < 2 * PURE else torch.zeros_like(cell.centre)
        for index, level in enumerate(levels):
            x = z + level * noise.like(z)
            x0 = self._flow(generator, x, level)
            z, missed = self._langevin(cell, x0, level, self._length(index), noise)
            if callback:
                passes = (index + 1) * self.config.ode_steps
                callback(Step(index, steps, level / 2, unsigned(x0), rms(missed, "image"), passes, unsigned(x)))
        return Solution(unsigned(z).clamp(0, 1), nfe=steps * self.config.ode_steps)

    def _flow(self, generator: DiffusionGenerator, x: Tensor, level: float) -> Tensor:
        """The image at the end of the probability flow from x at a level (Karras et al. 2022)."""
        least = min(max(self.config.sigma_ode, 2 * generator.sigma_min), level)
        levels = [*karras(self.config.ode_steps, level, least).tolist(), 0.0]
        for sigma, lower in pairwise(levels):
            x0 = signed(generator.denoise(unsigned(x), sigma / 2))
            x = x0 + lower / sigma * (x - x0)
        return x

    def _langevin(
        self, cell: Constraint, x0: Tensor, level: float, length: float, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """A draw near x0 and near y, and the violation [B,N] of x0."""
        z, before = x0, violation(cell, x0, "image")
        for _ in range(self.config.langevin_steps):
            drift = (x0 - z) / level**2 - self._gradient(cell, z) / self.config.tau**2
            z = z + length * drift + (2 * length) ** 0.5 * noise.like(z)
        return z, before

    def _gradient(self, cell: Constraint, z: Tensor) -> Tensor:
        """The gradient of half the squared violation, [B,3,H,W]."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(violation(cell, z, "image").square().sum() / 2, z)
        return gradient

    def _length(self, index: int) -> float:
        """l of a step, from `rate` to a hundredth of it."""
        return self.config.rate * (1 - 0.99 * index / self.config.steps)
