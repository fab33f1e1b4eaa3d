"""What the plugin provides: the solvers of the diffusion family. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from idemcore.hookspecs import Capabilities, SolverSpec, hookimpl

from .config import restorer_of

FORWARDS: Capabilities = frozenset({"diffusion"})
BACKWARDS: Capabilities = FORWARDS | {"diffusion-gradient"}
BY_CONSTRAINT: Mapping[str, Capabilities] = {
    "image": frozenset({"measure", "gradient"}),
    "latent": frozenset({"position"}),
    "cell": frozenset({"excess"}),
}
"""What the setting `constraint` asks of a cell."""
STRAIGHT_THROUGH = BY_CONSTRAINT["image"]


def _needing(always: Capabilities) -> Callable[[Any], Capabilities]:
    """From a config to what the solver asks for with its `constraint`."""
    return lambda config: always | BY_CONSTRAINT[config.constraint]


def _by_projection(config: Any) -> Capabilities:
    """What `mcg` asks for: its older projection adds what a codec gives to what it moves."""
    return BACKWARDS | STRAIGHT_THROUGH | {"project" if config.projection == "cell" else "image"}


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="cell",
            api=1,
            target="idemcore_dps.cell:ProjectAndRenoise",
            summary="project on the quantisation cell and renoise: 2 to 12 passes, none backwards (the default)",
            config="idemcore_dps.config:CellConfig",
            starts_at=restorer_of,
            needs=FORWARDS | {"project"},
            descends=True,
        ),
        SolverSpec(
            name="dps",
            api=1,
            target="idemcore_dps.dps:DPS",
            summary="diffusion posterior sampling as published: a thousand passes, each backwards too",
            config="idemcore_dps.config:DPSConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH,
            needs_with=_needing(BACKWARDS | {"measure"}),
        ),
        SolverSpec(
            name="mcg",
            api=1,
            target="idemcore_dps.mcg:MCG",
            summary="the step of dps, then data projection: a thousand passes, each backwards too",
            config="idemcore_dps.config:MCGConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH | {"project"},
            needs_with=_by_projection,
            descends=True,
        ),
        SolverSpec(
            name="dsg",
            api=1,
            target="idemcore_dps.dsg:DSG",
            summary="guidance on the sphere of the noise: a hundred passes, each backwards too",
            config="idemcore_dps.config:DSGConfig",
            needs=BACKWARDS | STRAIGHT_THROUGH,
            needs_with=_needing(BACKWARDS),
        ),
        SolverSpec(
            name="diffpir",
            api=1,
            target="idemcore_dps.diffpir:DiffPIR",
            summary="a proximal step on the estimate, then renoising: a hundred passes, none backwards",
            config="idemcore_dps.config:DiffPIRConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            needs_with=_needing(FORWARDS),
            descends=True,
        ),
        SolverSpec(
            name="mpgd",
            api=1,
            target="idemcore_dps.mpgd:MPGD",
            summary="guidance of the estimate alone, then DDIM: a hundred passes, none backwards",
            config="idemcore_dps.config:MPGDConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            needs_with=_needing(FORWARDS),
            descends=True,
        ),
        SolverSpec(
            name="backproj",
            api=1,
            target="idemcore_dps.backproj:BackProjection",
            summary="x0 - g(f(x0)) + g(y), for codecs without a gradient: twenty passes, none backwards",
            config="idemcore_dps.config:BackprojConfig",
            starts_at=restorer_of,
            needs=FORWARDS | {"measure", "image"},
            descends=True,
        ),
        SolverSpec(
            name="ddnm",
            api=1,
            target="idemcore_dps.ddnm:DDNM",
            summary="null space: x0 - g(f(x0)) + g(y) from pure noise, time travel: a hundred passes, none backwards",
            config="idemcore_dps.config:DDNMConfig",
            needs=FORWARDS | {"measure", "image"},
            descends=True,
        ),
        SolverSpec(
            name="daps",
            api=1,
            target="idemcore_dps.daps:DAPS",
            summary="flow, Langevin dynamics, renoise: a thousand passes, none backwards, 20,000 of the codec",
            config="idemcore_dps.config:DAPSConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            descends=True,
        ),
        SolverSpec(
            name="fast",
            api=1,
            target="idemcore_dps.fast:Fast",
            summary="noise on the decode and back, without the codec: one to a hundred passes, none backwards",
            config="idemcore_dps.config:FastConfig",
            starts_at=restorer_of,
            needs=FORWARDS,
        ),
        SolverSpec(
            name="dcic",
            api=1,
            target="idemcore_dps.dcic:DCIC",
            summary="dials of distortion and idempotence, one noise for all levels: a hundred passes, none backwards",
            config="idemcore_dps.config:DCICConfig",
            needs=FORWARDS | STRAIGHT_THROUGH,
            descends=True,
        ),
    ]
