"""Integer frequency tables for the range coder, and the Gaussian ones by scale; all computed in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..runtime import finest

PRECISION = 16
"""Bits of a frequency: each table sums to 2**16."""
SCALE_MIN, SCALE_MAX, SCALES = 0.11, 256.0, 64
"""Standard deviations of the Gaussian tables: so many, log-spaced (Balle et al., ICLR 2018; as in CompressAI)."""
GRID = 64
"""Means are rounded to multiples of 1/64, so that float noise of another machine gives the same symbols."""
TAIL_MASS = 1e-9


@dataclass(frozen=True)
class Tables:
    """Cumulative frequencies by table index; symbol s of table i stands at s - offsets[i]."""

    cdfs: list[list[int]]
    """Each from 0 to 2**16; its last interval is the escape for symbols outside."""
    offsets: list[int]

    @property
    def lengths(self) -> list[int]:
        return [len(cdf) for cdf in self.cdfs]


def quantised_cdf(mass: Tensor) -> list[int]:
    """[K] probabilities, whose complement to 1 is the escape -> K + 2 cumulative frequencies, none of them equal.

    Every symbol keeps a frequency of 1 at least; what that costs is taken from the most frequent ones.
    """
    escape = (1.0 - mass.sum()).clamp(min=0.0).view(1)
    frequencies = (torch.cat([mass, escape]) * 2**PRECISION).round().long().clamp(min=1)
    while (surplus := int(frequencies.sum()) - 2**PRECISION) != 0:
        largest = int(frequencies.argmax())
        frequencies[largest] -= min(surplus, int(frequencies[largest]) // 2)
    return [0, *frequencies.cumsum(0).tolist()]


@cache
def scale_table() -> Tensor:
    """Float64 [64], ascending."""
    return torch.linspace(math.log(SCALE_MIN), math.log(SCALE_MAX), SCALES, dtype=torch.float64).exp()


def scale_indexes(scales: Tensor) -> Tensor:
    """Index of the table scale nearest to each of `scales`, as a ratio: the least bits that the table can give."""
    table = scale_table()
    exact = finest(scales.device)
    between = (table[:-1] * table[1:]).sqrt().to(scales.device, exact)
    return torch.searchsorted(between, scales.to(exact).contiguous())


def on_grid(means: Tensor) -> Tensor:
    """Means as the coder uses them."""
    return (means * GRID).round() / GRID


@cache
def gaussian_tables() -> Tables:
    """One table a scale over the integers, symmetric about 0."""
    cdfs, offsets = [], []
    reach = -float(torch.special.ndtri(torch.tensor(TAIL_MASS / 2, dtype=torch.float64)))
    for scale in scale_table().tolist():
        half = math.ceil(scale * reach)
        edges = (torch.arange(-half, half + 2, dtype=torch.float64) - 0.5) / scale
        cumulative = torch.special.ndtr(-edges.abs())
        left = cumulative[: half + 1].diff()  # of -half .. -1; computed in the tail, where it does not cancel
        centre = 1 - 2 * cumulative[half]
        cdfs.append(quantised_cdf(torch.cat([left, centre.view(1), left.flip(0)])))
        offsets.append(-half)
    return Tables(cdfs, offsets)
