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

        x = g(y) + s_0 n                              s_0: a multiple of the codec's expected error t, image by image
        for s -> s' in the schedule:
            x0 = E[x_0 | x]
            z  = x0 + sqrt(v) n                       v = jitter s^2 t^2 / (s^2 + t^2)
            x0 = x0 + relaxation (project(z) - z)     the cell is a box: nothing within is pulled to its centre
            x  = x0 + (down/s) (x - x0) + up n        down^2 + up^2 = s'^2 (Euler ancestral; eta = 0: no fresh noise)
        return project(x0)

    What is wanted is E[x_0 | x, cell]. To project E[x_0 | x] would pile symbols up on the faces of the cell: a mean
    near a face stands for images on both its sides, and the mean of those inside lies deeper. So a guess z at one of
    these images is projected in its stead, and the mean goes twice as far (relaxation 2: a reflection at the face),
    which on average is about right. v is the variance of these images if the codec's error is Gaussian, times `jitter`,
    since images are better known than that.

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
            x0 = generator.denoise(x, sigma)
            change = self._way_inside(cell, x0, sigma, noise)
            x0 = x0 + self.config.relaxation * change
            if callback:
                callback(Step(i, steps, float(sigma.mean()), x0, float(change.square().mean().sqrt()), i + 1))
            if i + 1 < steps:
                down, up = ancestral(sigma, levels[i + 1], self.config.eta)
                x = x0 + _wide(down / sigma) * (x - x0)
                x = x + _wide(up) * noise.like(x) if self.config.eta else x
        return Solution(cell.project(x0, self.config.margin).clamp(0, 1), nfe=steps)

    def _way_inside(self, cell: Cell, x0: Tensor, sigma: Tensor, noise: Noise) -> Tensor:
        """project(z) - z of the guess z at an image whose mean is x0."""
        variance = self.config.jitter / (sigma**-2 + cell.distortion**-2)
        guess = x0 + _wide(variance.sqrt()) * noise.like(x0) if self.config.jitter else x0
        return cell.project(guess, self.config.margin) - guess

    def _levels(self, cell: Cell, generator: DiffusionGenerator) -> Tensor:
        """[steps,B] noise levels, largest first, within the generator's range."""
        low = max(self.config.sigma_min, generator.sigma_min)
        first = (self.config.start * cell.distortion).clamp(low, generator.sigma_max)
        columns = [karras(self.config.steps, s, low, self.config.rho) for s in first.tolist()]
        return torch.stack(columns, dim=1).float().to(cell.centre.device)


def _wide(level: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return level[:, None, None, None]
