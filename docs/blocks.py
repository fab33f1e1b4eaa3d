"""The code blocks of README and docs, and what the tests do with each: `python docs/blocks.py` lists them.

Python blocks run. Of shell blocks every command line is checked, and a comment before the block says whether it runs:

    <!-- runs -->                 its `idem` lines, one after another, on small images
    <!-- runs, slow -->           the same among the slow tests
    <!-- not run: the reason -->  nothing runs; of a Python block it means the same

All blocks of a page run in one folder and, if Python, in one namespace. A block whose first line is a comment that
names a file, `# mycodec/plugin.py`, is written to that file, so that later blocks can import or name it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("README.md", "CONTRIBUTING.md", "changelog.d/README.md", "docs/**/*.md", "plugins/*/README.md",
            "benchmarks/README.md", "examples/README.md")  # fmt: skip
PROGRAMS = frozenset(
    {"idem", "make", "pip", "python", "source", "towncrier", "ray", "bash", "export", "curl", "cd", "git", "pytest"}
)
"""First words by which an indented block is known to be a shell's."""

_MARK = re.compile(r"<!-- (runs|runs, slow|not run: \S.*) -->")
_FILE = re.compile(r"# ([\w./-]+\.\w+)\b")
_LANGUAGES = {"bash": "shell", "sh": "shell", "console": "shell", "py": "python", "yml": "yaml"}


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    page: str
    """Path in the repository."""
    line: int
    """Of its first line of code, from 1."""
    language: str
    """`python`, `shell`, `yaml`, `toml`, ...; `text` for what is no code."""
    text: str
    mark: str
    """What the comment before it says: `runs`, `runs, slow`, `not run: the reason`, or nothing."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """At all, be it among the slow tests."""
        return self.mark.startswith("runs") or (self.language == "python" and not self.mark)

    @property
    def slow(self) -> bool:
        return self.mark == "runs, slow"

    @property
    def file(self) -> str:
        """The file that the block is, or ""."""
        named = _FILE.match(self.text)
        return named[1] if named else ""


def pages() -> list[Path]:
    """README, docs, and the READMEs of plugins, benchmarks and examples."""
    return sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))


def blocks(path: Path) -> list[Block]:
    """All blocks of code of a page, in order."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    page = path.relative_to(ROOT).as_posix()
    return [_block(token, lines, page) for token in MarkdownIt().parse(source) if token.type in ("fence", "code_block")]


def _block(token: Token, lines: list[str], page: str) -> Block:
    assert token.map is not None
    first = token.map[0]
    mark = _MARK.fullmatch(next((line.strip() for line in reversed(lines[:first]) if line.strip()), ""))
    fenced = token.type == "fence"
    language = "text" if token.info.startswith("{") else token.info.strip().split(" ")[0] or _guess(token.content)
    return Block(page, first + 1 + fenced, _LANGUAGES.get(language, language), token.content, mark[1] if mark else "")


def _guess(text: str) -> str:
    """The language of a block that names none: it is a shell's if a line begins with a program."""
    return "shell" if any(line.split(" ")[0] in PROGRAMS for line in text.splitlines()) else "text"


def commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """(line in the page, words) of each command of a shell block; comments, prompts and `> file` are left out."""
    pending, begin = "", block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        begin = begin if pending else number
        pending += line.removeprefix("$ ")
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=";&|>")
        lexer.whitespace_split = True
        yield from ((begin, words) for words in _split(list(lexer)))
        pending = ""


def _split(words: list[str]) -> Iterator[list[str]]:
    """At `;`, `&&` and `|`; without `> file`."""
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set(";&|"):
            if command:
                yield command[: command.index(">")] if ">" in command else command
            command = []
        else:
            command.append(word)


if __name__ == "__main__":
    for found in (block for path in pages() for block in blocks(path) if block.language != "text"):
        print(f"{found!s:45} {found.language:8} {found.mark or ('runs' if found.runs else 'checked')}")
