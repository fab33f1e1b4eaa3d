"""docs/reference/public-api.md is what plugins may import, and all that ours, examples and templates do import."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import public_api
from blocks import ROOT

PLACES = ("plugins/*/src", "docs/examples/*/src", "docs/examples/*/tests", "idemcore/scaffold/templates")
FILES = sorted(path for place in PLACES for folder in ROOT.glob(place) for path in folder.rglob("*.py"))


def imported(source: str) -> set[str]:
    """Modules of the core that a file imports."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [n.module or "" for n in found if isinstance(n, ast.ImportFrom) and not n.level]
    names += [alias.name for node in found if isinstance(node, ast.Import) for alias in node.names]
    return {name for name in names if name.split(".")[0] == "idemcore"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_the_public_api_is_imported(path: Path) -> None:
    assert imported(path.read_text(encoding="utf-8")) <= set(public_api.modules())


def test_another_import_is_seen() -> None:
    assert imported("import idemcore.cli") == {"idemcore.cli"}
    assert imported("def f():\n    from idemcore.sweeps.run import plan") == {"idemcore.sweeps.run"}


@pytest.mark.parametrize("module", public_api.modules())
def test_every_public_name_is_there_and_says_what_it_is(module: str) -> None:
    found = dict(public_api.names(module))
    assert found or module == "idemcore"
    for name, sentence in found.items():
        assert hasattr(import_module(module), name)
        assert sentence, f"{module}.{name} has no docstring"
