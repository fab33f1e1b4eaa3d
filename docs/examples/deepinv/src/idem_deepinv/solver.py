"""The bridge: an idem cell is a Physics of deepinv, an idem prior its Denoiser, its DPS an idem solver."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.models import Denoiser
from deepinv.physics import Physics
from deepinv.sampling import DPS, AncestralSolver
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .plugin import DPSConfig


class CellPhysics(Physics):
    """A(x) = g(f(x)), straight through the quantiser; its measurement is y = g(y)."""

    def __init__(self, cell: Constraint) -> None:
        super().__init__()
        self.cell, self.residual = cell, 0.0

    def A(self, x: Tensor, **_: Any) -> Tensor:
        measured = self.cell.measure(x)
        self.residual = float((measured.detach() - self.cell.target).square().mean().sqrt())
        return measured


class PriorDenoiser(Denoiser):
    """E[x0 | x0 + sigma n], which is what deepinv means by a denoiser as well."""

    def __init__(self, generator: DiffusionGenerator) -> None:
        super().__init__()
        self.generator, self.passes = generator, 0

    def forward(self, x: Tensor, sigma: Tensor | float, **_: Any) -> Tensor:
        self.passes += 1
        level = torch.as_tensor(sigma).float().clamp(self.generator.sigma_min, self.generator.sigma_max)
        self.x0 = self.generator.denoise(x, level)
        return self.x0


class Steps(AncestralSolver):
    """Deepinv's steps with noise that belongs to an image, and a callback after each."""

    def __init__(self, noise: Noise, told: Any, times: Tensor, eta: float) -> None:
        super().__init__(timesteps=times, eta=eta)
        self.noise, self.told = noise, told

    def randn_like(self, input: Tensor, seed: int | None = None) -> Tensor:
        return self.noise.like(input)

    def step(self, sde: Any, t0: Any, t1: Any, x0: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
        found = super().step(sde, t0, t1, x0, *args, **kwargs)
        self.told(float(sde.sigma_t(t0)) / 2)
        return found


class DeepinvDPS(InversionSolver[DiffusionGenerator]):
    """`deepinv.sampling.DPS` from the noised plain decode on (Chung et al., ICLR 2023)."""

    def __init__(self, config: DPSConfig) -> None:
        self.config = config

    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. Deepinv's images are in [-1,1] inside, and in [0,1] for physics and denoiser."""
        total, device = self.config.steps, cell.centre.device
        physics, denoiser = CellPhysics(cell), PriorDenoiser(generator)

        def told(sigma: float) -> None:
            n = denoiser.passes
            if callback:
                callback(Step(n - 1, total, sigma, denoiser.x0.detach(), physics.residual, n))

        times = torch.linspace(self.config.start, 0, total + 1, dtype=torch.float64, device=device)
        steps = Steps(noise, told, times, self.config.eta)
        sampler = DPS(denoiser, solver=steps, weight=self.config.weight, device=device)
        scale, level = sampler.sde.scale_t(times[0]), sampler.sde.sigma_t(times[0])
        start = scale * (2 * cell.centre.double() - 1 + level * noise.like(cell.centre))
        image = sampler(cell.target, physics, x_init=start)
        return Solution(image.float().clamp(0, 1).detach(), nfe=denoiser.passes, backwards=denoiser.passes)
