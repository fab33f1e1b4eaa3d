"""From a template and a name to a folder, which is there whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from .naming import Names

KINDS = {
    "codec": "A codec for idem",
    "generator": "A prior over images for idem",
    "solver": "A solver for idem",
    "metric": "A metric for idem",
    "engine": "An engine for idem's sweeps",
    "recipe": "A recipe for idem train",
}
"""Of the templates, with the description of what is written."""

TEMPLATES = Path(__file__).parent / "templates"
"""One folder a kind, and `common`. Their Python is valid as it stands, so that ruff and mypy read it where it lies."""


def write_plugin(names: Names, kind: str, folder: Path) -> list[Path]:
    """Writes a distribution of `kind` (one of `KINDS`) to `folder`, and returns its files.

    Raises UsageError if the folder exists or cannot be made.
    """
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already.", "Choose another folder with --out, or remove it.")
    if not folder.parent.is_dir():
        raise UsageError(f"The folder {folder.parent} does not exist.", "Make that folder first.")
    files = rendered(names, kind)
    temporary = folder.parent / f".idem-{secrets.token_hex(8)}.tmp"
    try:
        for path, text in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return [folder / path for path in files]


def rendered(names: Names, kind: str) -> dict[Path, str]:
    """From each path in the distribution to its text."""
    apart = (TEMPLATES / kind / "src" / "myplugin" / "plugin.py").is_file()
    entry = f"{names.module}.plugin" if apart else names.module  # the module that describes the plugin
    words = {"my-plugin": names.distribution, "myplugin": names.module, "THE-SUMMARY": KINDS[kind], "THE-ENTRY": entry}
    files = {path.relative_to(root): path for root in (TEMPLATES / "common", TEMPLATES / kind) for path in _files(root)}
    return {
        Path(_replaced(str(path), words)): _replaced(source.read_text(encoding="utf-8"), words)
        for path, source in sorted(files.items())
    }


def _files(root: Path) -> list[Path]:
    """Without what installers and editors leave behind."""
    return [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """In one pass: a name may hold a placeholder of its own."""
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)
