"""`idem plugins search`, `install`, `uninstall`: plugins as packages of the running environment. Imports no torch."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from shlex import join
from typing import Any

import click

from ..errors import EXIT_FAILED, EXIT_OK, IdemError, MissingError, UsageError
from .options import json_option
from .output import print_json, print_table, say

EXTRAS = ("standard", "all")
"""Sets of plugins: extras of the core."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?(\[[\w.,-]+\])?([=<>!~]=?=?[\w.*+!,<>=~-]+)?")
"""A name with, perhaps, extras and versions: never an option, a path or an address."""

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@json_option
def search(words: tuple[str, ...], as_json: bool) -> int:
    """Known plugins that mention every WORD: in their name, their summary or the names that they provide.

    Only plugins that idem's registry lists are found. Exit 1 if there is none.
    """
    from ..plugins.registry import known_plugins

    found = [_facts(name, entry) for name, entry in known_plugins().items() if _mentions(name, entry, words)]
    if as_json:
        print_json(found)
    elif found:
        rows = [(f["name"], f["installed"] or "-", f["summary"], ", ".join(f["provides"])) for f in found]
        print_table(("plugin", "installed", "summary", "provides"), rows)
    if not found:
        say(f"No known plugin mentions {' and '.join(repr(word) for word in words)}; `idem plugins search` lists all.")
    return EXIT_OK if found else EXIT_FAILED


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@yes_option
def install(names: tuple[str, ...], yes: bool) -> int:
    """Install plugins into the environment that idem runs in, with pip or uv.

    NAME is a plugin (`hyperprior` is short for `idemcore-hyperprior`), with a version if you like (`ray==0.2.0`), or
    one of the sets `standard` and `all`. idem shows the command first and runs it if you agree.
    """
    wanted = [_requirement(name) for name in names]
    _perform("install", wanted, yes)
    importlib.invalidate_caches()
    return _show([_distribution(word) for word in wanted if not word.startswith("idemcore[")])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@yes_option
def uninstall(names: tuple[str, ...], yes: bool) -> int:
    """Remove plugins from the environment that idem runs in, with pip or uv. Their dependencies stay."""
    from ..plugins.catalogue import load_catalogue

    catalogue = load_catalogue(strict=False)
    found = [catalogue.plugin(name).name for name in names]
    if "idemcore" in found:
        raise UsageError("idemcore is idem itself, not a plugin.", f"Type: {join(_command('uninstall', found))}")
    _perform("uninstall", found, yes)
    return EXIT_OK


def _facts(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        installed = version(name)
    except PackageNotFoundError:
        installed = ""
    return {"name": name, "installed": installed, "summary": entry["summary"], "provides": _provided(entry)}


def _provided(entry: Mapping[str, Any]) -> list[str]:
    from ..plugins.catalogue import KINDS

    return [f"{kind} {name}" for kind in KINDS for name in entry.get(kind, [])]


def _mentions(name: str, entry: Mapping[str, Any], words: Sequence[str]) -> bool:
    text = " ".join([name, entry["summary"], *_provided(entry)]).lower()
    return all(word.lower() in text for word in words)


def _requirement(name: str) -> str:
    """What pip is asked for. Raises UsageError for what is not a name of a package."""
    from ..plugins.entry_points import canonical
    from ..plugins.registry import known_plugins

    if name in EXTRAS:
        return f"idemcore[{name}]"
    if not _REQUIREMENT.fullmatch(name):
        hint = "`idem plugins search` lists known ones; what lies in a folder is installed by `pip install FOLDER`."
        raise UsageError(f"{name!r} is not the name of a package.", hint)
    full = f"idemcore-{name}"
    return full if canonical(_distribution(full)) in known_plugins() else name


def _distribution(requirement: str) -> str:
    return re.split(r"[\[=<>!~]", requirement)[0]


def _perform(action: str, packages: list[str], yes: bool) -> None:
    """Shows the command, asks, and runs it. Raises IdemError if it fails, UsageError if nobody can be asked."""
    command = _command(action, packages)
    say(join(command))
    if not yes and not _asks():
        raise UsageError("Nothing was changed: there is no terminal on which to ask.", "Add --yes.")
    if not yes and not click.confirm("Run this?", default=True, err=True):
        raise click.Abort
    code = subprocess.run(command, stdout=sys.stderr.fileno() if _real(sys.stderr) else None, check=False).returncode
    if code:
        raise IdemError(f"The command above ended with exit code {code}.", "Its own messages say why.")


def _asks() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _real(stream: Any) -> bool:
    """Whether other programs can write to it."""
    try:
        return bool(stream.fileno() >= 0)
    except (OSError, AttributeError):
        return False


def _command(action: str, packages: list[str]) -> list[str]:
    """What changes this environment. Raises MissingError if there is no program for it."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", action, *(["--yes"] if action == "uninstall" else []), *packages]
    if uv := shutil.which("uv"):
        return [uv, "pip", action, "--python", sys.executable, *packages]
    raise MissingError("This environment has neither pip nor uv.", f"Bring pip: `{sys.executable} -m ensurepip`.")


def _show(distributions: list[str]) -> int:
    """The states of what was installed; EXIT_FAILED if one does not work."""
    from ..plugins.catalogue import load_catalogue
    from ..plugins.entry_points import canonical

    catalogue = load_catalogue(strict=False)
    if strangers := {canonical(d) for d in distributions} - {canonical(p.name) for p in catalogue.plugins}:
        raise IdemError(f"{' and '.join(sorted(strangers))}: installed, but no plugin of idem.", "Is the name right?")
    found = [catalogue.plugin(name) for name in distributions]
    if found:
        print_table(("plugin", "version", "state", "reason"), [(p.name, p.version, p.state, p.reason) for p in found])
    return EXIT_OK if all(plugin.state in ("ok", "disabled") for plugin in found) else EXIT_FAILED
