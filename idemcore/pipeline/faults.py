"""Whose fault a failed solve is: the plugin that gave something wrong is named, not the one that stumbles over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import IdemError, Unsupported
from ..hookspecs import EncoderSpec, GeneratorSpec
from ..noise import Noise
from ..plugins.selection import Part
from ..protocols import Constraint, DiffusionGenerator, Generator, RestorerGenerator


def check_prior(generator: Generator | None, part: Part[GeneratorSpec] | None, image: Tensor) -> None:
    """Raises IdemError if a pass on `image` [B,3,H,W] shows that the prior does not give images like those it is given.

    For after something failed. A look at every pass of every solve would put a wrapper around generators, whose own
    attributes solvers may use. A latent generator, which is given no image, is not tried.
    """
    if part is None:
        return
    if isinstance(generator, DiffusionGenerator):
        _check(lambda: generator.denoise(image, generator.sigma_min), "denoise", "generator", part, image)
    elif isinstance(generator, RestorerGenerator):
        noise = Noise(range(len(image)))
        _check(lambda: generator.restore(image, 0.05, noise), "restore", "generator", part, image)


def check_cell(cell: Constraint, part: Part[EncoderSpec] | None) -> None:
    """Raises IdemError if `centre` is no image, or if `project` of it gives no image like it. For after a failure."""
    if part is None:
        return
    image = cell.centre
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[1] != 3 or image.dtype != torch.float32:
        raise _fault("`centre`", "codec", part, image, "is", "[B,3,H,W], torch.float32")
    _check(lambda: cell.project(image), "project", "codec", part, image)


def contradiction(error: Unsupported, codec: Part[EncoderSpec] | None, solver: Part[Any]) -> IdemError:
    """For a cell that lacks what a solver asks of it, although their Specs fit."""
    whose = f"Codec '{codec.spec.name}' offers what its cells lack" if codec else "The codec offers what its cells lack"
    return IdemError(
        f"{error}. {whose}, or solver '{solver.spec.name}' does not declare what it needs.",
        f"{codec.how_to_check if codec else ''} {solver.how_to_check}".strip(),
    )


def _check(run: Callable[[], object], method: str, kind: str, part: Part[Any], image: Tensor) -> None:
    try:
        with torch.no_grad():
            found = run()
    except Exception:  # what the solve raised says more of it
        return
    like = isinstance(found, Tensor) and found.shape == image.shape and found.dtype == image.dtype
    if not like:
        raise _fault(f"`{method}`", kind, part, found, "gives", f"images {list(image.shape)}, {image.dtype}")
    if image.isfinite().all() and not found.isfinite().all():  # type: ignore[attr-defined]
        text = f"`{method}` of {kind} '{part.spec.name}' gives values that are not finite for finite images."
        raise IdemError(text, part.how_to_check)


def _fault(what: str, kind: str, part: Part[Any], found: object, verb: str, wanted: str) -> IdemError:
    given = f"a {found.dtype} tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    stead = "for" if verb == "gives" else "not"
    return IdemError(f"{what} of {kind} '{part.spec.name}' {verb} {given} {stead} {wanted}.", part.how_to_check)
