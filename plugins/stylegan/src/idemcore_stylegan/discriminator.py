"""The residual discriminator of StyleGAN2 (Karras et al., CVPR 2020, figure 7c)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ops import GAIN, SLOPE, EqualLinear, downsampled_convolution

GROUP = 4
"""Images whose spread the discriminator is shown; a batch is a multiple of it."""


class EqualConvolution(nn.Module):
    """Convolution, halving the resolution if `down`, whose kernel is stored unscaled: times gain / sqrt(fan_in)."""

    def __init__(
        self, width: int, out: int, side: int, gain: float = GAIN, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.gain, self.down = gain, down
        self.weight = nn.Parameter(torch.randn(out, width, side, side))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * (self.gain / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        if self.down:
            return downsampled_convolution(x, weight, bias)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Residual(nn.Module):
    """x -> conv, f -> conv, down, f -> + ; x -> 1x1, down -> +; both divided by sqrt 2, so that the variance stays."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv0 = EqualConvolution(width, width, 3)
        self.conv1 = EqualConvolution(width, out, 3, GAIN / math.sqrt(2), down=True)
        self.skip = EqualConvolution(width, out, 1, 1 / math.sqrt(2), down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = activated(self.conv1(activated(self.conv0(x)))) + self.skip(x)
        return out


class Discriminator(nn.Module):
    """Images [B,C,R,R] about [-1,1], B a multiple of 4 -> logits [B] of being real."""

    def __init__(self, widths: tuple[int, ...], colours: int) -> None:
        """`widths`: channels at 4x4, 8x8, ... up to the full resolution."""
        super().__init__()
        first, last = widths[-1], widths[0]
        self.from_rgb = EqualConvolution(colours, first, 1)
        self.blocks = nn.Sequential(*(Residual(widths[k], widths[k - 1]) for k in range(len(widths) - 1, 0, -1)))
        self.conv = EqualConvolution(last + 1, last, 3)
        self.fc = EqualLinear(16 * last, last)
        self.out = EqualLinear(last, 1)

    def forward(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """`dtype` is that of the convolutions above 4x4."""
        h = self.from_rgb(x.to(dtype)).contiguous(memory_format=torch.channels_last)
        h = with_spread(self.blocks(activated(h)).float())
        h = activated(self.fc(activated(self.conv(h)).flatten(1))) * GAIN
        logits: Tensor = self.out(h)
        return logits[:, 0]


def activated(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def with_spread(x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C+1,H,W]: the mean standard deviation within groups of images (Karras et al., ICLR 2018)."""
    groups = x.unflatten(0, (GROUP, -1))
    spread = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return torch.cat([x, spread.repeat(GROUP)[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)
