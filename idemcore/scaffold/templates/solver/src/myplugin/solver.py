"""The solver. It knows neither the codec nor the network: only what a constraint and a generator promise."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from . import SolverConfig


class DenoiseAndProject(InversionSolver[DiffusionGenerator]):
    """From the plain decode with noise of about the codec's own error, down to hardly any: x0 = project(E[x0 | x])."""

    def __init__(self, config: SolverConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. All random numbers come from `noise`, which has a seed for each image."""
        x0, steps, last = cell.centre, self.config.steps, max(self.config.last, generator.sigma_min)
        first = (self.config.start * cell.distortion).clamp(last, generator.sigma_max)
        for i in range(steps):
            sigma = first * (last / first) ** (i / max(1, steps - 1))  # [B]: each image has its own levels
            x = x0 + sigma[:, None, None, None] * noise.like(x0)
            estimate = generator.denoise(x, sigma)
            x0 = cell.project(estimate)
            if callback:
                residual = float((x0 - estimate).square().mean().sqrt())
                callback(Step(i, steps, float(sigma.mean()), x0, residual, nfe=i + 1, x=x))
        return Solution(x0.clamp(0, 1), nfe=steps)
