"""Writes the laws into docs/conformance.md: `python docs/laws.py`. A test compares."""

from __future__ import annotations

from pathlib import Path

from idemcore.testing import laws
from idemcore.testing.law import KINDS

PAGE = Path(__file__).parent / "conformance.md"
MARK = "<!-- laws -->\n"


def page() -> str:
    """The page as it should be: all before the mark as it is written, then a table for each kind."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + "".join(map(_section, KINDS))


def _section(kind: str) -> str:
    rows = [f"| `{one.name}` | {one.sentence} | {', '.join(sorted(one.needs))} |" for one in laws(kind)]
    article = "an" if kind == "engine" else "a"
    head = [f"## Laws of {article} {kind}", "", "| law | what is promised | tried where there is |", "|---|---|---|"]
    return "\n" + "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
