"""DPS: diffusion posterior sampling, as published for perceptual decoding."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .config import DPSConfig
from .guidance import Guidance, rms, through_denoiser
from .schedules import timestep_levels
from .vp import Timestep, first, posterior, report, timesteps, unsigned


class DPS(InversionSolver[DiffusionGenerator]):
    """Chung et al., ICLR 2023, alg. 1, with F(x) = g(f(x)) as the operator (Xu et al., ICLR 2024).

        x' ~ N(mean(x_t, x0), variance)                           x0 = E[x_0 | x_t]; ancestral, of the respaced DDPM
        x_{t-1} = x' - zeta grad_{x_t} ||g(y) - g(f(x0))||_2      not squared; in [-1,1] units

    The variance is the network's own where it has learned one. The gradient passes straight through the quantiser and
    backwards through decoder, encoder and denoiser; `constraint` puts another norm in its place.

    `tries` more than one is the protocol of Xu et al.: while the re-compression PSNR, of g(f(x)) to g(y), is not
    `enough`, sample again with fresh noise and zeta times `growth`. Theirs keeps the last try, this the best.
    """

    def __init__(self, config: DPSConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = timesteps(timestep_levels(generator, self.config.steps))
        best, least, passes = cell.centre, torch.full_like(cell.distortion, torch.inf), 0
        enough = 10 ** (-self.config.enough / 20)
        for attempt in range(self.config.tries):
            tell = _later(callback, passes, len(steps) * self.config.tries) if callback else None
            zeta = self.config.zeta * self.config.growth**attempt
            image = self._sample(steps, zeta, cell, generator, noise, tell)
            passes += len(steps)
            error = (cell.measure(image) - cell.target).square().flatten(1).mean(dim=1).sqrt()
            # An image that was good enough stays, though another of the batch needs one more try.
            settled = (least <= enough) | (error >= least)
            best = torch.where(settled[:, None, None, None], best, image)
            least = torch.where(settled, least, error)
            if bool((least <= enough).all()):
                break
        return Solution(best, nfe=passes, backwards=passes)

    def _sample(
        self,
        steps: list[Timestep],
        zeta: float,
        cell: Constraint,
        generator: DiffusionGenerator,
        noise: Noise,
        callback: Callback | None,
    ) -> Tensor:
        x = first(cell, steps[0], noise)
        for t in steps:
            found = through_denoiser(cell, generator, x, t, self.config.constraint)
            report(callback, t, x, found.x0, rms(found.missed, self.config.constraint), found.gradient)
            x = guided_step(x, found, t, zeta, noise)
        return unsigned(x).clamp(0, 1)


def guided_step(x_t: Tensor, found: Guidance, t: Timestep, zeta: float, noise: Noise) -> Tensor:
    """x_{t-1}: a draw of the ancestral posterior, less zeta times the gradient; at the last step its mean."""
    mean, deviation = posterior(x_t, found.x0, found.share, t)
    x = mean - zeta * found.gradient
    return x if t.last else x + deviation * noise.like(x)


def _later(callback: Callback, passes: int, total: int) -> Callback:
    """Tells of a try as the continuation of those before it."""

    def tell(step: Step) -> None:
        callback(replace(step, index=step.index + passes, total=total, nfe=step.nfe + passes))

    return tell
