"""PULSE: descent over the latents of a sphere."""

from __future__ import annotations

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, InversionSolver, LatentGenerator, Solution

from .config import PulseConfig
from .descent import descend
from .geometry import Sphere
from .schedules import one_cycle
from .search import Search


class Pulse(InversionSolver[LatentGenerator]):
    """Menon et al., CVPR 2020, with the cell in the place of the low-resolution image (Xu et al., ICLR 2024).

        min_z ||g(y) - g(f(G(z)))||^2   such that   ||z|| = sqrt(d)

    The data term is that of sec. 3.1 there with the codec as the operator; the sphere, near which N(0, I) lies, that of
    sec. 3.2. Each step of Adam along the sphere is followed by the projection on it; the learning rate makes one cycle.
    """  # fmt: skip

    def __init__(self, config: PulseConfig) -> None:
        self.config = config

    def solve(
        self, cell: Constraint, generator: LatentGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        search = Search(cell, self.config.constraint, self.config, callback)
        steps, sphere = self.config.steps, Sphere()
        rates = [self.config.rate * one_cycle(i, steps) for i in range(steps)]
        for attempt in search.attempts(noise):
            start = sphere.project((generator.sample(attempt),))
            descend(search, generator.synthesize, start, sphere, rates)
        return search.solution()
