"""Back-projection: for codecs of which nothing is known but g(f(x))."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import BackprojConfig
from .guidance import rms, violation
from .schedules import timestep_levels
from .start import start_of
from .vp import estimate, noised, predicted_noise, report, signed, timesteps, unsigned


class BackProjection(InversionSolver[DiffusionGenerator]):
    """DDRM for JPEG: Kawar et al., NeurIPS 2022 workshop on score-based methods, for any codec.

        x_T     ~ q(. | g(y))                                     at timestep `start`, not pure noise
        x0'     = x0 - g(f(x0)) + g(y)                            x0 = E[x_0 | x_t]
        x_{t-1} = sqrt(abar_{t-1}) (eta_b x0' + (1 - eta_b) x0) + sqrt(1 - abar_{t-1}) (eta n + (1 - eta) e)

    e is the noise of x_t by x0. Forward passes only, of the denoiser and of the codec.
    """

    def __init__(self, config: BackprojConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps, eta = timesteps(timestep_levels(generator, self.config.steps, start=self.config.start)), self.config.eta
        first, _ = start_of(cell, self.config.start_at)
        x = noised(signed(first), steps[0].abar, noise.like(first))
        for t in steps:
            x0, _ = estimate(generator, x, t)
            missed = violation(cell, x0, "image")
            corrected = x0 + self.config.eta_b * missed.view_as(x0)
            report(callback, t, x, x0, rms(missed, "image"))
            x = noised(corrected, t.below, eta * noise.like(x) + (1 - eta) * predicted_noise(x, x0, t))
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps))
