"""The generator of StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

Configuration F, any power of two as resolution. Names of parameters are those of NVIDIA's stylegan2-ada-pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ops import GAIN, SLOPE, EqualLinear, upsample, upsampled_convolution

MAPPING_RATE = 0.01
"""Learning rate of the mapping network beside that of the others."""

State = tuple[Tensor, ...]
"""What a block takes: styles [B,L,w], noise [B,N]; after the first block features and RGB come before them."""


@dataclass(frozen=True)
class StyleGanConfig:
    """What sets a generator's parameters."""

    widths: tuple[int, ...]
    """Channels at 4x4, 8x8, ... up to the full resolution."""
    z: int = 512
    w: int = 512
    mapping_layers: int = 8
    colours: int = 3
    """Channels of the image: 3, or 1 for grey."""
    clamp: float = math.inf
    """Features beyond +-clamp are cut off, as in networks trained in half precision."""

    @property
    def resolution(self) -> int:
        return 2 << len(self.widths)


class Mapping(nn.Module):
    """z [B,z] -> w [B,w]; `w_avg` is the mean of w."""

    w_avg: Tensor

    def __init__(self, config: StyleGanConfig) -> None:
        super().__init__()
        self.z = config.z
        for index in range(config.mapping_layers):
            fan_in = config.w if index else config.z
            self.add_module(f"fc{index}", EqualLinear(fan_in, config.w, MAPPING_RATE))
        self.register_buffer("w_avg", torch.zeros(config.w))

    def forward(self, z: Tensor) -> Tensor:
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.children():
            x = F.leaky_relu(layer(x), SLOPE) * GAIN
        return x


class Convolution(nn.Module):
    """3x3 convolution, doubling the resolution if `up`, modulated by a style and demodulated, with noise added.

        w -> affine -> style s;   x * s -> conv -> / |kernel * s| -> + noise, bias -> leaky ReLU

    Scaling the features on both sides is the same as scaling each image's kernel, and lets a batch share one kernel.
    """  # fmt: skip

    noise_const: Tensor

    def __init__(self, width: int, out: int, side: int, config: StyleGanConfig, up: bool = False) -> None:
        super().__init__()
        self.side, self.up, self.clamp = side, up, config.clamp
        self.affine = EqualLinear(config.w, width, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out, width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(side, side))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Noise [B or 1, side * side]."""
        style = self.affine(w)
        norm = (style.square() @ self.weight.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()
        weight, x = self.weight.to(x.dtype), x * style.to(x.dtype)[:, :, None, None]
        x = upsampled_convolution(x, weight) if self.up else F.conv2d(x, weight, padding=1)
        grain = (noise * self.noise_strength).view(-1, 1, self.side, self.side) + self.bias[:, None, None]
        scale = (GAIN * norm).to(x.dtype)[:, :, None, None]
        x = F.leaky_relu(torch.addcmul((GAIN * grain).to(x.dtype), x, scale), SLOPE)
        return x if self.clamp == math.inf else x.clamp(-self.clamp, self.clamp)


class ToRgb(nn.Module):
    """Modulated 1x1 convolution without demodulation: features -> colours [B,C,H,W], float32."""

    def __init__(self, width: int, config: StyleGanConfig) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.affine = EqualLinear(config.w, width, bias=1.0)
        self.weight = nn.Parameter(torch.randn(config.colours, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.colours))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = (
            F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype)).float()
            + self.bias[:, None, None]
        )
        return x if self.clamp == math.inf else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """One resolution: two convolutions (at 4x4 a constant and one), whose features add to the RGB image.

        features -> conv0, up -> conv1 -+-> features
                                        torgb
        RGB ----------> upsample -------+-> RGB
    """  # fmt: skip

    def __init__(self, before: int, width: int, side: int, config: StyleGanConfig) -> None:
        super().__init__()
        if before:
            self.conv0 = Convolution(before, width, side, config, up=True)
        else:
            self.const = nn.Parameter(torch.randn(width, side, side))
        self.conv1 = Convolution(width, width, side, config)
        self.torgb = ToRgb(width, config)

    @property
    def convolutions(self) -> list[Convolution]:
        return [module for module in self.children() if isinstance(module, Convolution)]

    def forward(self, state: State, dtype: torch.dtype) -> State:
        *image, styles, noise = state
        batch = styles.shape[0]
        x = (image[0] if image else self.const.expand(batch, -1, -1, -1)).to(dtype)
        for index, convolution in enumerate(self.convolutions):
            pixels = convolution.side**2
            x = convolution(x, styles[:, index], noise[:, :pixels])
            noise = noise[:, pixels:]
        # The style that makes RGB is also that of the next block's first convolution.
        styles = styles[:, len(self.convolutions) :]
        rgb = self.torgb(x, styles[:, 0])
        return x, upsample(image[1]) + rgb if image else rgb, styles, noise


class Synthesis(nn.Module):
    """Styles [B,L,w] and noise [B or 1, N] -> RGB [B,C,R,R], about [-1,1]."""

    def __init__(self, config: StyleGanConfig) -> None:
        super().__init__()
        for index, width in enumerate(config.widths):
            before = config.widths[index - 1] if index else 0
            self.add_module(f"b{4 << index}", Block(before, width, 4 << index, config))
        self.styles = 2 * len(config.widths)
        """L: a style for each convolution, and one for the last RGB."""
        self.noise = sum(noise.numel() for noise in self._constants())
        """N: the pixels of all noise inputs, coarse to fine."""

    @property
    def blocks(self) -> list[Block]:
        return [cast(Block, block) for block in self.children()]

    def constant_noise(self) -> Tensor:
        """[1,N]: the noise that published images were made with (`noise_mode=const`)."""
        return torch.cat([noise.flatten() for noise in self._constants()])[None]

    def _constants(self) -> Iterator[Tensor]:
        return (convolution.noise_const for block in self.blocks for convolution in block.convolutions)

    def forward(self, styles: Tensor, noise: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        state: State = (styles, noise)
        for block in self.blocks:
            state = block(state, dtype)
        return state[1]


class StyleGan(nn.Module):
    """z [B,z] -> mapping -> w -> synthesis -> RGB."""

    def __init__(self, config: StyleGanConfig) -> None:
        super().__init__()
        self.config = config
        self.synthesis = Synthesis(config)
        self.mapping = Mapping(config)

    def forward(self, z: Tensor, noise: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """`dtype` is that of the convolutions; all else is float32."""
        image: Tensor = self.synthesis(self.spread(self.mapping(z)), noise, dtype)
        return image

    def spread(self, w: Tensor) -> Tensor:
        """w [B,w] as the style of every layer, [B,L,w]."""
        return w[:, None].expand(-1, self.synthesis.styles, -1)


@torch.no_grad()
def mean_w(mapping: Mapping, draws: int = 10_000) -> Tensor:
    """[w]: the mean of w over standard normal z, from a seed of its own."""
    z = torch.randn(draws, mapping.z, generator=torch.Generator().manual_seed(0))
    mean: Tensor = mapping(z.to(mapping.w_avg.device)).mean(dim=0)
    return mean
