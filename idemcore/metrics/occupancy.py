"""Where in its quantisation cell a reconstruction lies."""

from __future__ import annotations

import torch
from torch import Tensor

from ..imageio import to_float
from ..protocols import Unsupported
from .protocol import Case, ImageMetric
from .rates import undefined


class Occupancy(ImageMetric):
    """How the reconstruction fills the cell: distance of the distribution of its positions to that of the original's.

    Wasserstein-1 between the two empirical distributions of `Cell.position`, quantiser steps: 0 if symbols lie within
    their intervals as the original's do; 1/4 of a plain decode, all in the middle, of uniform symbols.
    """

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if case.cell is None or case.original is None:
            return undefined(case)
        try:
            found, true = (case.cell.position(to_float(x)).double() for x in (case.reconstruction, case.original))
        except Unsupported:
            return undefined(case)
        return (found.sort(1).values - true.sort(1).values).abs().mean(1).cpu()
