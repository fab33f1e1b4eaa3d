"""How near a reconstruction is to its original, pixel by pixel; and to what its codec makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..io.images import to_bytes
from .protocol import Case, ImageMetric
from .rates import undefined

PSNR_LIMIT = 100.0
"""dB: more, and equal images, count as this, so that means and curves stay finite."""


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """dB between byte images [B,3,H,W], one by one: float64 [B] on the CPU, at most `PSNR_LIMIT`."""
    error = (a.double() - b.double()).square().mean((1, 2, 3)).cpu()
    return (10 * torch.log10(255**2 / error)).clamp(max=PSNR_LIMIT)


class Psnr(ImageMetric):
    """10 log10(255^2 / MSE) to the original, over all three channels."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        return undefined(case) if case.original is None else psnr(case.original, case.reconstruction)


class RecompressionPsnr(ImageMetric):
    """PSNR between g(y) and g(f(reconstruction)), both in 8 bits; an exact image has the limit (Xu et al. 2024)."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        if case.exact is not None and bool(case.exact.all()):
            return torch.full((len(case),), PSNR_LIMIT, dtype=torch.float64)
        found = _recompressed(case, case.reconstruction)
        return found if case.exact is None else torch.where(case.exact.cpu(), PSNR_LIMIT, found)


class SolverRecompressionPsnr(ImageMetric):
    """As `RecompressionPsnr`, of what the solver gave: how nearly idempotent it is without certification."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        return undefined(case) if case.solution is None else _recompressed(case, to_bytes(case.solution))


@torch.no_grad()
def _recompressed(case: Case, images: Tensor) -> Tensor:
    """[B] dB between g(y) and what the codec makes of byte images."""
    if case.decoded is None or case.recode is None:
        return undefined(case)
    return psnr(case.decoded, case.recode(images))
