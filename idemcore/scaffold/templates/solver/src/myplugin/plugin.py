"""What this plugin provides. Light: the solver itself is imported at first use."""

from __future__ import annotations

from idemcore.hookspecs import SolverSpec, hookimpl


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="my-plugin",
            api=1,
            target="myplugin.solver:DenoiseAndProject",
            summary="denoise, project on the cell, add a little less noise again",
            config="myplugin.config:SolverConfig",
            # What it asks of codec and generator: a combination that lacks one is refused before anything is loaded.
            needs=frozenset({"diffusion", "project"}),
        )
    ]
