"""The page of the public API: the modules that import-linter lets plugins import, and what each of them holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = re.compile(r'name = "Plugins use only the public API of the core".*?ignore_imports = \[(.*?)\n\]', re.DOTALL)

INTRO = """A plugin may import these modules of `idemcore`, and nothing else of it; import-linter holds ours to that.
What they hold changes only with `API_VERSION`, which each Spec names. Every other module may change at any time. The
contract is [`protocols.py`](../../idemcore/protocols.py), on one page; [how to write a plugin](../writing-a-plugin.md)
begins with an example."""


def modules() -> list[str]:
    """Names of the public modules, in order; packages that are public as a whole are spelled out."""
    found = CONTRACT.search((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found, "pyproject.toml has no such contract"
    return sorted(name for pattern in re.findall(r'"\*\* -> ([\w.*]+)"', found[1]) for name in _expanded(pattern))


def names(module: str) -> Iterator[tuple[str, str]]:
    """(name, first sentence of its docstring) of each public class, function and documented constant of a module."""
    nodes = ast.parse(_file(module).read_text(encoding="utf-8")).body
    for node, after in zip_longest(nodes, nodes[1:]):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, _sentence(ast.get_docstring(node) or "")
        elif (name := _assigned(node)) and (text := _text(after)) and not name.startswith("_"):
            yield name, _sentence(text)
    yield from _from_elsewhere(module, nodes)


def _from_elsewhere(module: str, nodes: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """What a package lists in `__all__` and imports from its modules, be it only when it is asked for."""
    assigned = {_assigned(node): node.value for node in nodes if isinstance(node, ast.Assign)}
    listed = ast.literal_eval(assigned["__all__"]) if "__all__" in assigned else ()
    imports = [n for root in nodes for n in ast.walk(root) if isinstance(n, ast.ImportFrom) and n.level == 1]
    for node in (n for n in imports if {alias.name for alias in n.names} & set(listed)):
        there = dict(names(f"{module}.{node.module}"))
        yield from ((alias.name, there[alias.name]) for alias in node.names if alias.name in listed)


def page(written: str) -> str:
    """The page; `written` is the note that says who wrote it."""
    sections = []
    for module in modules():
        rows = [f"| `{name}` | {text} |" for name, text in names(module)]
        about = _sentence(ast.get_docstring(ast.parse(_file(module).read_text(encoding="utf-8"))) or "")
        table = "\n".join(["| name | what |", "| --- | --- |", *rows])
        sections.append(f"## `{module}`\n\n{about}" + (f"\n\n{table}" if rows else ""))
    return "\n\n".join(["# The public API", written, INTRO, *sections]) + "\n"


def _expanded(pattern: str) -> list[str]:
    package = pattern.removesuffix(".*")
    if package == pattern:
        return [pattern]
    files = sorted((ROOT / package.replace(".", "/")).glob("*.py"))
    return [f"{package}.{file.stem}" for file in files if file.stem != "__init__"]


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _assigned(node: ast.stmt) -> str:
    target = (
        node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
    )
    return target.id if isinstance(target, ast.Name) else ""


def _text(node: ast.stmt | None) -> str:
    """The string that a constant is documented by."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _sentence(text: str) -> str:
    """The first, on one line, ready for a cell of a table."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph)[0].replace("|", "\\|")
