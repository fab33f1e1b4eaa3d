"""DiffPIR: a proximal step on the estimate, then renoising."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import DiffPIRConfig
from .guidance import descent, rms
from .schedules import timestep_levels
from .vp import estimate, first, noised, predicted_noise, report, timesteps, unsigned


class DiffPIR(InversionSolver[DiffusionGenerator]):
    """Denoising diffusion for plug-and-play restoration: Zhu et al., CVPRW 2023, alg. 1.

        x0      = E[x_0 | x_t]
        x0^     = argmin_x ||g(y) - g(f(x))||^2 + rho ||x - x0||^2      rho = lambda sigma_n^2 / sigma_t^2 (eq. 13)
        e       = the noise of x_t by x0^                               (eq. 14)
        x_{t-1} = sqrt(abar_{t-1}) x0^ + sqrt(1 - abar_{t-1}) (sqrt(1 - zeta) e + sqrt(zeta) n)      (eq. 15)

    sigma_t^2 = (1 - abar_t) / abar_t. A codec has no closed form for the second line, which takes `inner_steps`
    gradient steps, each 1 / (1 + rho) of the length that would end the violation (see `guidance.descent`), as the
    published back-projection for bicubic downsampling does. No gradient passes through the denoiser.
    """

    def __init__(self, config: DiffPIRConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = timesteps(timestep_levels(generator, self.config.steps, self.config.schedule))
        x, zeta = first(cell, steps[0], noise), self.config.zeta
        for t in steps:
            x0, _ = estimate(generator, x, t)
            rho = self.config.lambda_ * self.config.sigma_n**2 * t.abar / (1 - t.abar)
            x0, missed = self._proximal(cell, x0, rho)
            report(callback, t, x, x0, rms(missed, self.config.constraint))
            x = noised(x0, t.below, (1 - zeta) ** 0.5 * predicted_noise(x, x0, t) + zeta**0.5 * noise.like(x))
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps))

    def _proximal(self, cell: Constraint, x0: Tensor, rho: float) -> tuple[Tensor, Tensor]:
        """x0^ and the violation that its last step started from."""
        x, missed = x0, x0
        for _ in range(self.config.inner_steps):
            step, missed = descent(cell, x, self.config.constraint)
            x = x + (step - rho * (x - x0)) / (1 + rho)
        return x, missed
