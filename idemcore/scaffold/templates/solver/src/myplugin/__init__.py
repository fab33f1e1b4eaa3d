"""A solver for idem, described. Light: the solver itself is imported at first use."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.hookspecs import SolverSpec, hookimpl


@dataclass
class SolverConfig:
    """`--set solver.KEY=VALUE`. The comment behind a setting is its help."""

    steps: int = 10  # denoiser passes
    start: float = 1.5  # first noise level, in multiples of the error that the codec expects of its plain decode
    last: float = 0.01  # last noise level, in [0,1] units

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.start, self.last) <= 0:
            raise ValueError("steps must be at least 1, and start and last more than 0")


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="my-plugin",
            api=1,
            target="myplugin.solver:DenoiseAndProject",
            summary="denoise, project on the cell, add a little less noise again",
            config="myplugin:SolverConfig",
            # What it asks of codec and generator: a combination that lacks one is refused before anything is loaded.
            needs=frozenset({"diffusion", "project"}),
        )
    ]
