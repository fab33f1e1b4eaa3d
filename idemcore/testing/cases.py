"""Cases for metrics: reconstructions from perfect to bad, with all that may be known of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..metrics.protocol import Case, SetMetric
from ..noise import Noise
from .pictures import byte_image, pictures


def case(level: float, size: tuple[int, int], count: int = 2) -> Case:
    """`count` pictures with noise of a deviation of `level`, in [0,1] units, as reconstructions; and facts to match."""
    original = pictures(count, *size)
    noisy = byte_image(original + level * Noise(range(50, 50 + count)).like(original))
    fact = torch.full((count,), level)
    return Case(
        images=tuple(f"picture {b}" for b in range(count)),
        reconstruction=noisy,
        original=byte_image(original),
        decoded=byte_image(original),
        recode=lambda image: image,
        solution=noisy.float() / 255,
        streams=tuple(bytes(100 + int(1000 * level)) for _ in range(count)),
        file_bits=8.0 * (118 + (1000 * fact).int()),
        exact=torch.full((count,), level == 0),
        differing_symbols=(1000 * fact).long(),
        nfe=(1 + 100 * fact).long(),
        backwards=(100 * fact).long(),
        seconds=1 + fact,
        peak_bytes=2.0**20 * (1 + fact),
    )


def values(metric: Any, of: Case) -> Tensor:
    """Float64: one value an image, or one of the set."""
    if isinstance(metric, SetMetric):
        metric.reset()
        metric.update(of)
        return torch.tensor([metric.result().value], dtype=torch.float64)
    return metric.measure(of)
