"""The last step of certification for small images: single levels of single pixels, the best of many at a time.

An image of a few pixels has a few bytes to choose, and gradients of a cell in which only a handful of images lie tell
little. A tabu search (Glover, 1989) takes the best change even if it is for the worse, and does not undo it at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PIXELS = 2**16
"""Of all images together that are tried in a pass."""
LEAST = 64
"""Changes that a pass tries; images that are too large for so many are left alone."""
TENURE = 5
"""Passes for which a byte that was changed stays, unless changing it back gives the best image so far."""


def flip(excess: Callable[[Tensor], Tensor], byte_image: Tensor, passes: int) -> Tensor:
    """A uint8 image [1,3,H,W] near `byte_image` without excess, or `byte_image` if there is none within `passes`.

    `excess` [K] of images [K,3,H,W] in [0,1] is 0 inside the cell and grows outside; differentiable.
    """
    tried = min(PIXELS // byte_image[0, 0].numel(), 2 * byte_image.numel())
    x, least = byte_image.short(), torch.inf
    free_from = torch.zeros(2 * x.numel(), device=x.device)
    for now in range(passes if tried >= min(LEAST, 2 * byte_image.numel()) else 0):
        changes, images = _changes(excess, x, tried)
        with torch.no_grad():
            energy = excess(images.float() / 255)
        barred = (free_from[changes] > now) & (energy >= least)
        best = int(energy.masked_fill(barred, torch.inf).argmin())
        x, least = images[best : best + 1], min(least, float(energy[best]))
        if energy[best] == 0:
            return x.byte()
        free_from[(changes[best] + x.numel()) % len(free_from)] = now + TENURE
    return byte_image


def _changes(excess: Callable[[Tensor], Tensor], x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` changes that promise most, by the gradient, as indexes among all up, then all down; and images."""
    with torch.enable_grad():
        real = (x.float() / 255).requires_grad_(True)
        (slope,) = torch.autograd.grad(excess(real).sum(), real)
    flat, up = x.flatten(), slope.flatten()
    promise = torch.cat([up.masked_fill(flat == 255, torch.inf), (-up).masked_fill(flat == 0, torch.inf)])
    changes = promise.argsort()[:count]
    changes = changes[promise[changes].isfinite()]
    images = flat.repeat(len(changes), 1)
    step = torch.where(changes < flat.numel(), 1, -1).short()
    images[torch.arange(len(changes), device=x.device), changes % flat.numel()] += step
    return changes, images.view(-1, *x.shape[1:])
