"""The engines of the core, described without importing them. Light: imports no torch."""

from __future__ import annotations

from ..hookspecs import EngineSpec, hookimpl


@hookimpl
def idem_engines() -> list[EngineSpec]:
    return [
        EngineSpec(
            name="local",
            api=1,
            target="idemcore.sweeps.local:LocalEngine",
            summary="this machine: this process, or several",
            config="idemcore.sweeps.config:LocalConfig",
        )
    ]
