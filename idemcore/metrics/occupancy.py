"""Where in its quantisation cell a reconstruction lies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..protocols import ImageMetric
from ..results.case import Case
from .rates import undefined

BINS = 20
"""Of a quantisation interval, in histograms."""


class Occupancy(ImageMetric):
    """How the reconstruction fills the cell: distance of the distribution of its positions to that of the original's.

    Wasserstein-1 between the two empirical distributions of `Cell.position`, quantiser steps: 0 if symbols lie within
    their intervals as the original's do; 1/4 of a plain decode, all in the middle, of uniform symbols.
    """

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        if case.positions is None:
            return undefined(case)
        found, true = (positions.cpu().double().sort(1).values for positions in case.positions)
        return (found - true).abs().mean(1)


def histograms(case: Case) -> list[dict[str, Any] | None]:
    """[B] how symbols fill their intervals, for people to look at; None where positions are not known.

    `counts` of the reconstruction and `original`, in equal bins from `low` to `high` quantiser steps, and how many of
    the reconstruction's lie `outside`.
    """
    if case.positions is None:
        return [None] * len(case)
    found, true = (positions.float().cpu() for positions in case.positions)
    return [
        {
            "counts": _counts(mine),
            "original": _counts(theirs),
            "low": -0.5,
            "high": 0.5,
            "outside": int((mine.abs() > 0.5 + 1e-4).sum()),  # the original itself may miss a face by as much
        }
        for mine, theirs in zip(found, true, strict=True)
    ]


def _counts(positions: Tensor) -> list[int]:
    inside = positions[positions.abs() <= 0.5 + 1e-4].clamp(-0.5, 0.5)
    return [int(count) for count in torch.histc(inside, BINS, -0.5, 0.5)]
