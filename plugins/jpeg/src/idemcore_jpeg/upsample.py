"""libjpeg's "fancy" chroma upsampling (jdsample.c): triangle filters that keep the sample grid centred."""

from __future__ import annotations

import torch
from torch import Tensor


def upsample(plane: Tensor, axis: int, size: int) -> Tensor:
    """Doubles `axis` by the filter (1/4, 3/4), edges repeated, and crops it to `size`."""
    last = plane.shape[axis] - 1
    before = torch.cat([plane.narrow(axis, 0, 1), plane.narrow(axis, 0, last)], axis)
    after = torch.cat([plane.narrow(axis, 1, last), plane.narrow(axis, last, 1)], axis)
    pairs = torch.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis % plane.ndim + 1)
    return pairs.flatten(axis % plane.ndim, axis % plane.ndim + 1).narrow(axis, 0, size)
