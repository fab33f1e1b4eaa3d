"""A function of two images as a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..io.images import to_float
from ..protocols import ImageMetric
from ..results.case import Case


class FunctionMetric(ImageMetric):
    """A function of a reconstruction and its original."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        """`function(reconstruction, original)`, images [1,3,H,W] in [0,1], gives a number."""
        self.function, self.name = function, function.__name__

    def measure(self, case: Case) -> Tensor:
        """See `ImageMetric.measure`; nan where the original is not known."""
        if case.original is None:
            return torch.full((len(case),), torch.nan, dtype=torch.float64)
        pairs = zip(to_float(case.reconstruction).split(1), to_float(case.original).split(1), strict=True)
        return torch.tensor([float(self.function(*pair)) for pair in pairs], dtype=torch.float64)
