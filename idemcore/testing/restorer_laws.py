"""Laws of a restorer, which makes an undamaged image of a damaged one."""

from __future__ import annotations

import torch
from torch import Tensor

from ..noise import Noise
from .law import close, equal, image, law, require
from .pictures import pictures
from .trials import GeneratorTrial

RESTORER = frozenset({"restorer"})
SLIGHT, STRONG = 0.005, 0.2
"""Levels of damage, rms in [0,1] units."""


@law("generator", needs=RESTORER)
def family(trial: GeneratorTrial) -> None:
    """The class says the family that the spec offers; `size` is None or (H, W), `multiple` and `window` are whole."""
    generator = trial.generator
    require(generator.family == "restorer", f"family is {generator.family!r}, the spec offers restorer")
    sides = (*(generator.size or ()), generator.multiple, generator.window)
    require(all(isinstance(side, int) and side > 0 for side in sides), f"size, multiple and window are {sides}")


@law("generator", needs=RESTORER)
def restored_image(trial: GeneratorTrial) -> None:
    """`restore` gives finite float32 images of the shape it is given, whatever the level."""
    for sigma in (1e-4, SLIGHT, STRONG, 1.0):
        found = restored(trial, trial.noisy(sigma), sigma)
        image(found, tuple(trial.image.shape), f"restore at sigma {sigma:.3g}", False)


@law("generator", needs=RESTORER)
def odd_sizes(trial: GeneratorTrial) -> None:
    """Any size works if `size` is None, 1x1 included, and what is padded inside is cropped again."""
    for size in trial.odd_sizes:
        x = pictures(1, *size)
        image(restored(trial, x, 0.1, (1,)), tuple(x.shape), f"restore of {size[1]}x{size[0]}", False)


@law("generator", needs=RESTORER)
def keeps_the_picture(trial: GeneratorTrial) -> None:
    """A smooth picture with a small sigma stays what it is: colours, brightness and place."""
    x = trial.smooth
    found = restored(trial, x, SLIGHT)
    moved, shifted = rms(found - x), float((found - x).mean(dim=(2, 3)).abs().max())
    require(moved <= 0.08, f"it moved a smooth picture by {moved:.3g} rms, in units of white")
    require(shifted <= 0.04, f"a colour is off by {shifted:.3g} on average")


@law("generator", needs=RESTORER)
def level_forms(trial: GeneratorTrial) -> None:
    """Sigma may be a number, a tensor of one or one for each image, with the same result."""
    x = trial.noisy(STRONG)
    wanted = restored(trial, x, STRONG)
    for form in (torch.tensor(STRONG), torch.tensor([STRONG, STRONG])):
        close(restored(trial, x, form), wanted, 1e-5, f"sigma as {list(form.shape)} and as a number")


@law("generator", needs=RESTORER)
def batch_independent(trial: GeneratorTrial) -> None:
    """A result does not depend on what stands beside the image: neither its pixels, its level nor its noise."""
    x, levels = trial.noisy(STRONG), torch.tensor([SLIGHT, STRONG])
    together = restored(trial, x, levels)
    for b in range(2):
        alone = restored(trial, x[b : b + 1], float(levels[b]), (b + 1,))
        close(alone[0], together[b], 1e-5, "a result on its own and in a batch")


@law("generator", needs=RESTORER)
def inputs_untouched(trial: GeneratorTrial) -> None:
    """`restore` changes neither the image nor the levels that it is given."""
    x, sigma = trial.noisy(STRONG), torch.tensor([SLIGHT, STRONG])
    restored(trial, x, sigma)
    equal(x, trial.noisy(STRONG), "the image before and after restore")
    equal(sigma, torch.tensor([SLIGHT, STRONG]), "sigma before and after restore")


@law("generator", needs=RESTORER)
def no_graph(trial: GeneratorTrial) -> None:
    """Nothing is recorded: the network's weights are frozen."""
    found = trial.restorer.restore(trial.noisy(STRONG), STRONG, Noise([1, 2]))
    require(not found.requires_grad, "the result has a graph although the image has none: freeze the weights")


def restored(trial: GeneratorTrial, x: Tensor, sigma: Tensor | float, seeds: tuple[int, ...] = (1, 2)) -> Tensor:
    """`restore` without a graph, image b with the noise of `seeds[b]`."""
    with torch.no_grad():
        return trial.restorer.restore(x, sigma, Noise(seeds))


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.square().mean().sqrt())
