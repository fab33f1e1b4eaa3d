"""Counting the passes of a network that a solver sees through an adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class Passes:
    """Counts how often a network ran forwards and backwards, for solvers that see it through an adapter."""

    def __init__(self) -> None:
        self.forwards = self.backwards = 0

    def __call__(self, network: Callable[..., Tensor], *inputs: Any) -> Tensor:
        self.forwards += 1
        output = network(*inputs)
        if output.requires_grad:
            output.register_hook(self._count_backward)
        return output

    def _count_backward(self, _: Tensor) -> None:
        self.backwards += 1
