"""A residual UNet without normalisation, for images of any size: the network of the photograph prior and of the JPEG
estimate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NoiseEmbedding(nn.Module):
    """log(sigma) of each image -> features [B, dim] that every block reads its gains from."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(-4, 4), persistent=False)
        self.net = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, sigma: Tensor) -> Tensor:
        phase = sigma.log()[:, None] / 4 * self.frequencies
        return self.net(torch.cat([phase.cos(), phase.sin()], dim=1))


def zero(module: nn.Module) -> None:
    """Starts a layer at 0, so that the block around it starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


class ResBlock(nn.Module):
    """x + conv(relu(gain(sigma) * conv(x))): no normalisation, so local contrast survives and a CPU is kept busy."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Linear(embedding, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero(self.gain)
        zero(self.conv2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        gain = 1 + self.gain(embedding)[:, :, None, None]
        h = self.conv1(x)
        # Without gradients the same numbers in place: memory is what high resolutions wait for.
        h = F.relu(h * gain) if torch.is_grad_enabled() else h.mul_(gain).relu_()
        return _added(self.conv2(h), x)


def _added(fresh: Tensor, x: Tensor) -> Tensor:
    """fresh + x, in the memory of `fresh` where no gradient needs that and its type is that of the sum."""
    return fresh + x if torch.is_grad_enabled() or fresh.dtype != x.dtype else fresh.add_(x)


STRIP = 2**21
"""Numbers in a strip of features, 8 MB: few enough for a processor's cache."""


class Stage(nn.ModuleList):
    """Residual blocks of one resolution, one after the other."""

    def __init__(self, count: int, channels: int, embedding: int) -> None:
        super().__init__(ResBlock(channels, embedding) for _ in range(count))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [B,C,H,W]; on a CPU without gradients in strips: the same, but for rounding, in less time and memory."""
        rows = STRIP // (x.shape[1] * x.shape[3])
        reach = 2 * len(self)  # rows that the convolutions look at beyond a strip
        if x.device.type != "cpu" or torch.is_grad_enabled() or rows >= x.shape[2] or rows < 8 * reach:
            return self._blocks(x, embedding)
        out = torch.empty_like(x)
        for top in range(0, x.shape[2], rows):
            above = min(top, reach)
            strip = self._blocks(x[:, :, top - above : top + rows + reach], embedding)
            out[:, :, top : top + rows] = strip[:, :, above : above + rows]
        return out

    def _blocks(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self:
            x = block(x, embedding)
        return x


class ResidualUNet(nn.Module):
    """Predicts the normalised noise residual of an image with known noise level.

        x -> head -> [blocks] ------------------ + -> [blocks] -> tail
                        | 2x2 stride 2           | 1x1, nearest x2
                     [blocks] ---------- + -> [blocks]
                        |                |
                       ...  [blocks]  ...

    Resolution is halved `len(channels) - 1` times, so sides must be multiples of `multiple`. Skips are added, not
    concatenated. The architecture is that of DRUNet (Zhang et al., TPAMI 2021) with a gain per channel set by sigma.
    """

    def __init__(
        self, channels: Sequence[int] = (32, 64, 128, 192), blocks: int = 2, embedding: int = 128, planes: int = 3
    ) -> None:
        """`planes` of the input: the image's colours first."""
        super().__init__()
        self.channels, self.blocks = tuple(channels), blocks
        self.multiple = 2 ** (len(channels) - 1)
        self.embed = NoiseEmbedding(embedding)
        self.head = nn.Conv2d(planes, channels[0], 3, padding=1)
        self.down_blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for width, wider in itertools.pairwise(channels):
            self.down_blocks.append(Stage(blocks, width, embedding))
            self.downs.append(nn.Conv2d(width, wider, 2, stride=2))
            self.ups.append(nn.Conv2d(wider, width, 1))
            self.up_blocks.append(Stage(blocks, width, embedding))
        self.middle = Stage(2 * blocks, channels[-1], embedding)
        self.tail = nn.Conv2d(channels[0], 3, 3, padding=1)
        zero(self.tail)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x [B,3,H,W] scaled to unit variance, sigma [B] in the units of [-1,1] images -> [B,3,H,W]."""
        return self.residual(x, self.embed(sigma))

    def residual(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [B,planes,H,W] and the features [B,dim] that blocks read their gains from -> [B,3,H,W]."""
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round away noise below 1/256
            h = self.head(x.float())
        skips = []
        for stage, down in zip(self.down_blocks, self.downs, strict=True):
            h = stage(h, embedding)
            skips.append(h)
            h = down(h)
        h = self.middle(h, embedding)
        for stage, up in zip(reversed(self.up_blocks), reversed(self.ups), strict=True):
            h = F.interpolate(up(h), scale_factor=2.0, mode="nearest")
            h = _added(h, skips.pop())
            h = stage(h, embedding)
        return self.tail(h)


SIGMA_DATA = 0.5
"""Standard deviation of photographs in [-1,1], as in EDM (Karras et al., NeurIPS 2022)."""


def denoise(network: nn.Module, x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x0 + sigma n = x] by a network with EDM's preconditioning (Karras et al. 2022, table 1).

    x [B,3,H,W] and sigma [B] in the units of [-1,1] images; float32 in and out, whatever autocast does inside.
    """
    s = sigma[:, None, None, None]
    norm = (s**2 + SIGMA_DATA**2).sqrt()
    residual = network(x / norm, sigma).float()
    return x * (SIGMA_DATA / norm) ** 2 + residual * (s * SIGMA_DATA / norm)
