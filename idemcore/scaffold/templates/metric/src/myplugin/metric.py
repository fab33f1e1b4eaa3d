"""The metric. Settings, if it had any, would be a dataclass that its Spec names as `config`."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.protocols import ImageMetric
from idemcore.results.case import Case


class MeanAbsoluteError(ImageMetric):
    """The mean of |original - reconstruction| over pixels and channels, in grey levels of 8 bits."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set, and no network to put on `runtime.device`."""

    def measure(self, case: Case) -> Tensor:
        """Float64 [B] on the CPU. A `Case` tells what is known of B images; here only the original may be missing."""
        if case.original is None:
            return torch.full((len(case),), torch.nan, dtype=torch.float64)
        error = case.original.double() - case.reconstruction.double()
        return error.abs().mean(dim=(1, 2, 3)).cpu()
