"""libjpeg's upsampling (jdsample.c): triangle filters for factors of 2 ("fancy"), which keep the grid centred."""

from __future__ import annotations

import torch
from torch import Tensor


def upsample(plane: Tensor, factors: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """[B,h,w] -> [B,H,W], `factors` times as tall and wide, then cropped to `size`.

    libjpeg repeats the samples of planes of one or two columns that become wider.
    """
    fancy = max(factors) <= 2 and (factors[1] == 1 or plane.shape[-1] > 2)
    for axis, factor, whole in zip((-2, -1), factors, size, strict=True):
        if factor > 1:
            plane = _double(plane, axis) if fancy else plane.repeat_interleave(factor, axis)
        plane = plane.narrow(axis, 0, whole)
    return plane


def _double(plane: Tensor, axis: int) -> Tensor:
    """Filters with (1/4, 3/4), edges repeated."""
    last = plane.shape[axis] - 1
    before = torch.cat([plane.narrow(axis, 0, 1), plane.narrow(axis, 0, last)], axis)
    after = torch.cat([plane.narrow(axis, 1, last), plane.narrow(axis, last, 1)], axis)
    pairs = torch.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis % plane.ndim + 1)
    return pairs.flatten(axis % plane.ndim, axis % plane.ndim + 1)
