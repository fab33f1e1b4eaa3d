"""What this plugin provides. Light: the engine itself is imported at first use."""

from __future__ import annotations

from idemcore.hookspecs import EngineSpec, hookimpl


@hookimpl
def idem_engines() -> list[EngineSpec]:
    return [
        EngineSpec(
            name="my-plugin",
            api=1,
            target="myplugin.engine:PoolEngine",
            summary="processes of this machine, by Python's concurrent.futures",
            config="myplugin.config:EngineConfig",
        )
    ]
