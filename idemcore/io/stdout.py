"""stdout belongs to data: while a command runs, whatever plugins and libraries print goes to stderr.

A command writes its data to `data_stream()`. `sys.stdout`, and file descriptor 1 of a real process, lead to stderr
meanwhile, so that neither `print` nor a C library gets between two lines of JSON, and closing stdout closes nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

STDOUT_NAMES = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

_data: ContextVar[TextIO | None] = ContextVar("data", default=None)


def data_stream() -> TextIO:
    """Where a command's results go."""
    return _data.get() or sys.stdout


def write_to_stdout(path: Path, content: bytes) -> bool:
    """Writes `content` as data if `path` is a name of stdout and stdout is guarded; was it?"""
    stream = _data.get()
    if stream is None or str(path) not in STDOUT_NAMES:
        return False
    stream.flush()
    stream.buffer.write(content)
    stream.flush()
    return True


class _Talk(io.TextIOBase):
    """Stands for stdout: what is written goes to stderr, and it cannot be closed."""

    encoding = "utf-8"
    errors = "replace"

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # stderr may be closed; nobody reads it then
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def close(self) -> None:
        """Stays open: it is not the writer's."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def buffer(self) -> Any:
        """For bytes."""
        return sys.stderr.buffer


@contextmanager
def guarded_stdout() -> Iterator[None]:
    """Within, only `data_stream()` reaches stdout. Nested ones are one."""
    if _data.get() is not None or sys.stdout is None:  # nested, or a process without one
        yield
        return
    before, saved = sys.stdout, _divert(sys.stdout)
    stream = before if saved is None else _opened(saved, before)
    token = _data.set(stream)
    sys.stdout = _Talk()
    try:
        yield
        stream.flush()
    finally:
        sys.stdout = before
        _data.reset(token)
        if saved is not None:
            _restore(saved)


def _divert(stdout: TextIO) -> int | None:
    """Lets file descriptor 1 lead to stderr; a copy of what it was, or None where stdout is not a process's own."""
    if stdout is not sys.__stdout__:
        return None
    try:
        stdout.flush()
        if stdout.fileno() != 1:
            return None
        saved = os.dup(1)
    except (OSError, ValueError):
        return None
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.close(saved)
        return None
    return saved


def _opened(descriptor: int, like: TextIO) -> TextIO:
    return open(descriptor, "w", encoding=like.encoding, errors=like.errors, closefd=False)


def _restore(saved: int) -> None:
    os.dup2(saved, 1)
    os.close(saved)
