"""What the plugin provides: the solvers of the restorer family. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import Capabilities, SolverSpec, hookimpl

from .config import restorer_of

NEEDS: Capabilities = frozenset({"restorer", "project"})


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="once",
            api=1,
            target="idemcore_restore.once:RestoreOnce",
            summary="restore the plain decode, then project it on the cell: one pass, and any restorer is exact",
            config="idemcore_restore.config:OnceConfig",
            needs=NEEDS,
            starts_at=restorer_of,
        ),
        SolverSpec(
            name="latino",
            api=1,
            target="idemcore_restore.latino:Latino",
            summary="restore, project, renoise, again at less noise (LATINO): a few passes, none backwards",
            config="idemcore_restore.config:LatinoConfig",
            needs=NEEDS,
            starts_at=restorer_of,
            descends=True,
        ),
    ]
