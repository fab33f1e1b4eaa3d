"""`cell`, the default: project on the quantisation cell and renoise; forward passes only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution, Step

from .config import AUTO, CellConfig
from .schedules import ancestral, karras
from .start import start_of

NEAR, ETA_NEAR = 3.0, 0.25
"""Starts of up to so many errors of the codec need little fresh noise, and a third as many steps.

Fresh noise makes good what earlier steps got wrong, which takes steps. From further up, where the start says little, it
pays: docs/solvers.md has the figures.
"""
STEPS_NEAR, STEPS_FAR, MOST = (1.0, 10.0), (1.5, 15.0), 12
"""Steps of `auto`: the first number, and the second times the way down in cube roots of noise levels; at most MOST.

So 3 or 4 from what JPEG at quality 10 leaves open, and 2 or 3 at quality 75: docs/solvers.md has the figures.
"""
START_PER_STEP = 0.75
"""Unless told, no start is further up than this times `steps`, in errors of the codec: few steps do not find the way.

Measured with 4, 8, 12 and 20 steps on faces: docs/solvers.md.
"""


class ProjectAndRenoise(InversionSolver[DiffusionGenerator]):
    """Denoise, project on the cell, renoise; from the noised estimate, or decode, down to the last level.

        x = e + s_0 n                                 e: the cell's estimate; s_0: a multiple of its expected error t
        for s -> s' in the schedule:
            x0 = E[x_0 | x], as if x had noise of k s     k: a little below 1 in the first half of the steps
            z  = x0 + sqrt(v) n                       v = jitter s^2 t^2 / (s^2 + t^2)
            x0 = x0 + relaxation (project(z) - z)     the cell is a box: nothing within is pulled to its centre
            x  = x0 + (down/s) (x - x0) + up n        down^2 + up^2 = s'^2 (Euler ancestral; eta = 0: no fresh noise)
        return project(x0)

    What is wanted is E[x_0 | x, cell]. To project E[x_0 | x] would pile symbols up on the faces of the cell: a mean
    near a face stands for images on both its sides, and the mean of those inside lies deeper. So a guess z at one of
    these images is projected in its stead, and the mean goes twice as far (relaxation 2: a reflection at the face),
    which on average is about right. v is the variance of these images if the error of the start is Gaussian, times
    `jitter`, since images are better known than that.

    A long step of Euler smooths: of texture that is as strong as the noise it keeps less than it should. k is the share
    of s at which it keeps just what it should, see `share_told`. The last steps are told the truth, or what is left of
    the noise would look like grain. EDM makes good the same loss by more fresh noise (Karras et al. 2022, S_noise).

    Since only x0 is projected, no gradient passes through the denoiser. The warm start is that of CCDF (Chung et al.,
    CVPR 2022); between two projections the step is that of DDIM (Song et al., ICLR 2021, eq. 12).
    """

    def __init__(self, config: CellConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        x0, error = start_of(cell, self.config.start_at)
        levels, passes = self._levels(error, generator)
        steps, eta = len(levels), self._eta(generator)
        # What is drawn or computed here is changed in place: large images are worth their memory several times.
        x = noise.like(x0).mul_(_wide(levels[0])).add_(x0)
        for i, sigma in enumerate(levels):
            done = [i >= n for n in passes]
            down, up = ancestral(sigma, levels[i + 1] if i + 1 < steps else torch.zeros_like(sigma), eta)
            early = torch.tensor([i < n / 2 for n in passes], device=sigma.device)
            told = torch.where(early, sigma * self._share(down / sigma, eta), sigma).clamp(min=generator.sigma_min)
            last, x0 = x0 if any(done) else None, generator.denoise(x, told)
            change = self._way_inside(cell, x0, self._variance(sigma, error), noise)
            residual = float(change.square().mean().sqrt()) if callback else 0.0
            x0 = change.mul_(self.config.relaxation).add_(x0)
            if last is not None:
                x0 = torch.where(_wide(torch.tensor(done, device=x0.device)), last, x0)
            if callback:
                callback(Step(i, steps, float(sigma.mean()), x0, residual, i + 1, x))
            if i + 1 < steps:
                x.sub_(x0).mul_(_wide(down / sigma)).add_(x0)
                if eta:
                    x.add_(noise.like(x).mul_(_wide(up)))
        return Solution(cell.project(x0, self.config.margin).clamp(0, 1), nfe=steps)

    def _variance(self, sigma: Tensor, error: Tensor) -> Tensor:
        """[B] of the images whose mean is the estimate of a step."""
        return self.config.jitter / (sigma**-2 + error**-2)

    def _way_inside(self, cell: Constraint, x0: Tensor, variance: Tensor, noise: Noise) -> Tensor:
        """project(z) - z of the guess z at an image whose mean is x0."""
        if not self.config.jitter:
            return cell.project(x0, self.config.margin) - x0
        guess = noise.like(x0).mul_(_wide(variance.sqrt())).add_(x0)
        return torch.sub(cell.project(guess, self.config.margin), guess, out=guess)

    def _levels(self, error: Tensor, generator: DiffusionGenerator) -> tuple[Tensor, list[int]]:
        """[steps,B] noise levels, largest first, within the generator's range, and how many of them each image needs.

        An image that needs fewer than another of its batch stays at its last level.
        """
        low = max(self.config.sigma_min, generator.sigma_min)
        first = (self._multiple(generator) * error).clamp(low, generator.sigma_max).tolist()
        near = self._is_near(generator)
        passes = [passes_needed(s, low, near) if self.config.steps == AUTO else int(self.config.steps) for s in first]
        columns = [karras(n, s, low, self.config.rho) for n, s in zip(passes, first, strict=True)]
        padded = [torch.cat([c, c[-1:].expand(max(passes) - len(c))]) for c in columns]
        return torch.stack(padded, dim=1).float().to(error.device), passes

    def _share(self, kept: Tensor, eta: float) -> Tensor | float:
        """Of the noise level, what the denoiser is told before a step that keeps the share `kept` [B] of the noise.

        All of it where all the noise is fresh, which makes good what is lost as well.
        """
        if self.config.sigma_share != AUTO:
            return float(self.config.sigma_share)
        return share_told(kept) if eta < 1 else 1.0

    def _multiple(self, generator: DiffusionGenerator) -> float:
        """The first level, in errors expected of the start."""
        steps = MOST if self.config.steps == AUTO else int(self.config.steps)
        return self.config.start or min(generator.warm_start, START_PER_STEP * steps)

    def _eta(self, generator: DiffusionGenerator) -> float:
        if self.config.eta != AUTO:
            return float(self.config.eta)
        return ETA_NEAR if self._is_near(generator) else 1.0

    def _is_near(self, generator: DiffusionGenerator) -> bool:
        return self._multiple(generator) <= NEAR


def share_told(kept: Tensor) -> Tensor:
    """k, where x0 + kept (x - x0), with x0 = E[x_0 | x] for noise of k s, has the variance of an image with kept s.

    Exactly for Gaussian images with the variance s^2, and nearly for those of others: x0 = x / (1 + k^2), so x is
    multiplied by (1 + kept k^2) / (1 + k^2), and its variance should fall from 2 s^2 to (1 + kept^2) s^2.
    """
    wanted = ((1 + kept.square()) / 2).sqrt()
    return torch.where(kept < 0.999, (1 - wanted) / (wanted - kept).clamp(min=1e-6), 1.0).sqrt()


def passes_needed(first: float, last: float, near: bool) -> int:
    """Steps from one noise level down to another, 2 to MOST: few where the codec left little open."""
    few, more = STEPS_NEAR if near else STEPS_FAR
    way = first ** (1 / 3) - last ** (1 / 3)
    return min(MOST, max(2, math.ceil(few + more * way)))


def _wide(level: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return level[:, None, None, None]
