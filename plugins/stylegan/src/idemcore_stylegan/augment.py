"""Augmentation of what the discriminator sees, real or not, so that few images suffice.

Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020: where each change is left out
often enough, the generator learns the distribution without it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE, TURN, STRETCH, SHIFT = 0.2, math.pi, 0.2, 0.125
"""Spread of log2 size; largest angle; spread of log2 of the ratio of the sides; spread of the shift, in widths."""
BRIGHTNESS, CONTRAST = 0.2, 0.5
"""Spread of what is added, in [-1,1] images; spread of log2 of the factor."""


def augment(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Images [B,C,H,W], each changed in each of six ways with probability `share`. Differentiable; `rng` on x's device.

    Resized, turned, stretched and shifted, with mirrored margins; then brighter or darker, with more or less contrast.
    """
    if share <= 0:
        return x
    grid = F.affine_grid(_maps(len(x), share, rng)[:, :2], list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    contrast = torch.exp2(CONTRAST * _normal(len(x), share, rng))
    brightness = BRIGHTNESS * _normal(len(x), share, rng)
    return x * contrast[:, None, None, None] + brightness[:, None, None, None]


def _maps(count: int, share: float, rng: torch.Generator) -> Tensor:
    """[B,3,3]: from places in the changed image to places in the given one, in [-1,1]."""
    size = torch.exp2(SCALE * _normal(count, share, rng))
    stretch = torch.exp2(STRETCH * _normal(count, share, rng))
    angle = TURN * (2 * torch.rand(count, generator=rng, device=rng.device) - 1) * _chosen(count, share, rng)
    right, down = (2 * SHIFT * _normal(count, share, rng) for _ in range(2))
    maps = torch.zeros(count, 3, 3, device=rng.device)
    maps[:, 0, 0], maps[:, 0, 1] = size * stretch * angle.cos(), -size * stretch * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = size / stretch * angle.sin(), size / stretch * angle.cos()
    maps[:, 0, 2], maps[:, 1, 2], maps[:, 2, 2] = right, down, 1.0
    return maps


def _normal(count: int, share: float, rng: torch.Generator) -> Tensor:
    """[B]: standard normal where chosen, else 0."""
    return torch.randn(count, generator=rng, device=rng.device) * _chosen(count, share, rng)


def _chosen(count: int, share: float, rng: torch.Generator) -> Tensor:
    return torch.rand(count, generator=rng, device=rng.device) < share
