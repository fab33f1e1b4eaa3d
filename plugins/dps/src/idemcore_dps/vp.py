"""What papers on DDPM write in: x_t = sqrt(abar) x0 + sqrt(1 - abar) n, variance preserving, images in [-1,1].

A generator speaks of x0 + sigma n in [0,1] units instead; the two are converted here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, Step

from .schedules import alpha_from_sigma

PURE = 1.0
"""Noise level, in [0,1] units, from which an image is taken for pure noise: DDPM's schedules go far beyond it."""


@dataclass(frozen=True)
class Timestep:
    """One step of a schedule: from x_t, of `abar`, to x_{t-1}, of `below`."""

    index: int
    total: int
    sigma: float
    """Noise level of x_t, variance exploding, in [0,1] units."""
    abar: float
    below: float
    """abar of x_{t-1}; 1 at the last step, which leaves no noise."""

    @property
    def last(self) -> bool:
        return self.index + 1 == self.total


def timesteps(sigmas: Tensor) -> list[Timestep]:
    """The steps between noise levels [T], largest first, and from the least of them to none."""
    levels, abars = sigmas.tolist(), alpha_from_sigma(sigmas).tolist()
    below = [*abars[1:], 1.0]
    return [Timestep(i, len(levels), *step) for i, step in enumerate(zip(levels, abars, below, strict=True))]


def signed(image: Tensor) -> Tensor:
    """[0,1] -> [-1,1]."""
    return 2 * image - 1


def unsigned(x: Tensor) -> Tensor:
    """[-1,1] -> [0,1]."""
    return (x + 1) / 2


def estimate(generator: DiffusionGenerator, x_t: Tensor, t: Timestep) -> tuple[Tensor, Tensor | None]:
    """x0 = E[x_0 | x_t], clamped to [-1,1], and the learned share of the log-variance where there is one."""
    denoised, share = generator.denoise_and_variance(unsigned(x_t / t.abar**0.5), t.sigma)
    return signed(denoised).clamp(-1, 1), share


def noised(x0: Tensor, abar: float, noise: Tensor) -> Tensor:
    """A draw of q(x_t | x_0) (Ho et al. 2020, eq. 4) by standard normal `noise`."""
    return abar**0.5 * x0 + (1 - abar) ** 0.5 * noise


def first(cell: Constraint, t: Timestep, noise: Noise) -> Tensor:
    """x_T [B,3,H,W]: pure noise, as published.

    A denoiser that knows less noise than that, such as DRUNet, would take it for an image: it starts at the cell's
    estimate with noise of its largest level.
    """
    drawn = noise.like(cell.centre)
    return drawn if t.sigma >= PURE else noised(signed(cell.estimate), t.abar, drawn)


def predicted_noise(x_t: Tensor, x0: Tensor, t: Timestep) -> Tensor:
    """The n of which x_t is made, if x0 is the image: the network's epsilon."""
    return (x_t - t.abar**0.5 * x0) / (1 - t.abar) ** 0.5


def posterior(x_t: Tensor, x0: Tensor, share: Tensor | None, t: Timestep) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(x_{t-1} | x_t, x0) (Ho et al. 2020, eq. 7).

    `share` [B,3,H,W] mixes log beta_t (1) and log beta~_t (0), Nichol & Dhariwal 2021, eq. 15; None means beta~_t.
    """
    beta = 1 - t.abar / t.below
    mean = (t.below**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - t.below) * x_t) / (1 - t.abar)
    small = max(beta * (1 - t.below) / (1 - t.abar), 1e-20)
    if share is None:
        return mean, torch.as_tensor(small**0.5, device=x_t.device)
    log_variance = share * torch.tensor(beta).log() + (1 - share) * torch.tensor(small).log()
    return mean, (log_variance / 2).exp()


def ddim(x0: Tensor, predicted: Tensor, t: Timestep, eta: float) -> tuple[Tensor, float]:
    """Mean and standard deviation of DDIM's x_{t-1} (Song et al., ICLR 2021, eq. 12 and 16), from x0 and its noise."""
    variance = eta**2 * (1 - t.below) / (1 - t.abar) * (1 - t.abar / t.below)
    return t.below**0.5 * x0 + (1 - t.below - variance) ** 0.5 * predicted, variance**0.5


def report(
    callback: Callback | None,
    t: Timestep,
    x_t: Tensor,
    x0: Tensor,
    residual: float,
    gradient: Tensor | None = None,
) -> None:
    """Tells of a step that took one pass, as all before it; `residual` is that of `Step`, `gradient` that by x_t."""
    if callback:
        scale = t.abar**0.5
        x = unsigned(x_t / scale)
        slope = None if gradient is None else 2 * scale * gradient
        callback(Step(t.index, t.total, t.sigma, unsigned(x0), residual, t.index + 1, x, slope))
