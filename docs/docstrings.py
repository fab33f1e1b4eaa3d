"""Docstrings of this project, which are plain text, as the reStructuredText that Sphinx expects. A Sphinx extension.

Plain text means: paragraphs, lists with `-`, names in single backticks, *emphasis*, and drawings or code that is
indented, aligned by runs of spaces, or drawn with dashes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any

_KEPT = re.compile(r"(`[^`]+`|(?<![\w*])\*\w[\w -]*\*(?![\w*]))")
_SPECIAL = re.compile(r"([*|\\]|_(?=\W|$))")
_DRAWN = re.compile(r"\S {3,}\S|-{3,}")
_ITEM = re.compile(r"(- |\d+\. )")


def to_rst(lines: list[str]) -> list[str]:
    """The same text with drawings as literal blocks, and nothing but backticks for markup."""
    blocks = [list(block) for blank, block in groupby(lines, lambda line: not line.strip()) if not blank]
    return [line for block in blocks for line in (*_block(block), "")]


def _block(block: list[str]) -> Iterator[str]:
    if _is_drawing(block):
        yield from ("::", "", *textwrap.indent(textwrap.dedent("\n".join(block)), "    ").split("\n"))
        return
    before = ""
    for line in block:
        if _ITEM.match(line) and before and not (_ITEM.match(before) or before.startswith(" ")):
            yield ""
        yield _line(line)
        before = line


def _is_drawing(block: list[str]) -> bool:
    """Indented from its first line, aligned in columns, or with lines of dashes."""
    return block[0].startswith(" ") or any(_DRAWN.search(line) for line in block)


def _line(line: str) -> str:
    kept, plain = _KEPT.split(line)[1::2], _KEPT.split(line)[::2]
    escaped = [_SPECIAL.sub(r"\\\1", text) for text in plain]
    return escaped[0] + "".join(_code(markup) + text for markup, text in zip(kept, escaped[1:], strict=True))


def _code(markup: str) -> str:
    """A name in backticks is a link if Sphinx knows it; what is more than a name is literal text."""
    literal = markup.startswith("`") and not re.fullmatch(r"`[A-Za-z_][\w.]*`", markup)
    return f"`{markup}`" if literal else markup


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""

    def process(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
        lines[:] = to_rst(lines)

    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
