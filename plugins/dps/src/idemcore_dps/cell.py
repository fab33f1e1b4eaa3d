"""`cell`, the default: project on the quantisation cell and renoise; forward passes only."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Cell, DiffusionGenerator, InversionSolver, Solution, Step

from .config import CellConfig
from .schedules import ancestral, karras


class ProjectAndRenoise(InversionSolver[DiffusionGenerator]):
    """Denoise, project on the cell, renoise; from the noised base decode down to the last level.

        x = g(y) + s_0 n                              s_0: a multiple of the codec's expected error, image by image
        for s -> s' in the schedule:
            x0 = project(denoise(x, s))               the cell is a box: clipped to it, never pulled to its centre
            x  = x0 + (down/s) (x - x0) + up n        down^2 + up^2 = s'^2 (Euler ancestral; eta = 0: no fresh noise)

    Since only x0 is projected, no gradient passes through the denoiser. The warm start is that of CCDF (Chung et al.,
    CVPR 2022); between two projections the step is that of DDIM (Song et al., ICLR 2021, eq. 12).
    """

    def __init__(self, config: CellConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Cell, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = self.config.steps
        levels = self._levels(cell, generator)
        x = cell.centre + _wide(levels[0]) * noise.like(cell.centre)
        x0 = cell.centre
        for i, sigma in enumerate(levels):
            denoised = generator.denoise(x, sigma)
            x0 = cell.project(denoised, self.config.margin)
            if callback:
                residual = float((denoised - x0).square().mean().sqrt())
                callback(Step(i, steps, float(sigma.mean()), x0, residual, i + 1))
            if i + 1 < steps:
                down, up = ancestral(sigma, levels[i + 1], self.config.eta)
                x = x0 + _wide(down / sigma) * (x - x0)
                x = x + _wide(up) * noise.like(x) if self.config.eta else x
        return Solution(x0.clamp(0, 1), nfe=steps)

    def _levels(self, cell: Cell, generator: DiffusionGenerator) -> Tensor:
        """[steps,B] noise levels, largest first, within the generator's range."""
        low = max(self.config.sigma_min, generator.sigma_min)
        first = (self.config.start * cell.distortion).clamp(low, generator.sigma_max)
        columns = [karras(self.config.steps, s, low, self.config.rho) for s in first.tolist()]
        return torch.stack(columns, dim=1).float().to(cell.centre.device)


def _wide(level: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return level[:, None, None, None]
