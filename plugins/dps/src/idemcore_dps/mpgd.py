"""MPGD: guidance of the estimate alone, and DDIM."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import MPGDConfig
from .guidance import descent, rms
from .schedules import timestep_levels
from .vp import ddim, estimate, first, predicted_noise, report, timesteps, unsigned


class MPGD(InversionSolver[DiffusionGenerator]):
    """Manifold preserving guided diffusion: He et al., ICLR 2024, without the autoencoder.

        x0      = E[x_0 | x_t],  e = the noise of x_t by x0
        x0     <- x0 - c grad_{x0} ||g(y) - g(f(x0))||_2^2
        x_{t-1} = the step of DDIM from x0 and e, with eta        Song et al., ICLR 2021, eq. 12

    No gradient passes through the denoiser. c is in units of the length that would end the violation along the gradient
    (see `guidance.descent`), so that it depends on neither codec nor image size; published code takes the norm without
    the square instead, by a step of 4 / sqrt(abar_{t-1}) at 100 steps of 256x256, less with more steps.
    """

    def __init__(self, config: MPGDConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps, constraint = timesteps(timestep_levels(generator, self.config.steps)), self.config.constraint
        x = first(cell, steps[0], noise)
        for t in steps:
            x0, _ = estimate(generator, x, t)
            predicted = predicted_noise(x, x0, t)
            step, missed = descent(cell, x0, constraint)
            report(callback, t, x, x0, rms(missed, constraint))
            x, deviation = ddim(x0 + 2 * self.config.c * step, predicted, t, self.config.eta)
            x = x + deviation * noise.like(x)
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps))
