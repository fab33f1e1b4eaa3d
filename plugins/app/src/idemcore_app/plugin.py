"""What the plugin provides: the command `idem app`. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import CommandSpec, hookimpl


@hookimpl
def idem_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            name="app",
            api=1,
            target="idemcore_app.command:app",
            summary="Restore photographs in the browser.",
        )
    ]
