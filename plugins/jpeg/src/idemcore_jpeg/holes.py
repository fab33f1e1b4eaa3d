"""A first guess at coefficients that a file does not give: where a solver starts, and nothing that it must keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .knowledge import NOTHING, Plane

Floats = npt.NDArray[np.float64]


def filled(low: Plane, high: Plane, unknown: npt.NDArray[np.uint8]) -> Plane:
    """One value [R,C,64] for each interval: the one nearest to 0, and for means that are missing, their neighbours'."""
    guess = np.clip(0, low, high)
    missing = np.broadcast_to(unknown, low.shape)[..., 0] == NOTHING
    if missing.any() and not missing.all():
        means = np.where(missing, 0, guess[..., 0]).astype(np.float64)
        guess[..., 0] = np.where(missing, _pulled(means, (~missing).astype(np.float64)).round(), guess[..., 0])
    return guess


def _pulled(values: Floats, weight: Floats) -> Floats:
    """`values` [R,C] where their weight is 1; elsewhere what a coarser grid has there (pull-push, Gortler 1996)."""
    known = weight > 0
    mean = np.divide(values, weight, out=np.zeros_like(values), where=known)
    if known.all() or max(values.shape) == 1:
        return mean
    even = [(0, size % 2) for size in values.shape]
    (tall, wide) = (-(-size // 2) for size in values.shape)
    folded = [
        np.pad(part, even).reshape(tall, 2, wide, 2).sum((1, 3)) for part in (mean * known, known.astype(np.float64))
    ]
    coarse = _pulled(*folded)
    fine = coarse.repeat(2, 0).repeat(2, 1)[: values.shape[0], : values.shape[1]]
    return np.where(known, mean, fine)
