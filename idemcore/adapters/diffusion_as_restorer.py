"""Solvers for restorers on a diffusion generator: add noise of a level, then denoise once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..noise import Noise
from ..protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, RestorerGenerator, Solution
from .specs import NoisingConfig


class RestoringOnDiffusion(InversionSolver[DiffusionGenerator]):
    """A solver for restorers on a diffusion generator. A restoration is one pass of the denoiser."""

    def __init__(self, solver: InversionSolver[Any], config: NoisingConfig) -> None:
        self.solver, self.config = solver, config

    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        return self.solver.solve(cell, DiffusionAsRestorer(generator, self.config), noise, callback)


class DiffusionAsRestorer(RestorerGenerator):
    """restore(x, s) = E[x0 | x0 + s n = x + a s n'], where a is `NoisingConfig.noise`.

    With a = 1 an image without detail below s, noised, is what the denoiser was trained on: SDEdit (Meng et al., ICLR
    2022) in one step, and the step of LATINO (Spagnoletti et al., ICCV 2025, arXiv 2503.12615) in pixel space. With
    a = 0 the error of x itself is taken for the noise, which gives a smoother image of less error.
    """

    def __init__(self, generator: DiffusionGenerator, config: NoisingConfig | None = None) -> None:
        self.generator, self.config = generator, config or NoisingConfig()
        self.size, self.multiple = generator.size, generator.multiple
        self.halo, self.window = generator.halo, generator.window

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """See `RestorerGenerator.restore`. Levels outside of the denoiser's range are clamped to it."""
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        level = level.clamp(self.generator.sigma_min, self.generator.sigma_max)
        if self.config.noise:
            x = x + (self.config.noise * level)[:, None, None, None] * noise.like(x)
        return self.generator.denoise(x, level)
