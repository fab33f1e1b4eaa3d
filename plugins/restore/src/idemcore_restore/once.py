"""`once`: any published restorer, made exact by one projection."""

from __future__ import annotations

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, InversionSolver, RestorerGenerator, Solution, Step

from .config import OnceConfig
from .start import start_of


class RestoreOnce(InversionSolver[RestorerGenerator]):
    """x = project(restore(g(y), s)), where s is `level` times the rms error expected of g(y), image by image."""

    def __init__(self, config: OnceConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: RestorerGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. One step is reported: the restored image before its projection."""
        start, error = start_of(cell, self.config.start_at)
        level = self.config.level * error
        restored = generator.restore(start, level, noise)
        image = cell.project(restored, self.config.margin)
        if callback:
            residual = float((image - restored).square().mean().sqrt())
            callback(Step(0, 1, float(level.mean()), restored, residual, 1))
        return Solution(image.clamp(0, 1), nfe=1)
