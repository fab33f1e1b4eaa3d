"""Cases for metrics: reconstructions from perfect to bad, with all that may be known of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ..noise import Noise
from ..protocols import SetMetric
from ..results.case import Case
from .pictures import byte_image, pictures
from .worlds import BoxCell

DRAWS = 2
"""Of each of two pictures, one after the other."""


def case(level: float, size: tuple[int, int]) -> Case:
    """Draws of pictures with noise of a deviation of `level`, in [0,1] units; facts are the worse the larger it is."""
    original = pictures(2, *size).repeat_interleave(DRAWS, 0)
    count, fact = len(original), torch.full((len(original),), level)
    noisy = byte_image(original + level * Noise(range(50, 50 + count)).like(original))
    return Case(
        images=tuple(f"picture {b // DRAWS}" for b in range(count)),
        reconstruction=noisy,
        original=byte_image(original),
        decoded=byte_image(original),
        recode=lambda image: image,
        solution=noisy.float() / 255,
        streams=tuple(bytes(100 + int(1000 * level)) for _ in range(count)),
        file_bits=8.0 * (118 + (1000 * fact).int()),
        cell=BoxCell(original, frozenset({"position"})),
        exact=torch.full((count,), level == 0),
        differing_symbols=(1000 * fact).long(),
        nfe=(1 + 100 * fact).long(),
        backwards=(100 * fact).long(),
        seconds=1 + fact,
        peak_bytes=2.0**20 * (1 + fact),
    )


def alone(of: Case) -> Case:
    """Without what looks at all of its images together: cells and codec."""
    return replace(of, cell=None, recode=None)


def bare(of: Case) -> Case:
    """The reconstructions, of which nothing else is known."""
    known = ("images", "reconstruction")
    return replace(of, **{f.name: None for f in fields(of) if f.name not in known})  # type: ignore[arg-type]


def values(metric: Any, of: Case) -> Tensor:
    """Float64: one value an image, or one of the set."""
    if isinstance(metric, SetMetric):
        metric.reset()
        metric.update(of)
        return torch.tensor([metric.result().value], dtype=torch.float64)
    return metric.measure(of)
