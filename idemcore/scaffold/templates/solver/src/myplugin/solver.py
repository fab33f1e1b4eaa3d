"""The solver. It knows neither the codec nor the network: only what a cell and a generator promise."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .config import SolverConfig


class DenoiseAndProject(InversionSolver[DiffusionGenerator]):
    """From the plain decode with noise of about the codec's own error, down to hardly any noise:

    x  = g(y) + s_0 n
    x0 = project(E[x0 | x])       for each level s > s'
    x  = x0 + s' n
    """

    def __init__(self, config: SolverConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. All random numbers come from `noise`, which has a seed for each image."""
        levels = self._levels(cell, generator)
        x0 = cell.centre
        for i, sigma in enumerate(levels):
            x = x0 + sigma[:, None, None, None] * noise.like(x0)
            estimate = generator.denoise(x, sigma)
            x0 = cell.project(estimate)
            if callback:
                residual = float((x0 - estimate).square().mean().sqrt())
                callback(Step(i, len(levels), float(sigma.mean()), x0, residual, nfe=i + 1, x=x))
        return Solution(x0.clamp(0, 1), nfe=len(levels))

    def _levels(self, cell: Constraint, generator: DiffusionGenerator) -> Tensor:
        """[steps,B] noise levels, largest first, evenly spaced in their logarithms; each image has its own."""
        last = max(self.config.last, generator.sigma_min)
        first = (self.config.start * cell.distortion).clamp(last, generator.sigma_max)
        way = torch.linspace(0, 1, self.config.steps, device=first.device)[:, None]
        return first * (last / first) ** way
