"""Standard normal variables restricted to an interval [a, b], accurate far into either tail."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _reflect(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The interval mirrored into the left tail, where log Phi is accurate, and whether it was."""
    mirrored = a + b > 0
    return torch.where(mirrored, -b, a), torch.where(mirrored, -a, b), mirrored


def log_mass(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b."""
    a, b, _ = _reflect(a, b)
    below_a, below_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    difference: Tensor = below_b + torch.log1p(-(below_a - below_b).exp())
    return difference


def _density_ratio(a: Tensor, log_z: Tensor) -> Tensor:
    """phi(a) / Z."""
    return (-(a**2) / 2 - math.log(2 * math.pi) / 2 - log_z).exp()


def moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of n ~ N(0,1) given a <= n <= b:

    mean = (phi(a) - phi(b)) / Z,  variance = 1 + (a phi(a) - b phi(b)) / Z - mean^2,  Z = Phi(b) - Phi(a).
    """
    log_z = log_mass(a, b)
    at_a, at_b = _density_ratio(a, log_z), _density_ratio(b, log_z)
    mean = at_a - at_b
    return mean, 1 + a * at_a - b * at_b - mean**2


def quantile(u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The n in [a, b] below which a share u in [0,1) of the truncated normal lies (inverse of its distribution)."""
    left, right, mirrored = _reflect(a, b)
    share = torch.where(mirrored, 1 - u, u)
    # Sums of logarithms, because ndtr itself loses its digits below -5.
    log_below = torch.logaddexp(torch.special.log_ndtr(left), share.log() + log_mass(left, right))
    inside = torch.special.ndtri(log_below.exp())
    return torch.where(mirrored, -inside, inside).clamp(a, b)
