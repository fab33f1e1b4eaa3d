"""What StyleGAN2's networks share: resampling by a low-pass filter, linear layers of equalised learning rate."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE, GAIN = 0.2, math.sqrt(2)
"""Of every leaky ReLU, and what its output is multiplied by: f(x) * gain = f(x * gain)."""


def low_pass(gain: float = 1.0) -> Tensor:
    """The filter [1,3,3,1] in both directions, [4,4], of sum `gain`."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return gain * torch.outer(taps, taps)


def smooth(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """[B,C,H,W] filtered by `low_pass`."""
    kernel = low_pass(gain).to(x).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,2H,2W]."""
    kernel = low_pass(4).to(x).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def upsampled_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """[B,I,H,W] and a 3x3 kernel [O,I,3,3] -> [B,O,2H,2W]."""
    return smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4)


def downsampled_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[B,I,H,W] and a 3x3 or 1x1 kernel -> [B,O,H/2,W/2]."""
    # Here and not in `smooth` is the stride: on a CPU a filter with a stride is slow to differentiate in bfloat16.
    return F.conv2d(smooth(x, padding=weight.shape[-1] // 2 + 1), weight, bias, stride=2)


class EqualLinear(nn.Module):
    """A linear layer whose parameters are stored unscaled, so that all learn at one rate (Karras et al., ICLR 2018).

    weight * rate / sqrt(fan_in), bias * rate
    """

    def __init__(self, fan_in: int, fan_out: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.gain, self.rate = rate / math.sqrt(fan_in), rate
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / rate)
        self.bias = nn.Parameter(torch.full((fan_out,), bias))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)
