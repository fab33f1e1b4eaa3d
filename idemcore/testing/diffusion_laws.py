"""Laws of a diffusion generator, which is a denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..adapters.flow import PURE
from ..noise import Noise
from .law import NotTried, close, equal, image, law, require
from .pictures import pictures
from .trials import GeneratorTrial

DIFFUSION = frozenset({"diffusion"})


@law("generator", needs=DIFFUSION)
def family(trial: GeneratorTrial) -> None:
    """The class says the family that the spec offers; `size` is None or (H, W), `multiple` a whole number."""
    generator = trial.generator
    require(generator.family == "diffusion", f"family is {generator.family!r}, the spec offers diffusion")
    sides = (*(generator.size or ()), generator.multiple)
    require(all(isinstance(side, int) and side > 0 for side in sides), f"size and multiple are {sides}")


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
        image(
            denoised(trial, trial.noisy(sigma), sigma), tuple(trial.image.shape), f"denoise at sigma {sigma:.3g}", False
        )


@law("generator", needs=DIFFUSION)
def odd_sizes(trial: GeneratorTrial) -> None:
    """Any size works if `size` is None, 1x1 included, and what is padded inside is cropped again."""
    for size in trial.odd_sizes:
        x = pictures(1, *size)
        image(denoised(trial, x, 0.1), tuple(x.shape), f"denoise of {size[1]}x{size[0]}", False)


@law("generator", needs=DIFFUSION)
def padding(trial: GeneratorTrial) -> None:
    """An extra row and column of a picture change nothing far from them: padding is at the end, unseen."""
    larger = pictures(1, *trial.odd_sizes[-1])
    whole, part = (denoised(trial, x, 0.05) for x in (larger, larger[..., :-1, :-1]))
    moved = float((whole[..., :8, :8] - part[..., :8, :8]).abs().max())
    require(moved <= 0.05, f"the first corner changes by {moved:.3g} when the last row and column are cut off")


@law("generator", needs=DIFFUSION)
def level_forms(trial: GeneratorTrial) -> None:
    """Sigma may be a number, a tensor of one or one for each image, with the same result."""
    x = trial.noisy(0.2)
    wanted = denoised(trial, x, 0.2)
    for form in (torch.tensor(0.2), torch.tensor([0.2, 0.2])):
        close(denoised(trial, x, form), wanted, 1e-5, f"sigma as {list(form.shape)} and as a number")


@law("generator", needs=DIFFUSION)
def batch_independent(trial: GeneratorTrial) -> None:
    """An estimate does not depend on what stands beside the image, nor on the levels of the others."""
    x, levels = trial.noisy(0.2), torch.tensor([0.2, 0.5])
    together = denoised(trial, x, levels)
    for b in range(2):
        alone = denoised(trial, x[b : b + 1], float(levels[b]))
        close(alone[0], together[b], 1e-5, "an estimate on its own and in a batch")


@law("generator", needs=DIFFUSION)
def inputs_untouched(trial: GeneratorTrial) -> None:
    """`denoise` changes neither the image nor the levels that it is given."""
    x, sigma = trial.noisy(0.2), torch.tensor([0.2, 0.5])
    denoised(trial, x, sigma)
    equal(x, trial.noisy(0.2), "the image before and after denoise")
    equal(sigma, torch.tensor([0.2, 0.5]), "sigma before and after denoise")


@law("generator", needs=DIFFUSION)
def small_noise(trial: GeneratorTrial) -> None:
    """At sigma_min there is next to nothing to remove: the estimate is the image, up to a few sigma_min."""
    sigma = trial.denoiser.sigma_min
    x = trial.own + sigma * Noise([26, 27]).normal(3, *trial.size)
    moved = rms(denoised(trial, x, sigma) - x)
    require(moved <= 4 * sigma + 2e-3, f"it moved an image of its own by {moved:.3g} rms, and sigma is {sigma:.3g}")


@law("generator", needs=DIFFUSION)
def large_noise(trial: GeneratorTrial) -> None:
    """At sigma_max nothing can be seen: the estimate is about the mean of all images, whatever the noise."""
    sigma = trial.denoiser.sigma_max
    if sigma < PURE:
        raise NotTried(f"its largest level is {sigma:.3g}, at which a picture can be seen")
    x = 0.5 + sigma * Noise([30, 31, 32]).normal(3, *trial.size)
    found = denoised(trial, x, sigma)
    mean, spread = float(found.mean()), float(found.std(dim=0).mean())
    require(0 <= mean <= 1, f"the mean of estimates is {mean:.3g}, outside [0,1]")
    require(spread <= 0.25, f"estimates of pure noise differ by {spread:.3g}, in units of white")
    require(bool(((found >= -0.5) & (found <= 1.5)).all()), "estimates of pure noise leave -0.5..1.5")


@law("generator", needs=DIFFUSION)
def denoises(trial: GeneratorTrial) -> None:
    """`denoise` removes noise from images that it draws itself: its error is below sigma, and on average about none."""
    own = trial.own
    for sigma in (s for s in (0.05, 0.2, 0.5) if trial.denoiser.sigma_min < s < trial.denoiser.sigma_max):
        error = denoised(trial, own + sigma * Noise([28, 29]).like(own), sigma) - own
        found, bias = rms(error), float(error.mean(dim=(0, 2, 3)).abs().max())
        require(found <= sigma, f"at sigma {sigma} the estimate is {found:.3g} rms from the image: no better than x")
        require(bias <= 0.25 * sigma + 0.01, f"at sigma {sigma} a colour is off by {bias:.3g} on average")


@law("generator", needs=DIFFUSION)
def samples(trial: GeneratorTrial) -> None:
    """Images that are drawn from it lie in about [0,1], are no flat colour, and differ with the seed."""
    found = trial.own
    clipped = float(((found == 0) | (found == 1)).float().mean())
    require(clipped <= 0.25, f"{clipped:.0%} of the samples are at the ends of [0,1], where they were clamped")
    require(float(found.std()) > 0.005, "they are one flat colour")
    require(rms(found[0] - found[1]) > 0.005, "two seeds give one image")


@law("generator", needs=DIFFUSION)
def no_graph(trial: GeneratorTrial) -> None:
    """Where x requires no gradient, nothing is recorded: the network's weights are frozen."""
    found = trial.denoiser.denoise(trial.noisy(0.2), 0.2)
    require(not found.requires_grad, "the estimate has a graph although x has none: freeze the weights")


@law("generator", needs=DIFFUSION)
def variance(trial: GeneratorTrial) -> None:
    """`denoise_and_variance` gives what `denoise` gives, and None or finite shares of the same shape."""
    x = trial.noisy(0.2)
    with torch.no_grad():
        found, share = trial.denoiser.denoise_and_variance(x, 0.2)
    close(found, denoised(trial, x, 0.2), 1e-5, "denoise_and_variance and denoise")
    if share is not None:
        image(share, tuple(x.shape), "the share of the variance", False)


@law("generator", needs={"diffusion", "diffusion-gradient"})
def denoise_gradient(trial: GeneratorTrial) -> None:
    """The gradient of `denoise` agrees with finite differences of it, within 5 %."""
    from .box_laws import differences

    # A trained network bends sharply in places: the difference is over a fraction of an 8-bit level.
    differences(lambda x: trial.denoiser.denoise(x, 0.2).flatten(1), trial.noisy(0.2), 0.05, 3e-4)


def denoised(trial: GeneratorTrial, x: Tensor, sigma: Tensor | float) -> Tensor:
    """`denoise` without a graph."""
    with torch.no_grad():
        return trial.denoiser.denoise(x, sigma)


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.square().mean().sqrt())
