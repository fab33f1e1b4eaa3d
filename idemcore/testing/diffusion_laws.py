"""Laws of a diffusion generator, which is a denoiser."""

from __future__ import annotations

import math

import torch

from ..noise import Noise
from .law import close, image, law, require
from .trials import GeneratorTrial

DIFFUSION = frozenset({"diffusion"})


@law("generator", needs=DIFFUSION)
def noise_levels(trial: GeneratorTrial) -> None:
    """0 < sigma_min < sigma_max, both finite; `sigmas`, if there are any, are float64, ascending, and in that range."""
    low, high, sigmas = trial.denoiser.sigma_min, trial.denoiser.sigma_max, trial.denoiser.sigmas
    require(0 < low < high < math.inf, f"sigma_min is {low} and sigma_max {high}")
    if sigmas is not None:
        require(sigmas.dtype == torch.float64 and sigmas.ndim == 1, f"sigmas are {sigmas.dtype}, {sigmas.ndim}-d")
        require((sigmas.diff() > 0).all(), "sigmas do not ascend")
        ends = float(sigmas[0]), float(sigmas[-1])
        require(low <= ends[0] * 1.001 and ends[1] <= high * 1.001, f"sigmas go from {ends[0]} to {ends[1]}")


@law("generator", needs=DIFFUSION)
def denoise_image(trial: GeneratorTrial) -> None:
    """`denoise` gives float32 images of the shape it is given, finite at every level from sigma_min to sigma_max."""
    for sigma in trial.levels:
        found = trial.exercise_level(sigma)
        image(found, tuple(trial.image.shape), f"denoise at sigma {sigma:.3g}", bounded=False)


@law("generator", needs=DIFFUSION)
def batch_independent(trial: GeneratorTrial) -> None:
    """An estimate does not depend on what stands beside the image, nor on the levels of the others."""
    x, levels = trial.noisy(0.2), torch.tensor([0.2, 0.5])
    with torch.no_grad():
        together = trial.denoiser.denoise(x, levels)
        for b in range(2):
            alone = trial.denoiser.denoise(x[b : b + 1], float(levels[b]))
            close(alone[0], together[b], 1e-5, "an estimate on its own and in a batch")


@law("generator", needs=DIFFUSION)
def small_noise(trial: GeneratorTrial) -> None:
    """At sigma_min there is next to nothing to remove: the estimate is the image, up to a few sigma_min."""
    sigma = trial.denoiser.sigma_min
    x = trial.noisy(sigma)
    with torch.no_grad():
        moved = float((trial.denoiser.denoise(x, sigma) - x).square().mean().sqrt())
    require(moved <= 3 * sigma + 1e-4, f"it moved an image by {moved:.3g} rms, and sigma is {sigma:.3g}")


@law("generator", needs=DIFFUSION)
def large_noise(trial: GeneratorTrial) -> None:
    """At sigma_max nothing can be seen: the estimate is about the mean of all images, whatever the noise."""
    sigma = trial.denoiser.sigma_max
    x = 0.5 + sigma * Noise([30, 31, 32]).normal(3, *trial.size)
    with torch.no_grad():
        found = trial.denoiser.denoise(x, sigma)
    low, high, spread = float(found.mean()), float(found.mean()), float(found.std(dim=0).mean())
    require(low >= 0 and high <= 1, f"the mean of estimates is {low:.3g}, outside [0,1]")
    require(spread <= 0.5, f"estimates of pure noise differ by {spread:.3g}, in units of white")
