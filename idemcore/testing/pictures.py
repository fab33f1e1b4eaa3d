"""Small pictures to check on, the same on every machine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..noise import Noise


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Byte-valued images [count,3,H,W] in [0,1]: waves, an edge and some grain, from near black to near white."""
    noise = Noise(range(seed, seed + count))
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None].expand(height, width)
    draws = noise.uniform(3, 4)[..., None, None]
    waves = torch.sin(2 * math.pi * (draws[:, :, 0] + (1 + draws[:, :, 1]) * x + (1 + draws[:, :, 2]) * y))
    edge = (x + y > 0.6 + 0.8 * draws[:, :, 3]).float() - 0.5
    grain = noise.normal(3, height, width)
    return to_levels(0.5 + 0.25 * waves + 0.2 * edge + 0.03 * grain)


def to_levels(image: Tensor) -> Tensor:
    """The nearest image of 8-bit levels, float32."""
    return (image.clamp(0, 1) * 255).round() / 255


def byte_image(image: Tensor) -> Tensor:
    """Uint8 of an image of 8-bit levels."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
