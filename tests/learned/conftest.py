"""A learned codec of a few layers, with random weights whose latents take a few levels, and pictures for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from idemcore.learned.config import LearnedConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.model import Group, LatentModel, checkerboard
from idemcore.runtime import Runtime


def down(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 5, 2, 2)


def up(inner: int, outer: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inner, outer, 5, 2, 2, 1)


class Small(LatentModel):
    """Two channels of y on a checkerboard, then two given those; smooth, so that gradients can be checked."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = 4
        self.groups = (Group(slice(0, 2), 0), Group(slice(0, 2), 1), Group(slice(2, 4)))
        self.g_a = nn.Sequential(down(3, 6), down(6, 8), nn.Softplus(), down(8, 8), down(8, 4))
        self.g_s = nn.Sequential(up(4, 8), up(8, 8), nn.Softplus(), up(8, 6), up(6, 3))
        self.h_a, self.h_s = nn.Conv2d(4, 3, 4, 4), nn.ConvTranspose2d(3, 8, 4, 4)
        self.context = nn.Conv2d(2, 4, 3, padding=1)
        self.entropy_bottleneck = FactorizedDensity(3)
        self.gains = nn.Parameter(torch.ones(4), requires_grad=False)

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        known = y_hat[:, :2]
        if channels.start == 0:
            board = checkerboard(*known.shape[-2:]).to(known)
            context = board * self.context(known * (1 - board))
            means, scales = (hyper[:, :4] + context).chunk(2, 1)
        else:
            means, scales = (hyper[:, 4:] + self.context(known)).chunk(2, 1)
        return means, scales.abs() * self.gains[channels].view(-1, 1, 1)

    def set_spread(self, spread: Tensor) -> None:
        self.h_a.weight.div_(spread.view(1, -1, 1, 1))
        self.h_s.bias.copy_(torch.cat([0 * spread[:2], spread[:2], 0 * spread[2:], spread[2:]]))

    @torch.no_grad()
    def widen(self, gains: Tensor) -> None:
        self.gains.mul_(gains)


def build(seed: int = 0) -> Small:
    """Latents and hyper-latents have a spread of a few steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Small()
    with torch.no_grad():
        for layer in (*model.g_a, *model.g_s):
            if not isinstance(layer, nn.Softplus):
                layer.weight.mul_(2)
        model.g_a[-1].weight.mul_(3)
        model.h_a.weight.mul_(2)
        model.entropy_bottleneck.fit_quantiles()
    return model


def codec(seed: int = 0, **settings: object) -> LearnedEncoder:
    runtime = Runtime(torch.device("cpu"), torch.float32)
    return LearnedEncoder(build(seed), b"test", runtime, LearnedConfig(**settings))


def picture(count: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """Byte images [count,3,height,width]: soft shades, and grain on a part of each."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=rng)
    shades = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    grain = 0.2 * torch.randn(count, 3, height, width, generator=rng)
    grain[..., : width // 2] = 0
    return ((shades + grain).clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above, which pytest's import mode keeps tests from importing."""
    return SimpleNamespace(model=build, codec=codec, picture=picture, real=lambda image: image.float() / 255)
