"""`dcic`: two constraints with a dial each, distortion and idempotence, and one noise for the whole way."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import DCICConfig
from .guidance import descent, rms, violation
from .schedules import timestep_levels
from .vp import PURE, Timestep, estimate, noised, report, signed, timesteps, unsigned


class DCIC(InversionSolver[DiffusionGenerator]):
    """After "Dual-Constrained Diffusion Image Compression" (Jiang, Katto, Sun 2026, arXiv 2606.13366).

        x_T     = n                                                       one noise n, of the image
        x0'     = x0 + k_d w (g(y) - x0)                                  distortion: near the base decode
        x0'    += k_p (the step that ends g(y) - g(f(x0')))               idempotence, `inner_steps` times
        x_{t-1} = sqrt(abar_{t-1}) x0' + sqrt(1 - abar_{t-1}) n           the same n: consistent noise

    x0 = E[x_0 | x_t]. The paper's abstract names the two constraints, their attenuation factors K_D and K_P, the
    iterative optimisation that they guide, and the consistent noise, which stands for common randomness; K_P = 0 and
    K_D = 0 are its two boundary curves, K_D = K_P = 1 the point between. The abstract alone was at hand: schedule,
    numbers of steps and the lengths of both are ours. w = s^2 / (s^2 + t^2), for noise s of x_t and an rms error t of
    g(y), is the weight of g(y) if both errors are Gaussian; the second length is that of `guidance.descent`.
    """

    def __init__(self, config: DCICConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = timesteps(timestep_levels(generator, self.config.steps, self.config.schedule))
        same = noise.like(cell.centre)
        x = same if steps[0].sigma >= PURE else noised(signed(cell.estimate), steps[0].abar, same)
        for t in steps:
            x0, _ = estimate(generator, x, t)
            if callback:
                report(callback, t, x, x0, rms(violation(cell, x0, "image"), "image"))
            x = noised(self._constrained(cell, x0, t), t.below, same)
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps))

    def _constrained(self, cell: Constraint, x0: Tensor, t: Timestep) -> Tensor:
        """x0'."""
        weight = t.sigma**2 / (t.sigma**2 + cell.distortion.square())
        x0 = x0 + self.config.k_d * weight[:, None, None, None] * (signed(cell.centre) - x0)
        for _ in range(self.config.inner_steps):
            x0 = x0 + self.config.k_p * descent(cell, x0, "image")[0]
        return x0
