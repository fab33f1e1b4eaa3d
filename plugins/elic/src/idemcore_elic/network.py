"""ELIC: stacks of residual bottlenecks, and latents coded in uneven channel groups on a checkerboard.

He et al., "ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding",
CVPR 2022; parameters are laid out and named as in VincentChandelier's checkpoints, whose channel context sees the
first group and the one before only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.model import Group, LatentModel, checkerboard


@dataclass(frozen=True)
class Shape:
    """Widths of the network."""

    channels: int = 192
    """N, of the image networks and of z."""
    groups: tuple[int, ...] = (16, 16, 32, 64, 192)
    """Channels of the groups of y; M together."""
    context: tuple[int, int] = (224, 128)
    """Hidden widths of the channel context."""
    aggregation: tuple[int, int] = (640, 512)
    """Hidden widths of the parameter aggregation."""

    @property
    def latents(self) -> int:
        return sum(self.groups)


SMALL = Shape(channels=48, groups=(8, 8, 16, 32, 64), context=(48, 32), aggregation=(160, 128))
"""That of the bundled weights."""


def shape_of(state: Mapping[str, Tensor]) -> Shape:
    """Read from the weights. Raises KeyError or IndexError if they are not of this layout."""
    count = sum(key.startswith("context_prediction.") and key.endswith(".weight") for key in state)
    groups = tuple(state[f"context_prediction.{i}.weight"].shape[1] for i in range(count))
    context = (state["cc_transforms.0.0.weight"].shape[0], state["cc_transforms.0.2.weight"].shape[0])
    aggregation = (state["ParamAggregation.0.0.weight"].shape[0], state["ParamAggregation.0.2.weight"].shape[0])
    return Shape(state["g_a.0.weight"].shape[0], groups, context, aggregation)


def down(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 5, stride=2, padding=2)


def up(inner: int, outer: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inner, outer, 5, stride=2, padding=2, output_padding=1)


def bottleneck(width: int) -> list[nn.Module]:
    """1x1 to half the width, 3x3, 1x1 back."""
    half = width // 2
    return [
        nn.Conv2d(width, half, 1),
        nn.ReLU(),
        nn.Conv2d(half, half, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(half, width, 1),
    ]


class ResidualBottleneck(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, _, self.conv2, _, self.conv3 = bottleneck(width)
        for parameter in self.conv3.parameters():
            nn.init.zeros_(parameter)  # training starts from the identity

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(self.conv2(self.conv1(x).relu()).relu())


class ResidualUnit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*bottleneck(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.conv(x)).relu()


class Attention(nn.Module):
    """x + a(x) * sigmoid(b(x)) (Cheng et al., CVPR 2020, without the non-local part)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(ResidualUnit(width) for _ in range(3)))
        gate = nn.Conv2d(width, width, 1)
        for name, parameter in gate.named_parameters():
            nn.init.constant_(parameter, -5.0 if name == "bias" else 0.0)  # training starts near the identity
        self.conv_b = nn.Sequential(*(ResidualUnit(width) for _ in range(3)), gate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_a(x) * torch.sigmoid(self.conv_b(x))


class CheckerboardConv(nn.Conv2d):
    """5x5, from the fields of the other colour only."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * checkerboard(5, 5).to(self.weight), self.bias)


class Elic(LatentModel):
    halo = 9  # 132 pixels either way: 48 by the attention of y alone, the rest by 18 bottlenecks, strides and the other

    def __init__(self, shape: Shape = SMALL) -> None:
        super().__init__()
        n, m, widths = shape.channels, shape.latents, shape.groups
        self.shape, self.latents = shape, m
        ends = [sum(widths[: i + 1]) for i in range(len(widths))]
        self.slices = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        self.groups = tuple(Group(channels, parity) for channels in self.slices for parity in (0, 1))
        self.entropy_bottleneck = FactorizedDensity(n)
        self.g_a = nn.Sequential(
            down(3, n), *_residual(n), down(n, n), *_residual(n), Attention(n),
            down(n, n), *_residual(n), down(n, m), Attention(m),
        )  # fmt: skip
        self.g_s = nn.Sequential(
            Attention(m), up(m, n), *_residual(n), up(n, n), Attention(n), *_residual(n),
            up(n, n), *_residual(n), up(n, 3),
        )  # fmt: skip
        self.h_a = nn.Sequential(nn.Conv2d(m, n, 3, padding=1), nn.ReLU(), down(n, n), nn.ReLU(), down(n, n))
        middle = n * 3 // 2
        self.h_s = nn.Sequential(up(n, n), nn.ReLU(), up(n, middle), nn.ReLU(), nn.Conv2d(middle, 2 * m, 3, padding=1))
        seen = [widths[0]] + [widths[0] + width for width in widths[1:-1]]
        self.cc_transforms = nn.ModuleList(
            _stack(5, known, *shape.context, 2 * width) for known, width in zip(seen, widths[1:], strict=True)
        )
        self.context_prediction = nn.ModuleList(CheckerboardConv(width, 2 * width) for width in widths)
        self.ParamAggregation = nn.ModuleList(
            _stack(1, 2 * m + 2 * width * (2 if i else 1), *shape.aggregation, 2 * width)
            for i, width in enumerate(widths)
        )

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """At the anchors (parity 0) from hyper and earlier groups, elsewhere from the anchors of this group too."""
        index = self.slices.index(channels)
        y_hat = y_hat.to(hyper.dtype)
        spatial = self.context_prediction[index](y_hat[:, channels])
        known = [spatial * checkerboard(*spatial.shape[-2:]).to(spatial)]
        if index:
            before = torch.cat([y_hat[:, s] for s in self._before(index)], 1)
            known.append(self.cc_transforms[index - 1](before))
        means, scales = self.ParamAggregation[index](torch.cat([*known, hyper], 1)).chunk(2, 1)
        return means, scales

    @torch.no_grad()
    def set_spread(self, spread: Tensor) -> None:
        """What sees y gets it normalised; means begin at 0 and scales at `spread`."""
        self.get_parameter("h_a.0.weight").div_(_inputs(spread))
        for index, channels in enumerate(self.slices):
            own = spread[channels]
            self.get_parameter(f"context_prediction.{index}.weight").div_(_inputs(own))
            self.get_parameter(f"ParamAggregation.{index}.4.weight").mul_(torch.cat([own, own]).view(-1, 1, 1, 1))
            self.get_parameter(f"ParamAggregation.{index}.4.bias").copy_(torch.cat([torch.zeros_like(own), own]))
            if index:
                before = torch.cat([spread[s] for s in self._before(index)])
                self.get_parameter(f"cc_transforms.{index - 1}.0.weight").div_(_inputs(before))

    @torch.no_grad()
    def widen(self, gains: Tensor) -> None:
        for index, channels in enumerate(self.slices):
            own = gains[channels]
            factors = torch.cat([torch.ones_like(own), own])
            self.get_parameter(f"ParamAggregation.{index}.4.weight").mul_(factors.view(-1, 1, 1, 1))
            self.get_parameter(f"ParamAggregation.{index}.4.bias").mul_(factors)

    def _before(self, index: int) -> list[slice]:
        """The groups that the channel context of a group sees."""
        return [self.slices[0]] if index == 1 else [self.slices[0], self.slices[index - 1]]


def _inputs(factors: Tensor) -> Tensor:
    """As factors of a kernel's inputs."""
    return factors.view(1, -1, 1, 1)


def _residual(width: int) -> Sequence[nn.Module]:
    return [ResidualBottleneck(width) for _ in range(3)]


def _stack(kernel: int, *widths: int) -> nn.Sequential:
    """Convolutions of one kernel size with ReLU between them."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Conv2d(inner, outer, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
