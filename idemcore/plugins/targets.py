"""Whether what a Spec names is there, without importing it: `plugins list` shall say so, not the first use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..errors import nearest
from ..hookspecs import Spec


def faults(spec: Spec) -> Iterator[str]:
    """What is wrong with the targets of a Spec, a sentence each."""
    for key in ("target", "config", "identify"):
        value = getattr(spec, key, "")
        if isinstance(value, str) and value and (fault := _fault(value)):
            yield f"{key} '{value}': {fault}"


def _fault(target: str) -> str:
    module, _, name = target.partition(":")
    try:
        place = _place(module)
    except (ImportError, ValueError):  # what a broken installation says of its top-level package
        return f"there is no module {module}"
    if place is None:
        return ""
    if not place.is_file():
        names = [path.stem for path in place.parent.glob("*.py")] if place.parent.is_dir() else []
        return f"there is no module {module}. {nearest(place.stem, names)}".strip()
    known = _names(place)
    first = name.split(".")[0]
    return (
        "" if known is None or first in known else f"{module} has no {first}. {nearest(first, sorted(known))}".strip()
    )


def _place(module: str) -> Path | None:
    """The file of a module, be it there or not; None if that cannot be known without importing."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    if spec is None:
        raise ImportError(top)
    if inner and spec.submodule_search_locations is None:
        raise ImportError(module)  # a module that is a file holds no others
    if not inner:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    for part in inner[:-1]:
        folders = [folder / part for folder in folders]
    found = [
        path
        for folder in folders
        for path in (folder / f"{inner[-1]}.py", folder / inner[-1] / "__init__.py")
        if path.is_file()
    ]
    compiled = [path for folder in folders if folder.is_dir() for path in folder.glob(f"{inner[-1]}.*so")]
    return found[0] if found else None if compiled or not folders else folders[0] / f"{inner[-1]}.py"


def _names(path: Path) -> set[str] | None:
    """What a module defines or imports; None if that is known only when it runs."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return None
    imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    aliases = {(alias.asname or alias.name).split(".")[0] for node in imported for alias in node.names}
    defined = {n.name for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return None if "*" in aliases or "__getattr__" in defined else aliases | defined | assigned
