"""Whose fault a failed solve is: a prior that gives a wrong shape is named, not the codec that stumbles over it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import IdemError
from ..hookspecs import GeneratorSpec
from ..noise import Noise
from ..plugins.selection import Part
from ..protocols import DiffusionGenerator, Generator, RestorerGenerator


def check_prior(generator: Generator | None, part: Part[GeneratorSpec] | None, image: Tensor) -> None:
    """Raises IdemError if a pass on `image` [B,3,H,W] shows that the prior does not give images like those it is given.

    For after a solve that failed. A look at every pass of every solve would put a wrapper around generators, whose own
    attributes solvers may use. A latent generator, which is given no image, is not tried.
    """
    if part is None:
        return
    if isinstance(generator, DiffusionGenerator):
        _check(lambda: generator.denoise(image, generator.sigma_min), "denoise", part, image)
    elif isinstance(generator, RestorerGenerator):
        noise = Noise(range(len(image)))
        _check(lambda: generator.restore(image, 0.05, noise), "restore", part, image)


def _check(run: Callable[[], object], method: str, part: Part[GeneratorSpec], image: Tensor) -> None:
    try:
        with torch.no_grad():
            found = run()
    except Exception:  # what the solve raised says more of it
        return
    if isinstance(found, Tensor):
        if found.shape == image.shape and found.dtype == image.dtype:
            return
        what = f"a {found.dtype} tensor {list(found.shape)}"
    else:
        what = f"a {type(found).__name__}"
    raise IdemError(
        f"`{method}` of generator '{part.spec.name}' gives {what} for images {list(image.shape)}, {image.dtype}.",
        f"It must give images like those it is given. {part.how_to_check}",
    )
