"""`idem plugins search`, `install` and `uninstall`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from idemcore.cli import packages
from idemcore.plugins.registry import known_plugins


class Installer:
    """In the place of `subprocess.run`: remembers what it is asked to run, and ends with `code`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.code = 0

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(command)
        return subprocess.CompletedProcess(command, self.code)


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    stub = Installer()
    monkeypatch.setattr(packages.subprocess, "run", stub)
    return stub


PIP = [sys.executable, "-m", "pip"]


def test_search_finds_by_name_summary_and_what_is_provided(idem):
    def found(*words: str) -> list[str]:
        return [entry["name"] for entry in json.loads(idem("plugins", "search", *words, "--json").stdout)]

    assert found() == list(known_plugins())
    assert found("STYLEGAN2") == ["idemcore-stylegan"]
    assert found("diffpir") == ["idemcore-dps"]
    assert found("networks", "codec") == ["idemcore-elic", "idemcore-hyperprior"]
    shown = idem("plugins", "search", "jpeg")
    assert "idemcore-jpeg" in shown.stdout
    assert version("idemcore-jpeg") in shown.stdout


def test_search_says_so_when_nothing_is_found(idem):
    result = idem("plugins", "search", "no-such-thing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No known plugin mentions 'no-such-thing'" in result.stderr


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["jpeg"], ["idemcore-jpeg"]),
        (["idemcore-jpeg", "Toy"], ["idemcore-jpeg", "idemcore-Toy"]),
        (["ray==0.2.0"], ["idemcore-ray==0.2.0"]),
        (["jpeg>=0.2,<0.3"], ["idemcore-jpeg>=0.2,<0.3"]),
        (["standard"], ["idemcore[standard]"]),
    ],
)
def test_install_runs_pip_of_the_running_environment(idem, installer, names, wanted):
    result = idem("plugins", "install", *names, "--yes")
    assert result.exit_code == 0, result.output
    assert installer.asked == [[*PIP, "install", *wanted]]
    assert "-m pip install" in result.stderr  # what is run is shown


def test_what_is_installed_and_no_plugin_is_named(idem, installer):
    result = idem("plugins", "install", "numpy", "--yes")
    assert result.exit_code == 1
    assert "numpy: installed, but no plugin of idem" in result.stderr


def test_uninstall_removes_a_plugin_and_never_idem_itself(idem, installer):
    assert idem("plugins", "uninstall", "toy", "--yes").exit_code == 0
    assert installer.asked == [[*PIP, "uninstall", "--yes", "idemcore-toy"]]
    for name in ("idemcore", "no-such-plugin"):
        assert idem("plugins", "uninstall", "toy", name, "--yes").exit_code == 2
    assert len(installer.asked) == 1


def test_without_a_terminal_nothing_is_changed_unasked(idem, installer):
    for action in ("install", "uninstall"):
        result = idem("plugins", action, "toy")
        assert result.exit_code == 2
        assert "Add --yes." in result.stderr
        assert "idemcore-toy" in result.stderr
    assert installer.asked == []


@pytest.mark.parametrize(("answer", "code", "runs"), [(True, 0, 1), (False, 130, 0)])
def test_on_a_terminal_it_asks(idem, installer, monkeypatch, answer, code, runs):
    monkeypatch.setattr(packages, "_asks", lambda: True)
    monkeypatch.setattr(packages.click, "confirm", lambda *_, **__: answer)
    assert idem("plugins", "install", "toy").exit_code == code
    assert len(installer.asked) == runs


def test_a_failure_of_pip_is_one_of_ours(idem, installer):
    installer.code = 7
    result = idem("plugins", "install", "toy", "--yes")
    assert result.exit_code == 1
    assert "exit code 7" in result.stderr


@pytest.mark.parametrize("name", ["--index-url=x", "../folder", "https://example.org/x.whl", "a b", "", "-x", "x@y"])
def test_only_names_of_packages_are_installed(idem, installer, name):
    result = idem("plugins", "install", "--yes", "--", name)
    assert result.exit_code == 2
    assert installer.asked == []


def test_uv_does_it_where_there_is_no_pip(idem, installer, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.setattr(packages.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    assert idem("plugins", "install", "toy", "--yes").exit_code == 0
    assert idem("plugins", "uninstall", "toy", "--yes").exit_code == 0
    start = ["/bin/uv", "pip"]
    assert installer.asked == [
        [*start, action, "--python", sys.executable, "idemcore-toy"] for action in ("install", "uninstall")
    ]


def test_without_pip_and_uv_it_says_what_to_type(idem, installer, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    result = idem("plugins", "install", "toy", "--yes")
    assert result.exit_code == 4
    assert "-m ensurepip" in result.stderr
