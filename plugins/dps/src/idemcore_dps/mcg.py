"""MCG: the step of DPS, then data projection."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import MCGConfig
from .dps import guided_step
from .guidance import rms, through_denoiser
from .schedules import timestep_levels
from .vp import noised, report, signed, timesteps, unsigned


class MCG(InversionSolver[DiffusionGenerator]):
    """Manifold constraints: Chung et al., NeurIPS 2022, eq. 14 and 15, as in the ablation of Xu et al., ICLR 2024.

        x'      = the step of DPS, guided by ||g(y) - g(f(x0))||_2
        x_{t-1} = x' - g(f(x')) + y_{t-1}                         y_{t-1} ~ q(. | g(y)), g(y) noised as x' is

    Published code noises g(y) to the level above, t; at a thousand steps it is the same, with few it would leave noise
    in the image that the denoiser does not expect.
    """

    def __init__(self, config: MCGConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = timesteps(timestep_levels(generator, self.config.steps))
        x = noise.like(cell.centre)
        for t in steps:
            found = through_denoiser(cell, generator, x, t, "image")
            report(callback, t, x, found.x0, rms(found.missed, "image"), found.gradient)
            x = guided_step(x, found, t, self.config.zeta, noise)
            wanted = noised(signed(cell.target), t.below, noise.like(x))
            x = x - signed(cell.measure(unsigned(x))) + wanted
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps), backwards=len(steps))
