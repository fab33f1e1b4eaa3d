"""The density of the hyper-latents z: a learned cumulative for each channel (Balle et al., ICLR 2018, app. 6.1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .tables import Tables, quantised_cdf

WIDTHS = (1, 3, 3, 3, 3, 1)
TAIL_MASS = 1e-9
"""Probability outside the tables, for both tails together; such symbols are coded by an escape."""
LARGEST = 1024.0
"""Quantiles are sought within it: no hyper-latent of a trained network is larger."""


class FactorizedDensity(nn.Module):
    """P(z - 1/2 < Z < z + 1/2) a channel. Parameters are named as in CompressAI's EntropyBottleneck since 1.2.7."""

    def __init__(self, channels: int, init_scale: float = 10.0) -> None:
        super().__init__()
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        scale = init_scale ** (1 / (len(WIDTHS) - 1))
        for inner, outer in pairwise(WIDTHS):
            start = math.log(math.expm1(1 / scale / outer))
            self.matrices.append(nn.Parameter(torch.full((channels, outer, inner), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outer, 1) - 0.5))
        for width in WIDTHS[1:-1]:
            self.factors.append(nn.Parameter(torch.zeros(channels, width, 1)))
        quantiles = torch.tensor([-init_scale, 0.0, init_scale]).repeat(channels, 1, 1)
        self.quantiles = nn.Parameter(quantiles, requires_grad=False)
        """[C,1,3]: lower tail, median, upper tail."""

    @property
    def medians(self) -> Tensor:
        """[1,C,1,1]: the values that z is rounded around."""
        return self.quantiles[:, 0, 1].view(1, -1, 1, 1)

    def logits(self, z: Tensor) -> Tensor:
        """Logit of the cumulative at z, [C,1,K]."""
        for matrix, bias, factor in self._layers():
            z = F.softplus(matrix) @ z + bias
            if factor is not None:
                z = z + torch.tanh(factor) * torch.tanh(z)
        return z

    def likelihood(self, z: Tensor) -> Tensor:
        """Probability of the unit interval around z, of its shape [B,C,h,w]."""
        flat = z.transpose(0, 1).flatten(1)[:, None]
        mass = interval(self.logits(flat - 0.5), self.logits(flat + 0.5))
        return mass.view(z.shape[1], z.shape[0], *z.shape[2:]).transpose(0, 1)

    @torch.no_grad()
    def fit_quantiles(self) -> None:
        """Sets median and tails to those of the density, by bisection."""
        tail = math.log(2 / TAIL_MASS - 1)
        wanted = self.quantiles.new_tensor([-tail, 0.0, tail]).expand_as(self.quantiles)
        low, high = torch.full_like(self.quantiles, -LARGEST), torch.full_like(self.quantiles, LARGEST)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.logits(middle) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        self.quantiles.copy_((low + high) / 2)

    @torch.no_grad()
    def tables(self) -> Tables:
        """One table a channel over the integers z - median; computed in float64 so that every machine has the same."""
        exact = copy.deepcopy(self).cpu().double()
        low, median, high = exact.quantiles[:, 0].unbind(1)
        below = (median - low).ceil().clamp(0, LARGEST).long().tolist()
        above = (high - median).ceil().clamp(0, LARGEST).long().tolist()
        offsets = torch.arange(-max(below), max(above) + 1, dtype=torch.float64)
        samples = median[:, None, None] + offsets
        lower, upper = exact.logits(samples - 0.5), exact.logits(samples + 0.5)
        mass = interval(lower, upper)[:, 0]
        rows = [mass[c, max(below) - b : max(below) + a + 1] for c, (b, a) in enumerate(zip(below, above, strict=True))]
        return Tables([quantised_cdf(row) for row in rows], [-b for b in below])

    def _layers(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            yield matrix, bias, self.factors[index] if index < len(self.factors) else None


def interval(lower: Tensor, upper: Tensor) -> Tensor:
    """sigmoid(upper) - sigmoid(lower), computed on the side of the smaller tail, where it does not cancel."""
    sign = torch.where(lower + upper > 0, -1.0, 1.0).to(lower.dtype).detach()
    return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
