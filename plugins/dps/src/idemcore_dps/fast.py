"""`fast`: noise on the decode, and the prior's way back; the codec is not asked again."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .config import FastConfig
from .schedules import ancestral, karras
from .start import start_of


class Fast(InversionSolver[DiffusionGenerator]):
    """After "Fast Training-free Perceptual Image Compression" (Zhu, Xu et al. 2025, arXiv 2506.16102).

        x = e + s n                          e: what the codec decodes; s: `level` times its expected error
        for s -> s' in the schedule:         `steps` of them, the last to 0
            x = x0 + (down/s) (x - x0) + up n                     x0 = E[x_0 | x]
        return x

    The paper improves the decode of any codec with an unconditional prior, without training and without a gradient of
    the codec, for budgets of about 0.1 s, 0.1 to 10 s, and more; it works on the output of a perceptual codec too, with
    a guarantee. Its abstract alone was at hand, so the sampler, levels and passes here are ours: one pass for the least
    budget (a denoising), 10 of the deterministic flow for the middle, 100 with `eta=1` for the largest. A guarantee
    holds for every such method: the law of e + s n is nearer to that of a natural image with noise s than the law of e
    is to that of natural images, and an exact draw of x_0 given x keeps this distance (data processing).

    Nothing keeps the result in the cell: `certify` brings it there, as it does with every image, and may move it far.
    """

    def __init__(self, config: FastConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. The residual that it reports is the distance of x0 from the start."""
        start, error = start_of(cell, self.config.start_at)
        levels = self._levels(error, generator)
        x = start + _wide(levels[0]) * noise.like(start)
        for i in range(self.config.steps):
            sigma, lower = levels[i], levels[i + 1]
            x0 = generator.denoise(x, sigma)
            if callback:
                residual = float((x0 - start).square().mean().sqrt())
                callback(Step(i, self.config.steps, float(sigma.mean()), x0, residual, i + 1, x))
            down, up = ancestral(sigma, lower, self.config.eta)
            x = x0 + _wide(down / sigma) * (x - x0)
            if self.config.eta:
                x = x + _wide(up) * noise.like(x)
        return Solution(x.clamp(0, 1), nfe=self.config.steps)

    def _levels(self, error: Tensor, generator: DiffusionGenerator) -> Tensor:
        """[steps+1,B], largest first, 0 last; within the generator's range."""
        first = (self.config.level * error).clamp(generator.sigma_min, generator.sigma_max)
        columns = [karras(self.config.steps, s, min(max(s / 10, generator.sigma_min), s)) for s in first.tolist()]
        levels = torch.stack(columns, dim=1).float().to(error.device)
        return torch.cat([levels, torch.zeros_like(levels[:1])])


def _wide(level: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return level[:, None, None, None]
