"""Solvers beside the truth: figures of images found for toy bitstreams, whose posterior is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.noise import Noise

from .cell import ToyCell
from .source import MixtureSource

POSITIONS = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
"""Where distributions of positions are compared, in widths of the interval."""
TOUCHING = 1e-4
"""Widths of an interval that count as none: where an image is clipped to the cell, float32 leaves 1e-6."""


@dataclass(frozen=True)
class Figures:
    """How images differ from draws of the posterior, for which all tend to 0 but spread and inside to 1, error to 2."""

    bias: float
    """Distance of the mean of each cell from the posterior mean, rms; in rms posterior standard deviations."""
    spread: float
    """Variance within the cells, as a share of the posterior's: 1 for a sampler, 0 if all seeds give one image."""
    covariance: float
    """||C - C'|| / ||C'|| (Frobenius) of the covariance within the cells [3,3], C' that of the posterior."""
    sliced: float
    """Sliced Wasserstein-1 distance to exact draws, cell by cell: in 8-bit levels."""
    inside: float
    """Share of symbols within their interval; 1 for a sampler."""
    occupancy: float
    """Kolmogorov distance, 0..1, of the positions in their intervals from those of the posterior."""
    error: float
    """E||X - X^||^2 / D, D that of the posterior mean: 1 + spread + bias^2, so 2 for a sampler."""


class Truth:
    """The posterior of the images of some toy bitstreams, pixel by pixel.

    Pixels are independent, so the law of one depends on its own three symbols alone: pixels with the same symbols, of
    whatever image, are draws of one law, and here one *group*.
    """

    group: Tensor
    """[N] of each of the N = BHW pixels."""
    count: Tensor
    """[G] pixels of each group, float64."""
    mean: Tensor
    """[G,3]: the posterior mean."""
    covariance: Tensor
    """[G,3,3]: the posterior covariance."""
    distortion: float
    """D: expected squared error of the posterior mean, summed over the channels of a pixel."""

    def __init__(self, cell: ToyCell, source: MixtureSource) -> None:
        self.cell, self.source = cell, source
        _, self.group = torch.unique(pixels(cell.symbols), dim=0, return_inverse=True)
        self.count = torch.bincount(self.group).double()
        edges = (self.average(pixels(edge)).T[None, :, None] for edge in (cell.lower, cell.upper))
        self.posterior = source.posterior(*edges)
        self.mean = self.posterior.mean[0, :, 0].T
        self.covariance = self.posterior.covariance[0, :, :, 0].movedim(-1, 0)
        self.distortion = float(self._overall(self.covariance).trace())

    def sample(self, noise: Noise) -> Tensor:
        """Exact draws [B,3,H,W] of the posterior, one an image of `noise`."""
        return self.source.posterior(self.cell.lower, self.cell.upper).sample(noise)

    def figures(self, image: Tensor, original: Tensor, noise: Noise) -> Figures:
        """Figures of `image` [B,3,H,W], decoded from the bitstreams of `original`; `noise` is for `sliced`."""
        found = pixels(image)
        mean = self.average(found)
        bias = self._overall((mean - self.mean).square().sum(dim=1)) / self.distortion
        covariance, wanted = self._within(found, mean), self._overall(self.covariance)
        error = (found - pixels(original)).square().sum(dim=1).mean() / self.distortion
        position = self.cell.position(image).flatten().cpu().double()
        return Figures(
            bias=float(bias.sqrt()),
            spread=float(covariance.trace() / wanted.trace()),
            covariance=float((covariance - wanted).norm() / wanted.norm()),
            sliced=255 * self._sliced(found, pixels(self.sample(noise))),
            inside=float((position.abs() <= 0.5 + TOUCHING).double().mean()),
            occupancy=self._deviation(position),
            error=float(error),
        )

    def occupancy(self, positions: Tensor = POSITIONS) -> Tensor:
        """[T]: share of all symbols at or below each position [T] of -1/2..1/2 in their interval, in closed form."""
        return (self.posterior.occupancy(positions)[:, 0, :, 0] @ self.count).mean(dim=1) / self.count.sum()

    def average(self, values: Tensor) -> Tensor:
        """[N,...] -> [G,...]: the mean over the pixels of each group."""
        total = torch.zeros(len(self.count), *values.shape[1:], dtype=values.dtype).index_add_(0, self.group, values)
        return total / self.count.reshape(-1, *[1] * (values.ndim - 1))

    def _overall(self, values: Tensor) -> Tensor:
        """[G,...] -> [...]: the mean over all pixels."""
        return torch.tensordot(self.count / self.count.sum(), values, 1)

    def _within(self, found: Tensor, mean: Tensor) -> Tensor:
        """[3,3]: covariance about the means [G,3] of the groups, of which each takes a degree of freedom."""
        residual = found - mean[self.group]
        return residual.T @ residual / max(len(found) - len(self.count), 1)

    def _sliced(self, a: Tensor, b: Tensor, directions: int = 16) -> float:
        drawn = torch.randn(3, directions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        unit = drawn / drawn.norm(dim=0)
        return float((self._sorted(a @ unit) - self._sorted(b @ unit)).abs().mean())

    def _sorted(self, values: Tensor) -> Tensor:
        """[N,K]: each column in ascending order, group after group."""
        order = values.argsort(dim=0)
        order = order.gather(0, self.group[order].argsort(dim=0, stable=True))
        return values.gather(0, order)

    def _deviation(self, position: Tensor) -> float:
        """Both limits are looked at, so that what lies on a face counts as well as what is beyond."""
        ascending, wanted = position.sort().values, self.occupancy()
        limits = (torch.searchsorted(ascending, POSITIONS + way * TOUCHING) / len(position) for way in (-1, 1))
        return max(float((share - wanted).abs().max()) for share in limits)


def pixels(image: Tensor) -> Tensor:
    """[B,3,H,W] -> [BHW,3] float64 on the CPU."""
    return image.detach().cpu().double().movedim(1, -1).reshape(-1, 3)
