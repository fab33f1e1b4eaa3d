"""What the plugin provides: the solvers of the latent family. Light: imports no torch."""

from __future__ import annotations

from typing import Any

from idemcore.hookspecs import Capabilities, SolverSpec, hookimpl

DESCENT: Capabilities = frozenset({"latent", "measure", "gradient"})
CELL: Capabilities = frozenset({"latent", "excess"})


def _by_constraint(config: Any) -> Capabilities:
    return CELL if config.constraint == "cell" else DESCENT


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="pulse",
            api=1,
            target="idemcore_latent.pulse:Pulse",
            summary="descent over latents of typical length: a hundred passes, each backwards too",
            config="idemcore_latent.config:PulseConfig",
            needs=DESCENT,
            needs_with=_by_constraint,
            descends=True,
        ),
        SolverSpec(
            name="ilo",
            api=1,
            target="idemcore_latent.ilo:IntermediateLayers",
            summary="descent over latents, then over activations of later layers: 150 passes, each backwards too",
            config="idemcore_latent.config:IloConfig",
            needs=DESCENT,
            needs_with=_by_constraint,
            descends=True,
        ),
        SolverSpec(
            name="langevin",
            api=1,
            target="idemcore_latent.langevin:Langevin",
            summary="a chain that samples latents whose images are in the cell: 500 passes, each backwards too",
            config="idemcore_latent.config:LangevinConfig",
            needs=CELL,
        ),
    ]
