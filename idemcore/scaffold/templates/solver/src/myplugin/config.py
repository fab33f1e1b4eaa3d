"""Settings of the solver. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SolverConfig:
    """`--set solver.KEY=VALUE`. The comment behind a setting is its help."""

    steps: int = 10  # denoiser passes
    start: float = 1.5  # first noise level, in multiples of the error that the codec expects of its plain decode
    last: float = 0.01  # last noise level, in [0,1] units

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if min(self.start, self.last) <= 0:
            raise ValueError("start and last must be more than 0")
