"""What a learned codec's plugin writes: four transforms and the Gaussian parameters of the latents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .factorized import FactorizedDensity
from .tables import SCALE_MIN

LATENT = 16
"""Pixels a side that a latent of y stands for."""
HYPER = 4
"""Latents of y a side that a latent of z stands for, in most models."""


def latent_size(size: Sequence[int]) -> tuple[int, int]:
    """(h, w) of y for an image of (H, W): each latent covers pixels, if only one row of them."""
    return -(-size[0] // LATENT), -(-size[1] // LATENT)


def hyper_size(size: Sequence[int], hyper: int = HYPER) -> tuple[int, int]:
    """(h, w) of z for (h, w) of y."""
    return -(-size[0] // hyper), -(-size[1] // hyper)


def padded(x: Tensor) -> Tensor:
    """Images [B,C,H,W] with their last row and column repeated to whole latents.

    Beyond that, nothing is coded: the networks see the zeros that their convolutions pad with, as they did at the edges
    of the crops they were trained on.
    """
    return repeated(x, LATENT)


def repeated(x: Tensor, multiple: int) -> Tensor:
    """x [B,C,H,W] with its last row and column repeated until its sides are multiples."""
    return F.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple), mode="replicate")


@dataclass(frozen=True)
class Group:
    """Latents that are coded together, given those of the groups before: channels, and which fields of the board."""

    channels: slice
    parity: Literal[0, 1] | None = None
    """0: positions (row + column) even, 1: odd, None: all."""

    def mask(self, height: int, width: int) -> Tensor:
        """Bool [height,width]."""
        board = checkerboard(height, width)
        return torch.ones_like(board) if self.parity is None else board == bool(self.parity)


@dataclass(frozen=True)
class Front(Group):
    """The positions of one step of a scan in raster order: their 5x5 causal neighbours are in the steps before."""

    step: int = 0
    """3 row + column. A row follows the row above by 3 positions, so that all of a step are coded together."""

    def mask(self, height: int, width: int) -> Tensor:
        return 3 * torch.arange(height)[:, None] + torch.arange(width) == self.step


def checkerboard(height: int, width: int) -> Tensor:
    """Bool [height,width]: true where row + column is odd."""
    return (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 1


class LatentModel(nn.Module, ABC):
    """A codec with a hyperprior; its parts have the names that CompressAI gave them.

        x -> g_a -> y -> round about the means -> y_hat -> g_s -> g(y)
                    |                ^
                   h_a               | means and scales, group by group
                    v                |
                    z -> round -> z_hat -> h_s

    Tensors are [B,channels,height,width] in whatever dtype the weights have; images in [0,1]. y has a 16th of the
    image's sides and z a 64th.
    """

    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    h_s: nn.Module
    entropy_bottleneck: FactorizedDensity
    """Of z."""
    latents: int
    """Channels of y."""
    groups: tuple[Group, ...]
    """In coding order. Empty if y has no Gaussians: then z is y, and the density of z is all that codes it."""
    hyper: int = HYPER
    """Latents of y a side that a latent of z stands for."""
    halo: int = 12
    """How far beyond a latent g_a looks in the image, and g_s about its part of the image in y; in latents."""

    @abstractmethod
    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of these channels at all positions, [B,C,h,w] each, from `hyper`, the output of h_s.

        At the positions of a group they may depend only on latents of earlier groups. The other entries of y_hat are
        there, but must not be looked at: 0 while coding. Scales below SCALE_MIN mean SCALE_MIN.
        """

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """z of y, whose sides are whole hyper-latents: see `hyper_latents`."""
        return self.h_a(y)

    def hyper_latents(self, y: Tensor) -> Tensor:
        """z of y [B,M,h,w], a quarter of its sides, rounded up; the last row and column of y are repeated for h_a."""
        return self.hyper_analysis(repeated(y, self.hyper))

    def hyper_synthesis(self, z: Tensor, size: Sequence[int]) -> Tensor:
        """What h_s makes of z, for as many positions (h, w) as there are latents."""
        return self.h_s(z)[..., : size[0], : size[1]]

    @abstractmethod
    def set_spread(self, spread: Tensor) -> None:
        """Before training: y begins with these standard deviations [latents], so let the entropy model begin there."""

    @abstractmethod
    def widen(self, gains: Tensor) -> None:
        """After training: from now on the scales of each channel are `gains` [latents] times what they were."""

    def order(self, size: Sequence[int]) -> Sequence[Group]:
        """The groups of (h, w) latents in coding order."""
        return self.groups

    def gaussian_at(self, group: Group, mask: Tensor, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """`gaussian` at the K positions of a group's mask [h,w] only: [B,C,K] each."""
        means, scales = self.gaussian(group.channels, hyper, y_hat)
        return means[..., mask], scales[..., mask]

    def gaussians(self, hyper: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales of all latents when all of y is known, as in training."""
        slices = dict.fromkeys((g.channels.start, g.channels.stop) for g in self.groups)
        pairs = [self.gaussian(slice(*ends), hyper, y) for ends in slices]
        return torch.cat([m for m, _ in pairs], 1), torch.cat([s for _, s in pairs], 1)


class _LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient lets x go up again from below the bound."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, bound: float) -> Tensor:
        ctx.below = x < bound  # type: ignore[attr-defined]
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * (~ctx.below | (grad < 0)), None  # type: ignore[attr-defined]


def bounded(x: Tensor, bound: float = SCALE_MIN) -> Tensor:
    """max(x, bound) with a gradient that is not lost below the bound."""
    out: Tensor = _LowerBound.apply(x, bound)
    return out


def gaussian_likelihood(y: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Probability of the unit interval around y, computed in the tail, where it does not cancel."""
    distance = (y - means).abs()
    outer, inner = (distance - 0.5) / scales, (distance + 0.5) / scales
    return 0.5 * (torch.erfc(outer / math.sqrt(2)) - torch.erfc(inner / math.sqrt(2)))
