"""`latino`: restore, project, and again at less noise; a latent diffusion model needs no gradient for it."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, InversionSolver, RestorerGenerator, Solution, Step
from idemcore.runtime import finest

from .config import LatinoConfig
from .start import start_of


class Latino(InversionSolver[RestorerGenerator]):
    """LATINO (Spagnoletti et al., ICCV 2025, arXiv 2503.12615), with an exact projection for its proximal step.

        x = the cell's estimate
        for s in falling levels:
            u = restore(x, s)         noise of level s, one step of a (consistency) model, in its own space
            x = project(u)            LATINO: prox of the data term, in pixels
        return x

    LATINO's restorer is a latent consistency model with a prompt: encode, add noise, denoise once, decode. Here it is
    any restorer, and any diffusion generator by the adapter `diffusion-as-restorer`. One without a level is applied
    again and again to its own projected result. Levels follow the codec's error in place of LATINO's fixed timesteps.
    """

    def __init__(self, config: LatinoConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: RestorerGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. Each step reports the restored image before its projection."""
        x, error = start_of(cell, self.config.start_at)
        levels = self._levels(error)
        for i, sigma in enumerate(levels):
            restored = generator.restore(x, sigma, noise)
            x = cell.project(restored, self.config.margin)
            if callback:
                residual = float((x - restored).square().mean().sqrt())
                callback(Step(i, len(levels), float(sigma.mean()), restored, residual, i + 1))
        return Solution(x.clamp(0, 1), nfe=len(levels))

    def _levels(self, error: Tensor) -> Tensor:
        """[steps,B] levels, largest first, even in sigma^(1/rho) (Karras et al. 2022, eq. 5)."""
        low, root = self.config.sigma_min, 1 / self.config.rho
        exact = finest(error.device)
        high = (self.config.start * error.to(exact)).clamp(min=low)
        ramp = torch.linspace(0, 1, self.config.steps, dtype=exact, device=error.device)[:, None]
        return ((high**root + ramp * (low**root - high**root)) ** self.config.rho).float()
