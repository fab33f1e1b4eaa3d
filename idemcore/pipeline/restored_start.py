"""A solver that starts at what a restorer makes of the plain decode, in place of the cell's own estimate."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..adapters.diffusion_as_restorer import DiffusionAsRestorer
from ..adapters.specs import NoisingConfig
from ..noise import Noise
from ..protocols import (
    Callback,
    Constraint,
    DiffusionGenerator,
    Generator,
    InversionSolver,
    RestorerGenerator,
    Solution,
    Step,
)
from .tiles import fitted

LEVEL = 1.5
"""What the restorer is to expect of g(y), in multiples of the rms error that the codec expects."""


class StartingAtRestored(InversionSolver[Any]):
    """Another solver, for whose cells `estimate` is g(y), restored and projected. The restoration counts as a pass."""

    def __init__(self, solver: InversionSolver[Any], generator: Generator, tile: int | None = None) -> None:
        """`generator` is a restorer, or a denoiser, which then denoises g(y) as it is; `tile`: see `Runtime.tile`."""
        self.solver, self.tile = solver, tile
        self.restorer = _restorer(generator)

    def solve(self, cell: Constraint, generator: Generator, noise: Noise, callback: Callback | None = None) -> Solution:
        """See `InversionSolver.solve`."""
        height, width = cell.centre.shape[-2:]
        started = RestoredStart(cell, fitted(self.restorer, (height, width), self.tile), noise)

        def report(step: Step) -> None:
            if callback:
                callback(replace(step, nfe=step.nfe + started.passes))

        found = self.solver.solve(started, generator, noise, report if callback else None)
        return replace(found, nfe=found.nfe + started.passes)


def _restorer(generator: Generator) -> RestorerGenerator:
    if isinstance(generator, DiffusionGenerator):
        return DiffusionAsRestorer(generator, NoisingConfig(noise=0.0))
    assert isinstance(generator, RestorerGenerator)
    return generator


class RestoredStart(Constraint):
    """A cell as it is, but for the estimate. Nothing is known of its error: it is taken to be that of g(y)."""

    def __init__(self, cell: Constraint, restorer: RestorerGenerator, noise: Noise) -> None:
        self.cell, self.restorer, self.noise = cell, restorer, noise
        self.centre, self.distortion, self.margin_limit = cell.centre, cell.distortion, cell.margin_limit
        self.passes = 0

    @property
    def target(self) -> Tensor:
        return self.cell.target

    @cached_property
    def _restored(self) -> Tensor:
        self.passes += 1
        with torch.no_grad():
            restored = self.restorer.restore(self.centre, LEVEL * self.distortion, self.noise)
            return self.cell.project(restored).clamp(0, 1)

    @property
    def estimate(self) -> Tensor:
        return self._restored

    def measure(self, x: Tensor) -> Tensor:
        return self.cell.measure(x)

    def position(self, x: Tensor) -> Tensor:
        return self.cell.position(x)

    def excess(self, x: Tensor) -> Tensor:
        return self.cell.excess(x)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        return self.cell.project(x, margin)
