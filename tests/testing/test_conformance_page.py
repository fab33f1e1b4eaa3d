"""docs/conformance.md has every law with its sentence."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_laws_as_they_are() -> None:
    written = (DOCS / "conformance.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(DOCS / "laws.py"))["page"](), "run python docs/laws.py"
