"""The reference: every module of the core that a plugin or an example imports is in it; every benchmark is told."""

from __future__ import annotations

import re

from blocks import ROOT, blocks, pages

IMPORT = re.compile(r"^\s*(?:from|import) (idemcore(?:\.\w+)+)", re.MULTILINE)


def used() -> set[str]:
    """Modules of the core that plugins and the Python blocks of pages import."""
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("plugins/*/src/**/*.py")]
    sources += [block.text for path in pages() for block in blocks(path) if block.language == "python"]
    return {module for source in sources for module in IMPORT.findall(source)}


def told() -> set[str]:
    """Modules of the reference, and those that a package in it takes its names from."""
    api = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference/api").glob("*.md"))
    modules = set(re.findall(r"^\.\. automodule:: (\S+)", api, re.MULTILINE))
    packages = {name: ROOT / name.replace(".", "/") / "__init__.py" for name in modules}
    inside = {
        f"{name}.{part}"
        for name, path in packages.items()
        if path.is_file()
        for part in re.findall(r"^from \.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return modules | inside


def test_modules_that_others_import_are_in_the_reference() -> None:
    assert not used() - told(), f"add {sorted(used() - told())} to a page of docs/reference/api"


def test_every_benchmark_is_told() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"common.py"}
    assert not {name for name in scripts if f"benchmarks/{name}" not in page}


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert not [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
