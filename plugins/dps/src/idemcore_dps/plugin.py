"""What the plugin provides: the solvers of the diffusion family. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import SolverSpec, hookimpl

FORWARDS = frozenset({"diffusion"})
BACKWARDS = FORWARDS | {"diffusion-gradient"}
STRAIGHT_THROUGH = frozenset({"measure", "gradient"})


def _by_constraint(needs: frozenset[str]) -> dict[str, frozenset[str]]:
    """In place of `STRAIGHT_THROUGH`."""
    return {"constraint=latent": needs | {"position"}, "constraint=cell": needs | {"excess"}}


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="cell",
            target="idemcore_dps.cell:ProjectAndRenoise",
            summary="project on the quantisation cell and renoise: a dozen passes, none backwards (the default)",
            config="idemcore_dps.config:CellConfig",
            needs=FORWARDS | {"project"},
            descends=True,
        ),
        SolverSpec(
            name="dps",
            target="idemcore_dps.dps:DPS",
            summary="diffusion posterior sampling as published: a thousand passes, each backwards too",
            config="idemcore_dps.config:DPSConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH,
            needs_with=_by_constraint(BACKWARDS | {"measure"}),
        ),
        SolverSpec(
            name="mcg",
            target="idemcore_dps.mcg:MCG",
            summary="the step of dps, then data projection: a thousand passes, each backwards too",
            config="idemcore_dps.config:MCGConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH | {"image"},
            descends=True,
        ),
        SolverSpec(
            name="dsg",
            target="idemcore_dps.dsg:DSG",
            summary="guidance on the sphere of the noise: a hundred passes, each backwards too",
            config="idemcore_dps.config:DSGConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH,
            needs_with=_by_constraint(BACKWARDS),
        ),
        SolverSpec(
            name="diffpir",
            target="idemcore_dps.diffpir:DiffPIR",
            summary="a proximal step on the estimate, then renoising: a hundred passes, none backwards",
            config="idemcore_dps.config:DiffPIRConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            needs_with=_by_constraint(FORWARDS),
            descends=True,
        ),
        SolverSpec(
            name="mpgd",
            target="idemcore_dps.mpgd:MPGD",
            summary="guidance of the estimate alone, then DDIM: a hundred passes, none backwards",
            config="idemcore_dps.config:MPGDConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            needs_with=_by_constraint(FORWARDS),
            descends=True,
        ),
        SolverSpec(
            name="backproj",
            target="idemcore_dps.backproj:BackProjection",
            summary="x0 - g(f(x0)) + g(y), for codecs without a gradient: twenty passes, none backwards",
            config="idemcore_dps.config:BackprojConfig",
            needs=FORWARDS | {"measure", "image"},
            descends=True,
        ),
    ]
