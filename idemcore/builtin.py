"""What the core provides itself: metrics, an engine, and `mse`, the plain decode as a solver. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hookspecs import SolverSpec, hookimpl
from .metrics.specs import idem_metrics as idem_metrics
from .protocols import Callback, Cell, Generator, InversionSolver, Solution, Step
from .sweep.specs import idem_engines as idem_engines

if TYPE_CHECKING:
    from .noise import Noise


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="mse",
            target="idemcore.builtin:PlainDecode",
            summary="the codec's own decode g(y), without a generator: the baseline, with the least error",
        )
    ]


class PlainDecode(InversionSolver[Generator]):
    """g(y), which a codec makes to have the least mean squared error: no passes, and the same image for every seed."""

    def __init__(self, config: object) -> None:
        """There is nothing to set."""

    def solve(
        self, cell: Cell, generator: Generator | None, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`; `generator` and `noise` are not used. One step is told."""
        image = cell.centre.clamp(0, 1)
        if callback:
            callback(Step(index=0, total=1, sigma=0.0, x0=image, residual=0.0, nfe=0))
        return Solution(image)
