"""Every public module of the core is in the reference, or is told here to be no part of what others build on."""

from __future__ import annotations

import re

from blocks import ROOT

INTERNAL = {
    "idemcore.sweep", "idemcore.report", "idemcore.learned",  # packages: their modules are told
    "idemcore.cli", "idemcore.mse", "idemcore.runs", "idemcore.comparison",  # commands
    "idemcore.bench", "idemcore.evaluation", "idemcore.download", "idemcore.files", "idemcore.pictures",
    "idemcore.limits",
}  # fmt: skip
"""What carries out commands, and helpers without a contract."""
TOLD = set(
    re.findall(r"^\.\. automodule:: (\S+)", "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference" / "api").glob("*.md")
    ), re.MULTILINE)
)  # fmt: skip


def modules() -> set[str]:
    """Modules and packages right inside idemcore."""
    found = {f"idemcore.{path.stem}" for path in (ROOT / "idemcore").glob("*.py") if not path.stem.startswith("_")}
    return found | {f"idemcore.{path.parent.name}" for path in (ROOT / "idemcore").glob("*/__init__.py")}


def test_every_module_is_told_or_internal() -> None:
    untold = modules() - TOLD - INTERNAL
    assert not untold, f"add {sorted(untold)} to a page of docs/reference/api, or to INTERNAL here"


def test_every_benchmark_is_told() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"common.py"}
    assert not {name for name in scripts if f"benchmarks/{name}" not in page}
