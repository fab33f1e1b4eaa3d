"""What the ray plugin provides. Light: imports no ray."""

from __future__ import annotations

from idemcore.hookspecs import EngineSpec, hookimpl


@hookimpl
def idem_engines() -> list[EngineSpec]:
    return [
        EngineSpec(
            name="ray",
            api=1,
            target="idemcore_ray.engine:RayEngine",
            summary="Ray actors, on this machine or a cluster, with their GPUs",
            config="idemcore_ray.config:RayConfig",
            expected_failures={"global-state": "ray itself draws random numbers, sets variables and filters warnings"},
        )
    ]
