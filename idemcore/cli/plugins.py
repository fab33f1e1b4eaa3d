"""`idem plugins`: installed plugins, their states and why. Imports no torch."""

from __future__ import annotations

from typing import Any

import click

from ..errors import UsageError, nearest
from .options import json_option
from .output import print_json, print_record, print_table


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """Installed plugins. IDEM_DISABLE_PLUGINS=name,name leaves some out."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@plugins.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every plugin with its state: ok, broken, incompatible or disabled."""
    from ..plugins import load_catalogue

    found = [_facts(plugin) for plugin in load_catalogue().plugins]
    if as_json:
        print_json(found)
        return
    rows = [(p["name"], p["version"], p["state"], p["reason"] or ", ".join(_names(p["provides"]))) for p in found]
    print_table(("plugin", "version", "state", "provides"), rows)


@plugins.command("info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """One plugin: state, reason, and all that it provides."""
    from ..plugins import load_catalogue

    found = {plugin.name: plugin for plugin in load_catalogue().plugins}
    plugin = found.get(name) or found.get(f"idemcore-{name}")
    if plugin is None:
        raise UsageError(
            f"No plugin named '{name}' is installed.", nearest(name, list(found)) or "See `idem plugins list`."
        )
    facts = _facts(plugin)
    if as_json:
        print_json(facts)
        return
    print_record({key: facts[key] for key in ("name", "version", "state", "reason") if facts[key]})
    if facts["provides"]:
        click.echo()
        print_table(("kind", "name", "summary"), [(p["kind"], p["name"], p["summary"]) for p in facts["provides"]])


def _facts(plugin: Any) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "provides": [{"kind": kind, "name": spec.name, "summary": spec.summary} for kind, spec in plugin.specs],
    }


def _names(provides: list[dict[str, str]]) -> list[str]:
    return [f"{entry['kind']} {entry['name']}" for entry in provides]
