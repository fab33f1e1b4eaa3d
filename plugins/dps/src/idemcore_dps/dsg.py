"""DSG: guidance that keeps the length of the noise."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import DSGConfig
from .guidance import on_sphere, rms, through_denoiser, violation
from .schedules import timestep_levels
from .vp import Timestep, estimate, first, posterior, report, timesteps, unsigned


class DSG(InversionSolver[DiffusionGenerator]):
    """Guidance with a spherical Gaussian constraint: Yang et al., ICML 2024, alg. 1.

        d_s     = sigma_t n                                       the noise of DDIM with eta = 1
        d       = d_s + guidance_rate (d* - d_s)                  d* = -r grad / ||grad||, r = sqrt(3HW) sigma_t
        x_{t-1} = mean(x_t, x0) + r d / ||d||                     grad = grad_{x_t} ||g(y) - g(f(x0))||_2

    Noise in many dimensions lies near a sphere of radius r; a step of that length stays where the denoiser was trained,
    however strong the guidance. Every `interval`-th step is guided, counted from the last, which has no noise to turn;
    only guided steps go backwards through the denoiser.
    """

    def __init__(self, config: DSGConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps, constraint = timesteps(timestep_levels(generator, self.config.steps)), self.config.constraint
        x = first(cell, steps[0], noise)
        for t in steps:
            found = through_denoiser(cell, generator, x, t, constraint) if self._guided(t) else None
            x0 = found.x0 if found else estimate(generator, x, t)[0]
            if callback:
                missed = found.missed if found else violation(cell, x0, constraint)
                report(callback, t, x, x0, rms(missed, constraint), found.gradient if found else None)
            mean, deviation = posterior(x, x0, None, t)
            step = deviation * noise.like(x)
            x = mean + (on_sphere(step, found.gradient, deviation, self.config.guidance_rate) if found else step)
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps), backwards=sum(map(self._guided, steps)))

    def _guided(self, t: Timestep) -> bool:
        return not t.last and (t.total - 1 - t.index) % self.config.interval == 0
