"""Langevin sampling of latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, InversionSolver, LatentGenerator, Solution
from idemcore.runtime import finest

from .config import LangevinConfig
from .search import Look, Search, where

ACCEPTANCE = 0.574
"""Share of accepted proposals with which Metropolis-adjusted Langevin chains mix best (Roberts & Rosenthal 1998)."""
GAIN = 0.2
"""Step of log(step length) for each unit of acceptance probability too many or too few."""


class Langevin(InversionSolver[LatentGenerator]):
    """A chain whose latents follow the prior, restricted to the cell up to a soft edge of deviation s:

        p(z) ~ N(z; 0, I) exp(-Phi(z)),   Phi = E(G(z)) / s^2,   E = 1/2 sum_k d_k^2,   d distances to the cell

        v = ((2 - h) z - 2 h grad Phi(z) + sqrt(8 h) n) / (2 + h)                    n ~ N(0, I)
        z <- v with probability min(1, exp(rho(z, v) - rho(v, z)))
        rho(z, v) = Phi(z) + <v - z, grad Phi(z)>/2 + h/4 <z + v, grad Phi(z)> + h/4 |grad Phi(z)|^2

    That is pCNL (Cotter, Roberts, Stuart & White, Statistical Science 2013): Metropolis-adjusted Langevin, whose
    proposals leave N(0, I) as it is, so that h need not shrink as latents grow. In the latents of a generator, without
    the correction: Purohit et al., arXiv 2410.02078. As s -> 0 the images follow the posterior given the bitstream.

    There is no `constraint=image`: ||g(y) - g(f(x))||^2 is constant between jumps, where a chain can only get stuck.

    Burn-in anneals s from where Phi of the first latent is d/2, as much as the prior's, and learns h, image by image;
    then both stay. The last state is the sample.
    """  # fmt: skip

    def __init__(self, config: LangevinConfig) -> None:
        self.config = config

    def solve(
        self, cell: Constraint, generator: LatentGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        search = Search(cell, "cell", self.config, callback)
        for attempt in search.attempts(noise):
            search.offer(self._chain(search, generator, attempt))
        return search.solution()

    @torch.no_grad()
    def _chain(self, search: Search, generator: LatentGenerator, noise: Noise) -> Look:
        """The last state of a chain."""
        z = generator.sample(noise)
        here = Point(z, search.look(generator.synthesize, (z,)))
        first = (2 * here.look.energy / z[0].numel()).sqrt()
        search.tell(here.look, first)
        length = torch.full_like(first, self.config.step)
        adaptive = self.config.burn_in * self.config.steps
        for i in range(1, self.config.steps):
            deviation = anneal(first, self.config.tolerance, min(1.0, 2 * i / adaptive) if adaptive else 1.0)
            v = propose(here, length, deviation, noise)
            there = Point(v, search.look(generator.synthesize, (v,)))
            log_chance = rho(here, there, length, deviation) - rho(there, here, length, deviation)
            accepted = noise.uniform(1, device=z.device)[:, 0].log() < log_chance
            here = here.replaced(there, accepted)
            search.tell(here.look, deviation)
            if i < adaptive:
                chance = log_chance.exp().clamp(max=1).nan_to_num(0.0)
                length = (length * (GAIN * (chance - ACCEPTANCE)).exp()).clamp(max=2)
        return here.look


@dataclass(frozen=True)
class Point:
    """A latent [B,...] and the look at its image."""

    z: Tensor
    look: Look

    def slope(self, deviation: Tensor) -> Tensor:
        """grad Phi(z)."""
        return self.look.gradients[0] / wide(deviation.square(), self.z)

    def replaced(self, other: Point, mask: Tensor) -> Point:
        """`other`'s images where the mask [B] is true."""
        return Point(where(mask, other.z, self.z), self.look.replaced(other.look, mask))


def anneal(first: Tensor, last: float, t: float) -> Tensor:
    """[B] deviations: from `first` [B] at t = 0 to `last` at t = 1, in equal ratios; never below `last`."""
    return last * (first / last).clamp(min=1) ** (1 - t)


def propose(at: Point, length: Tensor, deviation: Tensor, noise: Noise) -> Tensor:
    """v ~ q(z, v)."""
    h = wide(length, at.z)
    return ((2 - h) * at.z - 2 * h * at.slope(deviation) + (8 * h).sqrt() * noise.like(at.z)) / (2 + h)


def rho(a: Point, b: Point, length: Tensor, deviation: Tensor) -> Tensor:
    """rho(z, v) [B]: -log(p(z) q(z, v)), less what rho(v, z) has too."""
    slope = a.slope(deviation)
    prior = dot(b.z - a.z, slope) / 2 + length / 4 * (dot(a.z + b.z, slope) + dot(slope, slope))
    return a.look.energy / deviation.square() + prior


def dot(a: Tensor, b: Tensor) -> Tensor:
    """[B], as exact as the device can."""
    exact = finest(a.device)
    return (a.to(exact) * b.to(exact)).flatten(1).sum(dim=1)


def wide(value: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B,1,..] in the type of `like`."""
    return value.to(like).reshape(-1, *[1] * (like.ndim - 1))
