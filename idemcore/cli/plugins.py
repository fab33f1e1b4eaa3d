"""`idem plugins`: installed plugins, their states and why. Imports no torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_FAILED, EXIT_MISSING, EXIT_OK, UsageError
from ..scaffold import KINDS as TEMPLATES
from .options import json_option
from .output import echo, print_json, print_record, print_table, say
from .packages import install, search, uninstall

if TYPE_CHECKING:
    from ..plugins.catalogue import Catalogue, Plugin
    from ..testing import LawResult


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """Manage plugins. IDEM_DISABLE_PLUGINS=name,name leaves some out; IDEM_PLUGINS=name,name loads only these."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


for command in (search, install, uninstall):
    plugins.add_command(command)


@plugins.command("list")
@click.option("--strict", is_flag=True, help="Exit 4 if one is broken or incompatible.")
@json_option
def list_(as_json: bool, strict: bool = False) -> int:
    """Every plugin with its state: ok, broken, incompatible or disabled."""
    from ..plugins.catalogue import load_catalogue

    catalogue = load_catalogue(strict=False).examined()
    found = [_facts(catalogue, plugin) for plugin in catalogue.plugins]
    if as_json:
        print_json(found)
    else:
        rows = [(p["name"], p["version"], p["state"], p["reason"] or _provided(p)) for p in found]
        print_table(("plugin", "version", "state", "provides"), rows)
    bad = strict and any(plugin.state in ("broken", "incompatible") for plugin in catalogue.plugins)
    return EXIT_MISSING if bad else EXIT_OK


@plugins.command("info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """One plugin: state, reason, and all that it provides."""
    from ..plugins.catalogue import load_catalogue

    catalogue = load_catalogue(strict=False).examined()
    facts = _facts(catalogue, catalogue.plugin(name))
    if as_json:
        print_json(facts)
        return
    print_record({key: facts[key] for key in ("name", "version", "state", "reason") if facts[key]})
    for clash in facts["clashes"]:
        echo(f"  note: {clash}")
    if facts["provides"]:
        echo()
        print_table(("kind", "name", "summary"), [(p["kind"], p["name"], p["summary"]) for p in facts["provides"]])


@plugins.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice([*TEMPLATES]), required=True, help="What the plugin provides.")
@click.option("--out", metavar="FOLDER", help="A new folder to write to.  [default: NAME]")
@json_option
def new(name: str, kind: str, out: str | None, as_json: bool) -> None:
    """Write a new plugin: a small one that works, with tests, for you to replace step by step."""
    from ..plugins.catalogue import load_catalogue
    from ..scaffold.naming import names_of
    from ..scaffold.writing import write_plugin

    names = names_of(name)
    _refuse_taken(load_catalogue(), kind, names.distribution)
    folder = Path(out or names.distribution)
    files = write_plugin(names, kind, folder)
    if as_json:
        print_json({"name": names.distribution, "module": names.module, "kind": kind, "files": [str(f) for f in files]})
        return
    for path in files:
        echo(path)
    say(f"Next: `pip install -e '{folder}[test]'`, then `idem plugins check {names.distribution}`.")
    say(f"{folder / 'README.md'} explains the files.")


def _refuse_taken(catalogue: Catalogue, kind: str, name: str) -> None:
    """Raises UsageError if an installed plugin provides that already: each would have to be told by its plugin."""
    for owner, spec in catalogue.specs(kind):
        if spec.name == name:
            raise UsageError(f"{owner} provides a {kind} named '{name}' already.", f"Try `my-{name}`.")


@plugins.command("check")
@click.argument("name")
@click.option("--set", "overrides", multiple=True, metavar="KIND.KEY=VALUE", help="e.g. codec.quality=2; repeatable.")
@json_option
def check(name: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Check everything that a plugin provides against the laws of its kind. Exit 0 if none is broken, else 1.

    A law that the plugin declares as an expected failure does not count as broken, unless it holds after all.
    """
    from ..plugins.settings import parse_overrides
    from ..testing import subjects_of
    from ..testing.checking import checked
    from ..testing.law import KINDS

    subjects = subjects_of(name, parse_overrides(overrides, KINDS))
    tell = _Teller(max(len(law.name) for subject in subjects for law in subject.laws))
    results = []
    for subject in subjects:
        if not as_json:
            echo(f"{subject}")
        for result in checked(subject):
            results.append(result)
            if not as_json:
                tell(result)
    if as_json:
        print_json([_result_facts(result) for result in results])
    counts = Counter(result.outcome for result in results)
    say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return EXIT_OK if all(result.ok for result in results) else EXIT_FAILED


class _Teller:
    """Prints results as they come; a sentence or reason that was just told is not told again."""

    def __init__(self, width: int) -> None:
        self.width, self.told = width, set[str]()

    def __call__(self, result: LawResult) -> None:
        parts = [result.law.sentence] if not result.ok or self._new(result.law.sentence) else []
        if not result.ok:
            parts.append(f"But: {result.message}")
        elif result.message:
            parts.append(result.message if self._new(result.message) else "See above.")
        echo(f"  {result.outcome:<10}  {result.law.name:<{self.width}}  {' '.join(parts)}".rstrip())

    def _new(self, text: str) -> bool:
        new = text not in self.told
        self.told.add(text)
        return new


def _result_facts(result: LawResult) -> dict[str, Any]:
    return {
        "kind": result.subject.kind,
        "name": result.subject.spec.name,
        "law": result.law.name,
        "sentence": result.law.sentence,
        "outcome": result.outcome,
        "message": result.message,
        "seconds": round(result.seconds, 3),
    }


def _facts(catalogue: Catalogue, plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "clashes": catalogue.clashes(plugin),
        "provides": [{"kind": kind, "name": spec.name, "summary": spec.summary} for kind, spec in plugin.specs],
    }


SHOWN = 12
"""Names of a kind that `idem plugins list` shows of one plugin; `idem plugins info` shows all."""


def _provided(plugin: dict[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for entry in plugin["provides"]:
        names.setdefault(entry["kind"], []).append(entry["name"])
    return "; ".join([*(_named(kind, found) for kind, found in names.items()), *plugin["clashes"]])


def _named(kind: str, names: list[str]) -> str:
    if len(names) > SHOWN:
        return f"{len(names)} {kind}s"
    return f"{kind if len(names) == 1 else f'{kind}s'} {', '.join(names)}"
