"""Plugins as they are installed here, what the registry knows of them, and the commands that plugins bring."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result

from idemcore.errors import MissingError, UsageError
from idemcore.plugins.catalogue import KINDS, Catalogue, load_catalogue
from idemcore.plugins.registry import known_plugins

Install = Callable[..., None]


def test_a_known_name_that_is_not_installed_says_what_to_install() -> None:
    with pytest.raises(MissingError) as error:
        Catalogue([]).resolve("codec", "jpeg")
    assert error.value.exit_code == 4
    assert "pip install idemcore-jpeg" in error.value.hint
    with pytest.raises(UsageError):
        Catalogue([]).resolve("codec", "cell")


def test_listing_plugins_imports_no_torch() -> None:
    code = (
        "import sys; from idemcore.plugins.catalogue import load_catalogue; load_catalogue()\n"
        "print([m for m in ('torch', 'PIL', 'numpy', 'omegaconf', 'yaml') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_registry_agrees_with_what_is_installed() -> None:
    ours = {p.name: p for p in load_catalogue().plugins if p.name in known_plugins() and p.state == "ok"}
    for name, plugin in ours.items():
        entry = known_plugins()[name]
        assert {k: sorted(entry.get(k, [])) for k in KINDS} == {
            k: sorted(spec.name for kind, spec in plugin.specs if kind == k) for k in KINDS
        }
        begins = {spec.name: spec.magic.hex() for kind, spec in plugin.specs if kind == "codec" and spec.magic}
        assert entry.get("magic", {}) == begins
    assert all(set(entry) <= {"summary", "magic", *KINDS} for entry in known_plugins().values())


def test_the_name_of_what_a_plugin_provides_says_where_to_read_of_it(idem: Callable[..., Result]) -> None:
    result = idem("plugins", "info", "ddpm-photo")
    assert result.exit_code == 2
    assert "It is a generator of idemcore-ddpm: type `idem generators info ddpm-photo`." in result.stderr


def test_every_plugin_that_is_installed_here_is_sound() -> None:
    assert {plugin.name: plugin.reason for plugin in load_catalogue().plugins if plugin.state != "ok"} == {}


COMMAND = """
import click
from idemcore.hookspecs import CommandSpec, hookimpl

@click.command()
@click.option("--loud", is_flag=True)
def greet(loud):
    '''Say hello.'''
    click.echo("HELLO" if loud else "hello", err=True)

@hookimpl
def idem_commands():
    return [CommandSpec(name, "{module}:greet", "Say hello.", api=1) for name in ("greet", "decode")]
"""


def test_a_plugin_brings_a_command_and_replaces_none(install: Install, idem: Callable[..., Result]) -> None:
    install("demo-a", COMMAND)
    assert "greet       Say hello." in idem("--help").output
    assert idem("--help").output.count("\n  decode ") == 1
    assert idem("greet", "--loud").output == "HELLO\n"
    assert "Usage: idem greet" in idem("greet", "--help").output
    assert "Usage: idem decode" in idem("decode", "--help").output


def test_a_command_that_is_not_installed_says_what_to_install(install: Install, idem: Callable[..., Result]) -> None:
    result = idem("app")
    assert result.exit_code == 4
    assert "Not installed: command 'app' (idemcore-app). Install with: pip install idemcore-app" in result.output
