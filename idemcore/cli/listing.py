"""`idem codecs|generators|solvers|metrics|engines|recipes`: what can be chosen, and its settings. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..adapters.specs import families
from ..hookspecs import CAPABILITIES, GeneratorSpec, Spec
from .generators import generator_facts, measure_options
from .options import json_option
from .output import echo, print_json, print_record, print_table

Facts = Callable[..., dict[str, Any]]


def _group(
    kind: str, plural: str, scope: str,
    options: Callable[[Any], Any] = lambda command: command, more: Facts = lambda spec: {},
) -> click.Group:  # fmt: skip
    """`options` are those of `info` alone; `more` says from a spec and these what else there is to say."""

    @click.group(name=plural, invoke_without_command=True, help=f"The {plural} of all installed plugins.")
    @click.pass_context
    def group(context: click.Context) -> None:
        if context.invoked_subcommand is None:
            context.invoke(list_)

    @group.command("list", help=f"Every {kind}, with the plugin that provides it.")
    @json_option
    def list_(as_json: bool) -> None:
        from ..plugins.catalogue import load_catalogue

        found = load_catalogue().specs(kind)
        if as_json:
            print_json([{"name": spec.name, "plugin": owner, "summary": spec.summary} for owner, spec in found])
        else:
            print_table(("name", "plugin", "summary"), [(spec.name, owner, spec.summary) for owner, spec in found])

    @group.command("info", help=f"One {kind}: what it offers or needs, and its settings.")
    @click.argument("name")
    @options
    @json_option
    def info(name: str, as_json: bool, **asked: Any) -> None:
        from ..plugins.catalogue import load_catalogue

        catalogue = load_catalogue()
        spec = catalogue.resolve(kind, name)
        owner = next(owner for owner, other in catalogue.specs(kind) if other is spec)
        facts, settings, adapters = _facts(owner, spec) | more(spec, **asked), _settings(spec), _adapters(spec)
        if as_json:
            print_json({**facts, "settings": settings, **({"adapters": adapters} if adapters else {})})
            return
        print_record({key: ", ".join(value) if isinstance(value, list) else value for key, value in facts.items()})
        for capability in facts.get("offers", []) + facts.get("needs", []):
            echo(f"  {capability}: {CAPABILITIES[capability]}")
        _print_settings(scope, settings)
        for adapter in adapters:
            echo(f"\nby adapter {adapter['name']}: {adapter['summary']}")
            _print_settings("adapter", adapter["settings"])

    return group


def _facts(owner: str, spec: Spec) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": spec.name, "plugin": owner, "summary": spec.summary}
    if spec.weights:
        facts["weights"] = list(spec.weights)
    for key in ("kind", "direction", "range", "source", "suffix", "offers", "needs"):
        if value := getattr(spec, key, None):
            facts[key] = value if isinstance(value, str) else sorted(value)
    if getattr(spec, "needs_with", None):
        facts["needs with other settings"] = "may differ"
    if isinstance(spec, GeneratorSpec):
        found = families(spec).items()
        facts["families"] = [f"{family} by adapter" if adapter else f"{family} natively" for family, adapter in found]
    return facts


def _adapters(spec: Spec) -> list[dict[str, Any]]:
    """The adapters by which solvers of another family run on a generator."""
    if not isinstance(spec, GeneratorSpec):
        return []
    return [{"family": family, "name": adapter.name, "summary": adapter.summary, "settings": _settings(adapter)}
            for family, adapter in families(spec).items() if adapter]  # fmt: skip


def _print_settings(scope: str, settings: list[dict[str, Any]]) -> None:
    if settings:
        echo()
        print_table(
            (f"--set {scope}.", "type", "default", "meaning"),
            [(field["name"], field["type"], field["default"], field["help"]) for field in settings],
        )


def _settings(spec: Spec) -> list[dict[str, Any]]:
    from ..plugins.catalogue import import_target
    from ..plugins.settings import describe

    if not spec.config:
        return []
    return [
        {"name": field.name, "type": field.type, "default": field.default, "help": field.help}
        for field in describe(import_target(spec.config))
    ]


codecs = _group("codec", "codecs", "codec")
generators = _group("generator", "generators", "generator", measure_options, generator_facts)
solvers = _group("solver", "solvers", "solver")
metrics = _group("metric", "metrics", "METRIC")
engines = _group("engine", "engines", "engine")
recipes = _group("recipe", "recipes", "train")
