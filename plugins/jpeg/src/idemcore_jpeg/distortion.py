"""How far g(y) is from the image, estimated from the file alone.

Each DCT coefficient is taken as Laplacian (Reininger & Gibson 1983). Its scale follows from the share of zeros; where
hardly any symbol is non-zero, from a power law of the frequency fitted to the others. The error of a zero is then its
variance within the dead zone, that of any other symbol q^2/12.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .box import Box
from .knowledge import REACH

CHROMA_SHARE = 0.05
"""Largest chroma variance, as a share of luma's at the same frequency, where no symbol tells: photographs have less."""

FADE = (-6.0, -1.5)
"""Slopes of log variance over log frequency that photographs have."""


def expected_rms(box: Box) -> Tensor:
    """[B] float32: the expected rms error of g(y) over RGB, in [0,1] units; within about 30 % on photographs."""
    total, luma_variance = torch.zeros((), device=box.steps.device), None
    weights = box.inverse.square().mean(0)
    for number, blocks in enumerate(box.layout.component_blocks()):
        error, variance = _errors(box, blocks, luma_variance)
        total = total + weights[number] * error
        luma_variance = variance if number == 0 and box.layout.sampling.colours == "YCbCr" else luma_variance
    rms: Tensor = total.sqrt() / 255
    return rms


def salvaged_rms(box: Box, centre: Tensor) -> Tensor:
    """The same of damaged files, never below what the image says of their gaps: a solver that starts at such a level
    makes up what is missing instead of leaving it smooth.

    Where details are missing, that is half of what the means of neighbouring blocks differ; where blocks are missing,
    the standard deviation of the image.
    """
    grey, floor = centre.mean(1, keepdim=True), expected_rms(box)
    means = F.avg_pool2d(grey, 8, ceil_mode=True)
    steps = torch.cat([means.diff(dim=2).flatten(1), means.diff(dim=3).flatten(1)], 1)
    details = steps.square().sum(1).div(max(1, steps.shape[1])).sqrt() / 2
    missing = ((box.high - box.low) * box.steps > REACH) & box.layout.valid[..., None]
    for lacking, level in ((missing, details), (missing[..., 0], grey.flatten(1).std(1, correction=0))):
        floor = torch.where(lacking.flatten(1).any(1), torch.maximum(floor, level), floor)
    return floor


def _errors(box: Box, blocks: slice, luma_variance: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean squared error [B] of a component, in grey levels, and the variances [B,64] that it was computed from."""
    symbols = box.symbols[..., blocks, :][:, box.layout.valid[..., blocks]]
    step, count = box.steps[:, 0, 0, blocks.start], symbols.shape[1]
    used = (symbols != 0).sum(1).float()
    zeros = (1 - used / count).clamp(1e-3, 1 - 0.5 / count)
    variance = _variances(2 * (step / 2 / -torch.log(1 - zeros)).square(), used)
    if luma_variance is not None:
        variance = torch.minimum(variance, CHROMA_SHARE * luma_variance)
    error = zeros * _dead_zone(variance, step / 2) + (1 - zeros) * step.square() / 12
    return error.mean(1), variance


def _variances(observed: Tensor, used: Tensor) -> Tensor:
    """[B,64]: at most what a power law of the frequency, fitted to the coefficients [1:] that are used, allows."""
    axis = torch.arange(8.0, device=observed.device)
    radius = (axis[:, None].square() + axis.square()).sqrt().clamp(min=0.5).log().flatten()
    weight = torch.where(used >= 3, used.clamp(max=50), 0.0)
    weight[:, 0] = 0.0
    total = weight.sum(1, keepdim=True)
    share = weight / total.clamp(min=1e-6)
    centre = (share * radius).sum(1, keepdim=True)
    level = (share * observed.log()).sum(1, keepdim=True)
    offset = radius - centre
    slope = (share * offset * (observed.log() - level)).sum(1, keepdim=True) / (
        (share * offset.square()).sum(1, keepdim=True) + 1e-6
    )
    fitted = (level + slope.clamp(*FADE) * offset).exp()
    return torch.where(total > 0, torch.minimum(fitted, observed), observed)


def _dead_zone(variance: Tensor, half: Tensor) -> Tensor:
    """E[c^2 | |c| < half] of a Laplacian: its variance where the zone is wide, half^2 / 3 where it is narrow."""
    scaled = half * (2 / variance).sqrt()
    inside = (2 - torch.exp(-scaled) * (scaled.square() + 2 * scaled + 2)) / (1 - torch.exp(-scaled)).clamp(min=1e-6)
    return torch.where(scaled < 0.05, half.square() / 3, variance / 2 * inside)
