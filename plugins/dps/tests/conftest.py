"""Analytic worlds, written here so that no codec plugin is needed: Gaussian priors, a box and a linear codec."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore.protocols import Cell, DiffusionGenerator
from idemcore_dps.schedules import linear_ddpm

STEP = 32 / 255
SHAPE = (3, 8, 8)


class BoxCell(Cell):
    """A scalar quantiser of every sample."""

    def __init__(self, image: Tensor) -> None:
        self.symbols = (image / STEP).round()
        self.centre = (self.symbols * STEP).clamp(0, 1)
        self.distortion = torch.full((len(image),), STEP / 12**0.5)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return ((byte_image / 255 / STEP).round() != self.symbols).flatten(1).sum(1)

    def measure(self, x: Tensor) -> Tensor:
        return x + ((x / STEP).round() * STEP - x).detach()

    def position(self, x: Tensor) -> Tensor:
        return (x / STEP - self.symbols).flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        half = (0.5 - margin) * STEP
        return x.clamp(self.symbols * STEP - half, self.symbols * STEP + half).clamp(0, 1)


class MeanCell(BoxCell):
    """A codec that keeps the means of 2x2 pixels: g(f(x)) is an orthogonal projection, and nothing is rounded."""

    def __init__(self, image: Tensor) -> None:
        super().__init__(image)
        self.centre = self.measure(image)

    def measure(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        return x - self.measure(x) + self.centre


class GaussianPrior(DiffusionGenerator):
    """Samples independent and N(0.45, 0.2^2): E[x0 | x] is a weighted mean."""

    sigma_min, sigma_max = 1e-4, 80.0
    mean, deviation = 0.45, 0.2

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.differentiated: list[bool] = []

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        self.calls.append(float(level.mean()))
        self.differentiated.append(x.requires_grad)
        keep = self.deviation**2 / (self.deviation**2 + level**2)
        return self.mean + keep * (x - self.mean)


class DiscretePrior(GaussianPrior):
    """The same with 1000 timesteps and a learned variance that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmas = linear_ddpm()

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        return self.denoise(x, sigma), torch.sigmoid(x)


def scene(count: int = 2, seed: int = 0) -> Tensor:
    noise = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return (0.45 + 0.2 * noise).clamp(0, 1)


@pytest.fixture(scope="session")
def world() -> SimpleNamespace:
    """The classes above, which pytest's import mode keeps tests from importing."""
    names = (BoxCell, MeanCell, GaussianPrior, DiscretePrior, scene)
    return SimpleNamespace(STEP=STEP, **{one.__name__: one for one in names})
