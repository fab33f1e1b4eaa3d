"""What the plugin provides: the solvers of the latent family. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import SolverSpec, hookimpl

DESCENT = frozenset({"latent", "measure", "gradient"})
CELL = frozenset({"latent", "excess"})


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="pulse",
            target="idemcore_latent.pulse:Pulse",
            summary="descent over latents of typical length: a hundred passes, each backwards too",
            config="idemcore_latent.config:PulseConfig",
            needs=DESCENT,
            needs_with={"constraint=cell": CELL},
            descends=True,
        ),
        SolverSpec(
            name="ilo",
            target="idemcore_latent.ilo:IntermediateLayers",
            summary="descent over latents, then over activations of later layers: 150 passes, each backwards too",
            config="idemcore_latent.config:IloConfig",
            needs=DESCENT,
            needs_with={"constraint=cell": CELL},
            descends=True,
        ),
        SolverSpec(
            name="langevin",
            target="idemcore_latent.langevin:Langevin",
            summary="a chain that samples latents whose images are in the cell: 500 passes, each backwards too",
            config="idemcore_latent.config:LangevinConfig",
            needs=CELL,
        ),
    ]
