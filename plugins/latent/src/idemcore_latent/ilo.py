"""ILO: intermediate layer optimisation."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, InversionSolver, LatentGenerator, Solution

from .config import IloConfig
from .descent import descend
from .geometry import Balls, Sphere, State, rms
from .schedules import ramp, split
from .search import Search


class IntermediateLayers(InversionSolver[LatentGenerator]):
    """Daras et al., ICML 2021, alg. 1, layer after layer, with the cell in the place of the measurements.

        layer 0   min ||g(y) - g(f(G(z)))||^2               such that   ||z|| = sqrt(d)
        layer k   min ||g(y) - g(f(G_k(a)))||^2             such that   a is in a ball around a_k
                  a_k: what the layers before k make of the best activations found there

    G_k is the generator from layer k on. Activations a may be several tensors, each with a ball of its own. They are
    measured in units of each image's rms(a_k), so that one radius and one learning rate suit all layers and networks.
    """  # fmt: skip

    def __init__(self, config: IloConfig) -> None:
        self.config = config

    def solve(
        self, cell: Constraint, generator: LatentGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        search = Search(cell, self.config.constraint, self.config, callback)
        parts = split(self.config.steps, self.config.shares[: generator.layers])
        for attempt in search.attempts(noise):
            best = Sphere().project((generator.sample(attempt),))
            for layer, steps in enumerate(parts):
                best = self._layer(search, generator, best, layer, steps)
                if search.done.all():
                    break
        return search.solution()

    def _layer(self, search: Search, generator: LatentGenerator, before: State, layer: int, steps: int) -> State:
        """The best activations of `layer`, found from those `before`, of the layer before it."""
        with torch.no_grad():
            first = generator.advance(before, layer - 1, layer) if layer else before
        unit = tuple(rms(tensor).clamp(min=torch.finfo(tensor.dtype).tiny) for tensor in first)
        centre = tuple(tensor / size for tensor, size in zip(first, unit, strict=True))

        def activations(state: State) -> State:
            return tuple(tensor * size for tensor, size in zip(state, unit, strict=True))

        def make(*state: Tensor) -> Tensor:
            return generator.synthesize_from(activations(state), layer)

        rate, radius = at(self.config.rates, layer), at(self.config.radii, layer - 1)
        domain = Balls(centre, radius, self.config.ball) if layer else Sphere()
        return activations(descend(search, make, centre, domain, [rate * ramp(i, steps) for i in range(steps)]))


def at(values: list[float], index: int) -> float:
    """The value for a layer; the last one repeats."""
    return values[min(index, len(values) - 1)]
