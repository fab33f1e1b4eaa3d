"""What the plugin provides: the solvers of the diffusion family. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import SolverSpec, hookimpl


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="cell",
            target="idemcore_dps.cell:ProjectAndRenoise",
            summary="project on the quantisation cell and renoise: a dozen passes, none backwards (the default)",
            config="idemcore_dps.config:CellConfig",
            needs=frozenset({"diffusion", "project"}),
        ),
        SolverSpec(
            name="dps",
            target="idemcore_dps.dps:DPS",
            summary="diffusion posterior sampling as published: a thousand passes, each backwards too",
            config="idemcore_dps.config:DPSConfig",
            needs=frozenset({"diffusion", "diffusion-gradient", "measure", "gradient"}),
        ),
    ]
