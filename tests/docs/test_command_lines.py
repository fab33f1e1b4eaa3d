"""Every command line of README and docs: its command, options, names and settings exist; scripts and packages too."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import click
import pytest
import yaml

from blocks import ROOT, Block, blocks, commands, pages
from idemcore.cli import main
from idemcore.errors import IdemError
from idemcore.plugins.catalogue import KINDS, Catalogue
from idemcore.plugins.selection import choose
from idemcore.plugins.settings import parse_overrides
from idemcore.sweeps.grid import parse_axes
from idemcore.weights.hub import PREFIX
from idemcore.weights.store import find
from others import catalogue_of_pages

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

BLOCKS = [block for path in pages() for block in blocks(path)]
SHELL = [block for block in BLOCKS if block.language == "shell"]
GROUPS = {"codecs": "codec", "generators": "generator", "solvers": "solver", "metrics": "metric", "recipes": "recipe",
          "engines": "engine"}  # fmt: skip


def check_idem(words: list[str]) -> None:
    """Raises click.ClickException, IdemError or AssertionError."""
    command, name, arguments, context = main, "idem", words, None
    try:
        while isinstance(command, click.Group) and (arguments or command is main):
            context = command.make_context(name, list(arguments), parent=context)
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, list(arguments), parent=context)
    except click.exceptions.Exit:
        return
    path = context.command_path.split()
    check_names(path, context.params, catalogue_of_pages())


def check_names(path: list[str], given: Mapping[str, Any], catalogue: Catalogue) -> None:
    """Of codecs, models and so on, and of their settings."""
    if path[1] in GROUPS and path[-1] == "info":
        catalogue.resolve(GROUPS[path[1]], given["name"])
    elif path[1:] in (["models", "info"], ["models", "pull"], ["models", "import"], ["models", "path"]):
        if not given["name"].startswith(PREFIX):  # a repository elsewhere
            find(given["name"])
    elif path[1] == "train":
        choose(catalogue, "recipe", given["recipe"], settings(given, ("train",)).get("train"))
    elif path[1] == "sweep":
        parse_axes([word for word in (*given["axes"], *given["words"]) if re.match(r"[\w.-]+=", word)])
    else:
        check_parts(given, catalogue)


def settings(given: Mapping[str, Any], scopes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return parse_overrides([item for item in given.get("overrides", ()) if item.split(".")[0] in scopes], scopes)


def check_parts(given: Mapping[str, Any], catalogue: Catalogue) -> None:
    """`--codec a,b` and its kin, where one of the names at least has each setting."""
    for kind in ("codec", "generator", "solver"):
        names = [name for name in str(given.get(kind) or "").split(",") if name]
        values = settings(given, (kind,)).get(kind, {})
        failures = [error for name in names for error in [refusal(catalogue, kind, name, values)] if error]
        if names and len(failures) == len(names):
            raise failures[0]


def refusal(catalogue: Catalogue, kind: str, name: str, values: Mapping[str, Any]) -> IdemError | None:
    catalogue.resolve(kind, name)
    try:
        choose(catalogue, kind, name, values)
    except IdemError as error:
        return error
    return None


def check_python(words: list[str]) -> None:
    """A script of this repository has the options that are given."""
    if words[0] in ("-m", "-c"):
        return
    script = ROOT / words[0]
    assert script.is_file(), f"there is no {words[0]}"
    source = script.read_text() + (
        script.with_name("common.py").read_text() if script.parent.name == "benchmarks" else ""
    )
    for option in (word.split("=")[0] for word in words[1:] if word.startswith("--")):
        assert f'"{option}"' in source, f"{words[0]} has no {option}"


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in (word for word in words if "=" not in word):
        assert word in targets, f"there is no target {word}"


def check_pip(words: list[str]) -> None:
    """Distributions called `idemcore-NAME` are ours, and have the extras that are asked for."""
    projects = {project["name"]: project for project in ours()}
    for word in words:
        name, _, extras = word.strip("'\"").partition("[")
        project = projects["idemcore"] if name == "." else projects.get(name)
        assert project or not name.startswith("idemcore"), f"there is no {name}"
        for extra in filter(None, extras.rstrip("]").split(",")):
            assert not project or extra in project.get("optional-dependencies", {}), f"{name} has no extra {extra}"


def ours() -> Iterator[dict[str, Any]]:
    for path in chain([ROOT / "pyproject.toml"], ROOT.glob("plugins/*/pyproject.toml")):
        yield tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def check_towncrier(words: list[str]) -> None:
    assert words[0] == "build"


def check_bash(words: list[str]) -> None:
    assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"


CHECKS: Mapping[str, Callable[[list[str]], None]] = {
    "idem": check_idem, "python": check_python, "make": check_make, "pip": check_pip, "bash": check_bash,
    "towncrier": check_towncrier,
}  # fmt: skip


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_command_lines_are_right(block: Block) -> None:
    for line, (program, *words) in commands(block):
        check = CHECKS.get(program)
        assert check or block.mark.startswith("not run: "), (
            f"{block.page}:{line}: tests know nothing of {program}: put <!-- not run: the reason --> before the block"
        )
        try:
            if check:
                check(words)
        except (click.ClickException, IdemError, AssertionError) as error:
            text = error.format_message() if isinstance(error, click.ClickException) else str(error)
            pytest.fail(f"{block.page}:{line}: {program} {' '.join(words)}: {text}", pytrace=False)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_block_of_commands_says_whether_it_runs(block: Block) -> None:
    runnable = [line for line, words in commands(block) if words[0] == "idem"]
    assert not runnable or block.mark, f"{block}: put <!-- runs --> or <!-- not run: the reason --> before the block"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "text" and b.text], ids=str)
def test_no_python_hides_in_a_block_without_a_language(block: Block) -> None:
    assert not re.search(r"^\s*(import \w|from \w+(\.\w+)* import|def \w+\(|class \w+[(:])", block.text, re.MULTILINE)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("yaml", "toml")], ids=str)
def test_data_is_well_formed(block: Block) -> None:
    (yaml.safe_load if block.language == "yaml" else tomllib.loads)(block.text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run photo.png --qualty 10", "No such option"),
        ("run photo.png --quality ten", "not a valid integer"),
        ("encode a.png", "Missing option"),
        ("run a.png --solver sell", "no solver"),
        ("run a.png --set solver.stepz=3", "Unknown key"),
        ("frobnicate", "No such command"),
        ("models pull nothing-1", "nothing-1"),
        ("train ddpm PHOTOS --out x --set train.minute=3", "Unknown key"),
        ("solvers info sell", "no solver"),
    ],
)
def test_a_wrong_line_is_found(line: str, message: str) -> None:
    with pytest.raises((click.ClickException, IdemError)) as error:
        check_idem(line.split())
    assert message in (
        error.value.format_message() if isinstance(error.value, click.ClickException) else str(error.value)
    )


def test_groups_are_all_kinds() -> None:
    assert set(GROUPS.values()) == set(KINDS) - {"command"}, "a command is listed by --help"


def test_commands_are_split_as_a_shell_does() -> None:
    text = "idem a 'b c' # no\nidem d; idem e > f\nmake x \\\n  y\n"
    found = list(commands(Block("page.md", 7, "shell", text, "")))
    assert found == [(7, ["idem", "a", "b c"]), (8, ["idem", "d"]), (8, ["idem", "e"]), (9, ["make", "x", "y"])]
