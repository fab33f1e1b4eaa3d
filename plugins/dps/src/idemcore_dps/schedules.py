"""Noise schedules as pure functions. Sigmas are variance exploding, in [0,1] image units, float64, largest first."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.protocols import DiffusionGenerator

TIMESTEPS = 1000
"""Of DDPM, and so of every paper here."""


def karras(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> Tensor:
    """[steps] levels, evenly spaced in sigma^(1/rho) (Karras et al. 2022, eq. 5)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (high + ramp * (low - high)) ** rho


def linear_ddpm(timesteps: int = TIMESTEPS) -> Tensor:
    """[timesteps] ascending levels of DDPM's linear schedule, betas 1e-4..0.02 (Ho et al. 2020)."""
    betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64)
    return sigma_from_alpha(torch.cumprod(1 - betas, 0))


def sigma_from_alpha(alphas_cumprod: Tensor) -> Tensor:
    """sigma of x0 + sigma n in [0,1] units, from abar of sqrt(abar) x0 + sqrt(1 - abar) n in [-1,1] units."""
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt() / 2


def alpha_from_sigma(sigmas: Tensor) -> Tensor:
    """The inverse of `sigma_from_alpha`."""
    return 1 / (1 + 4 * sigmas.square())


def respaced(sigmas: Tensor, steps: int, schedule: str = "uniform") -> Tensor:
    """`steps` of the ascending levels [T], both ends kept, largest first; fewer where two would be the same.

    One step is at the largest.

    `uniform`: evenly spaced (Nichol & Dhariwal 2021). `quadratic`: evenly in the square of how far the way down from
    the largest has come, so densest where there is little noise (Zhu et al. 2023).
    """
    way = torch.linspace(0, 1, steps, dtype=torch.float64) if steps > 1 else torch.ones(1, dtype=torch.float64)
    way = 1 - (1 - way).sqrt() if schedule == "quadratic" else way
    return sigmas[((len(sigmas) - 1) * way).round().long().unique()].flip(0)


def timestep_levels(
    generator: DiffusionGenerator, steps: int, schedule: str = "uniform", start: int = TIMESTEPS
) -> Tensor:
    """`steps` noise levels, largest first: the DDPM's own, or DDPM's linear ones that a continuous network knows.

    Only those from timestep `start` on, of DDPM's 1000: the noise level of that one is the most.
    """
    linear = linear_ddpm()
    inside = (linear >= generator.sigma_min) & (linear <= generator.sigma_max)
    levels = linear[inside] if generator.sigmas is None else generator.sigmas.cpu()
    count = int((levels <= linear[start - 1] * (1 + 1e-6)).sum()) if start < TIMESTEPS else len(levels)
    return respaced(levels[: max(count, 1)], steps, schedule)


def ancestral(sigma: Tensor, lower: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(down, up): the part of level `lower` kept of the old noise and that drawn afresh, down^2 + up^2 = lower^2.

    eta = 1 is DDPM's posterior, eta = 0 DDIM (Song et al. 2021, eq. 16, in variance-exploding units).
    """
    up = torch.minimum(lower, eta * lower * (1 - (lower / sigma).square()).clamp(min=0).sqrt())
    return (lower.square() - up.square()).sqrt(), up
