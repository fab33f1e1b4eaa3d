"""The deterministic flow of a diffusion model: noise levels and steps along the probability-flow ODE."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from ..errors import UnsupportedCombination
from ..protocols import DiffusionGenerator

PURE = 1.0
"""Noise level, in [0,1] units, from which an image is taken for pure noise: DDPM's schedules go far beyond it."""

Denoise = Callable[[Tensor, float], Tensor]


def check_knows_pure_noise(generator: DiffusionGenerator) -> None:
    """Raises UnsupportedCombination for a denoiser of little noise, such as DRUNet: it draws nothing from noise."""
    if generator.sigma_max < PURE:
        raise UnsupportedCombination(
            f"This generator knows noise of up to {generator.sigma_max:.3g} in units of white: it restores images, and "
            "makes none of noise alone.",
            "Use it with a solver that starts at the bitstream's own image, such as --solver cell, or choose another.",
        )


def flow_levels(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> list[float]:
    """steps + 1 noise levels, largest first, even in sigma^(1/rho)."""
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(high + i / steps * (low - high)) ** rho for i in range(steps + 1)]


def flow(
    denoise: Denoise, x: Tensor, levels: list[float], kind: str, begin: int, end: int, earlier: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Solves dx/dsigma = (x - denoise(x, sigma)) / sigma from levels[begin] to levels[end], all of them above 0.

    Gives x there and the last denoised image, which is the `earlier` of a flow that goes on from there; end > begin.
    """
    denoised = x
    for i in range(begin, end):
        sigma, lower = levels[i], levels[i + 1]
        denoised = denoise(x, sigma)
        estimate = denoised
        if kind == "heun":
            ahead = denoised + lower / sigma * (x - denoised)
            slope = (x - denoised) / sigma + (ahead - denoise(ahead, lower)) / lower
            estimate = x - sigma / 2 * slope
        elif kind == "dpm++" and earlier is not None:
            ratio = math.log(sigma / lower) / math.log(levels[i - 1] / sigma)
            estimate = denoised + ratio / 2 * (denoised - earlier)
        x, earlier = estimate + lower / sigma * (x - estimate), denoised
    return x, denoised
