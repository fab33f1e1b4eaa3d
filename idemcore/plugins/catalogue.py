"""Finding plugins: entry points around pluggy, where one broken plugin never stops the others.

    entry points -> by distribution -> import -> pluggy checks the hooks -> Spec records -> checked -> Catalogue

Nothing heavy is imported: a plugin's entry point names a light module; `import_target` imports a class at first use.
"""

from __future__ import annotations

import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from ..errors import IdemError, MissingError, UsageError, article, nearest
from ..hookspecs import (
    ENTRY_POINT_GROUP,
    PROJECT,
    CommandSpec,
    EncoderSpec,
    EngineSpec,
    GeneratorSpec,
    Hooks,
    MetricSpec,
    RecipeSpec,
    SolverSpec,
    Spec,
)
from .blame import origin
from .checks import Fault, State, check_spec
from .entry_points import Hangs, canonical, entries_by_distribution, patience, version_of, within
from .objects import HERE, registered
from .registry import distributions_that_provide, install_line, known_plugins
from .targets import faults

KINDS = ("codec", "generator", "solver", "metric", "engine", "recipe", "command")

_HOOKS: Mapping[str, tuple[str, type[Spec]]] = {
    "codec": ("idem_encoders", EncoderSpec),
    "generator": ("idem_generators", GeneratorSpec),
    "solver": ("idem_solvers", SolverSpec),
    "metric": ("idem_metrics", MetricSpec),
    "engine": ("idem_engines", EngineSpec),
    "recipe": ("idem_recipes", RecipeSpec),
    "command": ("idem_commands", CommandSpec),
}

_HOOK_NAMES = [name for name, _ in _HOOKS.values()]


@dataclass(frozen=True)
class Plugin:
    """One installed distribution that has an `idemcore.plugins` entry point."""

    name: str
    """Name of the distribution, e.g. `idemcore-jpeg`."""
    version: str
    state: State
    reason: str
    """Why the plugin is not ok, in one line; empty if it is."""
    specs: tuple[tuple[str, Spec], ...]
    """(kind, Spec) of all that it provides; of a plugin that is not ok, what was read up to the fault."""


class CannotImport(MissingError):
    """What a Spec names cannot be imported."""


class NotInstalled(MissingError):
    """Plugins that the registry knows and this installation lacks, and what of theirs was asked for."""

    def __init__(self, absent: Mapping[str, str]) -> None:
        """`absent`: from what was asked for, such as `codec 'jpeg'`, to the distribution that provides it."""
        self.absent = absent
        named = ", ".join(f"{wanted} ({distribution})" for wanted, distribution in absent.items())
        line = install_line(list(dict.fromkeys(absent.values())))
        super().__init__(f"Not installed: {named}.", f"Install with: {line}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as it was made: a message is no mapping."""
        return type(self), (self.absent,), vars(self)


@dataclass(frozen=True)
class Catalogue:
    """All installed plugins, sorted by name, and the lookup of what they provide."""

    plugins: list[Plugin]

    def examined(self) -> Catalogue:
        """With a look at what Specs name, without importing it: a plugin whose target is not there is broken."""
        return Catalogue([_examined(plugin) for plugin in self.plugins])

    def plugin(self, name: str) -> Plugin:
        """The plugin of that name; `jpeg` is short for `idemcore-jpeg`. Raises UsageError if it is not installed."""
        wanted = canonical(name)
        found = {canonical(plugin.name): plugin for plugin in self.plugins}
        plugin = found.get(wanted) or found.get(f"idemcore-{wanted}")
        if plugin is None:
            guess = self._provider(name) or nearest(name, [plugin.name for plugin in self.plugins])
            raise UsageError(f"No plugin named '{name}' is installed.", guess or "See `idem plugins list`.")
        return plugin

    def _provider(self, name: str) -> str:
        """Where to read about a codec, solver and the like of that name; empty if there is none."""
        for plugin in self.plugins:
            for kind, spec in plugin.specs:
                if spec.name == name and kind != "command":
                    return f"It is a {kind} of {plugin.name}: type `idem {kind}s info {name}`."
        return ""

    def specs(self, kind: str) -> list[tuple[str, Spec]]:
        """(distribution, Spec) of every plugin that is ok, sorted by the Spec's name."""
        found = [(p.name, spec) for p in self.plugins if p.state == "ok" for k, spec in p.specs if k == kind]
        return sorted(found, key=lambda pair: (pair[1].name, pair[0]))

    def resolve(self, kind: str, name: str) -> Spec:
        """The Spec that a user means by `name` or `distribution:name`.

        Of several plugins that provide it, the one that the registry names has the bare name. Raises UsageError if no
        plugin is known to provide it or several do, MissingError if the one that does is not installed or not ok.
        """
        distribution, _, short = name.rpartition(":")
        found = [
            (owner, spec)
            for owner, spec in self.specs(kind)
            if spec.name == short and (not distribution or canonical(owner) == canonical(distribution))
        ]
        if len(found) > 1:
            known = distributions_that_provide(kind, short)
            found = [(owner, spec) for owner, spec in found if canonical(owner) in known] or found
        if len(found) > 1:
            choices = " or ".join(f"`{owner}:{short}`" for owner, _ in found)
            raise UsageError(f"{len(found)} plugins provide {article(kind)} named '{short}'.", f"Say which: {choices}.")
        if not found:
            raise self._absent(kind, distribution, short)
        return found[0][1]

    def clashes(self, plugin: Plugin) -> list[str]:
        """What other plugins provide by the same name, and what to type to mean this one's, a line each."""
        return [
            f"{kind} '{spec.name}' is {owner}'s too: type {plugin.name}:{spec.name} to mean this one"
            for kind, spec in plugin.specs
            for owner, other in self.specs(kind)
            if plugin.state == "ok" and owner != plugin.name and other.name == spec.name
        ]

    def _absent(self, kind: str, distribution: str, name: str) -> IdemError:
        """The error for a name that no plugin in order provides."""
        known = distributions_that_provide(kind, name)
        providers = [p for p in self.plugins if p.state != "ok" and (p.name in known or _provides(p, kind, name))]
        wanted = canonical(distribution)
        for plugin in providers:
            if not distribution or canonical(plugin.name) == wanted:
                return MissingError(
                    f"The {kind} '{name}' is not available: {plugin.name} is {plugin.state} ({plugin.reason}).",
                    f"See `idem plugins info {plugin.name}`.",
                )
        installed = {canonical(p.name) for p in self.plugins}
        for candidate in known:
            if candidate not in installed and (not distribution or candidate == wanted):
                return NotInstalled({f"{kind} '{name}'": candidate})
        return self._unknown(kind, f"{distribution}:{name}" if distribution else name)

    def _unknown(self, kind: str, name: str) -> UsageError:
        found = self.specs(kind)
        names = Counter(spec.name for _, spec in found)
        own = [f"{owner}:{s.name}" if ":" in name or names[s.name] > 1 else s.name for owner, s in found]
        elsewhere = [n for entry in known_plugins().values() for n in entry.get(kind, [])]
        guess = nearest(name, own) or nearest(name, elsewhere)
        available = f"Available: {', '.join(own)}." if own else f"No installed plugin provides {article(kind)}."
        hint = " ".join(filter(None, (guess, available, self.not_loaded())))
        return UsageError(f"There is no {kind} named '{name}'.", hint)

    def not_loaded(self) -> str:
        """A sentence that names the plugins which are broken or incompatible, and why; empty if none is."""
        unusable = [f"{p.name} ({p.reason})" for p in self.plugins if p.state in ("broken", "incompatible")]
        return f"Not loaded: {'; '.join(unusable)}." if unusable else ""


def load_catalogue(*, strict: bool | None = None) -> Catalogue:
    """Every installed plugin, with the reason where one cannot be used.

    `IDEM_PLUGINS` (only these, and the core) and `IDEM_DISABLE_PLUGINS` (all but these) hold distribution names,
    separated by commas; `jpeg` is short for `idemcore-jpeg`.
    `strict`, or by default `IDEM_STRICT=1`, raises MissingError at the first plugin that is broken or incompatible.
    """
    strict = os.environ.get("IDEM_STRICT", "0") not in ("", "0") if strict is None else strict
    entries = entries_by_distribution(ENTRY_POINT_GROUP)
    plugins = [_load(name, entries[name], strict) for name in sorted(entries)]
    return Catalogue([*plugins, Plugin(HERE, "", "ok", "", made)] if (made := tuple(registered())) else plugins)


def _examined(plugin: Plugin) -> Plugin:
    for kind, spec in plugin.specs if plugin.state == "ok" else ():
        for fault in faults(spec):
            return replace(plugin, state="broken", reason=f"{kind} '{spec.name}' of {plugin.name}: {fault}")
    return plugin


def import_target(target: str | Callable[..., Any]) -> Any:
    """The object that `package.module:Name` names, or itself where it is one.

    Raises CannotImport, with the reason, if it cannot be imported.
    """
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    try:
        return reduce(getattr, name.split("."), import_module(module))
    except IdemError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != module.split(".")[0]:
            hint = "Install that package, or the plugin again with pip, which brings what it declares."
            text = f"{target} needs the package '{error.name}', which is not installed{_where(error)}."
            raise CannotImport(text, hint) from error
        hint = "`idem doctor` checks the installation; IDEM_DEBUG=1 shows the traceback."
        raise CannotImport(f"{target} cannot be imported: {_one_line(error)}{_where(error)}.", hint) from error


def _load(name: str, entries: list[EntryPoint], strict: bool) -> Plugin:
    version = version_of(entries[0])
    specs: list[tuple[str, Spec]] = []
    if reason := _disabled(name):
        return Plugin(name, version, "disabled", reason, ())
    try:
        if name in _HANGING:
            raise _HANGING[name]
        within(patience(), name, lambda: _read(name, entries, specs))
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever a plugin does wrong, the others still load
        fault = _fault(name, error)
        if strict:
            raise MissingError(f"{name} is {fault.state}: {fault}.", f"See `idem plugins info {name}`.") from error
        return Plugin(name, version, fault.state, str(fault), tuple(specs))
    return Plugin(name, version, "ok", "", tuple(specs))


_HANGING: dict[str, Fault] = {}
"""Plugins that once did not describe themselves in time: this process does not wait for them again."""


def _read(name: str, entries: list[EntryPoint], specs: list[tuple[str, Spec]]) -> None:
    """Adds what a plugin provides to `specs`."""
    for entry in entries:
        for kind, spec in _specs_of(_imported(entry), name):
            try:
                check_spec(kind, spec, name, specs)
            except Fault:
                if isinstance(spec.name, str) and isinstance(spec.summary, str):  # who asks for it is told why not
                    specs.append((kind, spec))
                raise
            specs.append((kind, spec))


def _fault(name: str, error: BaseException) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, Hangs):
        spare = f"IDEM_DISABLE_PLUGINS={name} spares the wait"
        fault = _HANGING[name] = Fault(f"{name} hangs: after {patience():g} s it was at {error}; {spare}")
        return fault
    return Fault(f"{name} describes itself wrongly: {_one_line(error)}{_where(error)}")


def _imported(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != entry.value.partition(":")[0].split(".")[0]:
            raise Fault(f"{entry.value} needs the package '{error.name}', which is not installed") from error
        raise Fault(f"{entry.value} cannot be imported: {_one_line(error)}{_where(error)}") from error
    except BaseException as error:  # KeyboardInterrupt too: it is the plugin's own, in a thread of its own
        raise Fault(f"{entry.value} cannot be imported: {_one_line(error)}{_where(error)}") from error


def _specs_of(plugin: object, distribution: str) -> Iterator[tuple[str, Spec]]:
    """Calls the hooks of one plugin. Its own manager, so that nothing of a refused plugin stays registered."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(plugin, distribution)
        manager.check_pending()
    except Exception as error:
        unknown = [name for name in _marked(manager, plugin) if name not in _HOOK_NAMES]
        hint = f". {nearest(unknown[0], _HOOK_NAMES)}".rstrip(". ") if unknown else ""
        raise Fault(f"{distribution} has a wrong hook: {_one_line(error)}{hint}") from error
    _check_marked(manager, plugin, distribution)
    for kind, (hook, spec_class) in _HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            for spec in _call(implementation.function, hook, spec_class, distribution):
                yield kind, spec


def _marked(manager: pluggy.PluginManager, plugin: object) -> list[str]:
    """Names of what carries the marker."""
    return [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]


def _check_marked(manager: pluggy.PluginManager, plugin: object, distribution: str) -> None:
    """A plugin without hooks, or with an `idem_` function that lacks its marker, would be silently empty."""
    named = [n for n in dir(plugin) if n.startswith("idem_") and inspect.isroutine(getattr(plugin, n))]
    for name in named:
        if manager.parse_hookimpl_opts(plugin, name) is None:
            raise Fault(f"{distribution}: {name} lacks @hookimpl")
    if not named:
        like = [guess for name in vars(plugin) if "_" in name and (guess := nearest(name, _HOOK_NAMES, 0.7))]
        hint = f". {like[0]}" if like else ""
        raise Fault(f"{distribution} implements no hook; there are {', '.join(_HOOK_NAMES)}{hint}")


def _call(function: Any, hook: str, spec_class: type[Spec], distribution: str) -> list[Spec]:
    try:
        result = function()
        specs = list(result) if isinstance(result, (list, tuple)) else None
    except BaseException as error:
        raise Fault(f"{hook} of {distribution} failed: {_one_line(error)}{_where(error)}") from error
    if specs is None:
        raise Fault(f"{hook} of {distribution} returned {type(result).__name__}, not a list of {spec_class.__name__}")
    for spec in specs:
        if not isinstance(spec, spec_class):
            raise Fault(
                f"{hook} of {distribution} returned {article(type(spec).__name__)} among its {spec_class.__name__}s"
            )
    return specs


def _where(error: BaseException) -> str:
    """Line and file, where the plugin's own code raised it."""
    place = origin(error)
    return f", at {place.partition(', in the plugin')[0]}" if place else ""


def _disabled(name: str) -> str:
    spellings = {canonical(name), canonical(name).removeprefix("idemcore-")}
    if os.environ.get("IDEM_PLUGINS") and not spellings & {"idemcore", *_listed("IDEM_PLUGINS")}:
        return "not in IDEM_PLUGINS"
    return "in IDEM_DISABLE_PLUGINS" if spellings & _listed("IDEM_DISABLE_PLUGINS") else ""


def _listed(variable: str) -> set[str]:
    return {canonical(name) for name in re.split(r"[,\s]+", os.environ.get(variable, ""))}


def _provides(plugin: Plugin, kind: str, name: str) -> bool:
    return any(k == kind and spec.name == name for k, spec in plugin.specs)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, IdemError) else f"{type(error).__name__}: {text}".rstrip(": ")
