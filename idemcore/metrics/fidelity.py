"""How near a reconstruction is to its original, pixel by pixel; and to what its codec makes of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..io.images import to_bytes
from ..protocols import ImageMetric
from ..results.case import Case
from .rates import undefined

BLOCK = 8
"""Side of JPEG's blocks, pixels."""
PSNR_LIMIT = 100.0
"""dB: more, and equal images, count as this, so that means and curves stay finite."""


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """dB between byte images [B,3,H,W], one by one: float64 [B] on the CPU, at most `PSNR_LIMIT`."""
    error = (a.cpu().double() - b.cpu().double()).square().mean((1, 2, 3))
    return (10 * torch.log10(255**2 / error)).clamp(max=PSNR_LIMIT)


class Psnr(ImageMetric):
    """10 log10(255^2 / MSE) to the original, over all three channels."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        return undefined(case) if case.original is None else psnr(case.original, case.reconstruction)


class PsnrB(ImageMetric):
    """10 log10(255^2 / (MSE + B)), where B says how much more luma jumps between 8x8 blocks than inside them.

    Yim and Bovik, IEEE TIP 2011. MSE is over all three channels, B of the reconstruction's luma (ITU-R BT.601, as
    MATLAB's rgb2ycbcr has it) or of a grey image itself, as in the published tables of JPEG restoration. nan where a
    side is shorter than 9.
    """

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""

    def measure(self, case: Case) -> Tensor:
        if case.original is None or min(case.reconstruction.shape[-2:]) <= BLOCK:
            return undefined(case)
        original, reconstruction = case.original.cpu(), case.reconstruction.cpu()
        error = (original.double() - reconstruction.double()).square().mean((1, 2, 3))
        return (10 * torch.log10(255**2 / (error + blockiness(luma(reconstruction))))).clamp(max=PSNR_LIMIT)


def luma(byte_image: Tensor) -> Tensor:
    """Float64 [B,H,W] of a byte image [B,3,H,W]: ITU-R BT.601, 16..235; of an image with equal channels, these."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64, device=byte_image.device) / 255
    grey = (byte_image == byte_image[:, :1]).all(dim=3).all(dim=2).all(dim=1)
    mixed = 16 + torch.einsum("bchw,c->bhw", byte_image.double(), weights)
    return torch.where(grey[:, None, None], byte_image[:, 0].double(), mixed)


def blockiness(plane: Tensor) -> Tensor:
    """The blocking effect factor B of float64 planes [B,H,W], one by one (Yim and Bovik 2011, eq. 3 to 5)."""
    height, width = plane.shape[-2:]
    sums = [torch.zeros(len(plane), dtype=plane.dtype, device=plane.device) for _ in range(2)]
    for jumps in (plane.diff(dim=2).square().sum(1), plane.diff(dim=1).square().sum(2)):
        border = torch.arange(1, jumps.shape[1] + 1, device=plane.device) % BLOCK == 0
        sums[0] += jumps[:, border].sum(1)
        sums[1] += jumps[:, ~border].sum(1)
    borders = height * ((width - 1) // BLOCK) + width * ((height - 1) // BLOCK)
    pairs = height * (width - 1) + width * (height - 1)
    at_borders, inside = sums[0] / borders, sums[1] / (pairs - borders)
    weight = math.log2(BLOCK) / math.log2(min(height, width))
    return torch.where(at_borders > inside, weight * (at_borders - inside), 0.0)


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
