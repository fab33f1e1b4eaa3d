"""What the core provides itself: metrics, an engine, and two solvers without a generator. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from .hookspecs import SolverSpec, hookimpl
from .metrics.specs import idem_metrics as idem_metrics
from .protocols import Callback, Constraint, Generator, InversionSolver, Solution, Step
from .sweeps.specs import idem_engines as idem_engines

if TYPE_CHECKING:
    from torch import Tensor

    from .noise import Noise


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="mse",
            api=1,
            target="idemcore.builtin:PlainDecode",
            summary="the codec's own decode g(y), certified, without a generator: the baseline",
        ),
        SolverSpec(
            name="mean",
            api=1,
            target="idemcore.builtin:LeastError",
            summary="the cell's estimate of least error, without a generator: nearest to the original, but smooth",
        ),
    ]


class WithoutGenerator(InversionSolver[Generator]):
    """An image that the cell itself has: no passes of a generator, and the same image for every seed."""

    def __init__(self, config: object) -> None:
        """There is nothing to set."""

    @abstractmethod
    def image(self, cell: Constraint) -> Tensor:
        """[B,3,H,W]."""

    def solve(
        self, cell: Constraint, generator: Generator | None, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`; `generator` and `noise` are not used. The callback is called once."""
        image = self.image(cell).clamp(0, 1)
        if callback:
            callback(Step(index=0, total=1, sigma=0.0, x0=image, residual=0.0, nfe=0))
        return Solution(image)


class PlainDecode(WithoutGenerator):
    """g(y), the codec's own decode."""

    def image(self, cell: Constraint) -> Tensor:
        return cell.centre


class LeastError(WithoutGenerator):
    """The cell's estimate: the nearest to the original that is known from the bitstream alone, on average."""

    def image(self, cell: Constraint) -> Tensor:
        return cell.estimate
