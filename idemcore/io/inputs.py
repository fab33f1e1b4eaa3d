"""What a command reads and what it writes, so that it never writes over its own input: by path, link or inode.

A command line opens a `Ledger`; reading declares inputs, and whoever knows what will be written declares outputs. The
two are compared as they come, before any work where they are known before. Every writer asks again at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..errors import UsageError

Identity = tuple[int, int]
"""Device and inode."""


class Ledger:
    """The inputs and outputs of one command."""

    def __init__(self) -> None:
        self.inputs: dict[Identity, Path] = {}
        self.outputs: dict[Identity, Path] = {}
        """Files that are there already."""
        self.folders: dict[Path, None] = {}
        """Folders to write to, resolved."""

    def read(self, path: Path) -> None:
        if (identity := _identity(path)) is None:
            return
        self.inputs[identity] = path
        if identity in self.outputs:
            raise _refusal(self.outputs[identity], path)

    def write(self, path: Path) -> None:
        if (identity := _identity(path)) is None:
            return
        self.outputs[identity] = path
        if identity in self.inputs:
            raise _refusal(path, self.inputs[identity])

    def replace(self, folder: Path) -> None:
        """The folder as a whole, with all that is in it."""
        whole = folder.resolve()
        for source in self.inputs.values():
            if whole in source.resolve().parents:
                raise _refusal(folder, source)


def _identity(path: Path) -> Identity | None:
    """None for what is not there, is not a regular file, or cannot be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if Path(path).is_file() else None


def _refusal(output: Path, source: Path) -> UsageError:
    which = f"is {source} by another name," if str(output) != str(source) else "is"
    if output.is_dir():
        return UsageError(
            f"Writing {output} would replace the input {source} in it.", "Choose another folder to write to."
        )
    return UsageError(
        f"Writing {output} would destroy an input: it {which} what this command reads.",
        "Choose another name to write to.",
    )


_ledger: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Compares what is declared within. Nested ones are one."""
    if (known := _ledger.get()) is not None:
        yield known
        return
    token = _ledger.set(Ledger())
    try:
        yield _ledger.get() or Ledger()
    finally:
        _ledger.reset(token)


def declare_input(*paths: str | os.PathLike[str]) -> None:
    """Raises UsageError if one of them is to be written. No-op outside of a `ledger`, and for what is not a file."""
    if known := _ledger.get():
        for path in paths:
            known.read(Path(path))


def declare_output(*paths: str | os.PathLike[str]) -> None:
    """Raises UsageError if one of them is an input. No-op outside of a `ledger`, and for what does not exist."""
    if known := _ledger.get():
        for path in paths:
            known.write(Path(path))


def declare_folder(*folders: str | os.PathLike[str]) -> None:
    """Folders that results go to: their content is not an input of the same command."""
    if known := _ledger.get():
        known.folders |= {Path(folder).resolve(): None for folder in folders}


def declare_replaced(folder: Path) -> None:
    """Raises UsageError if a folder that is to be replaced as a whole has an input in it."""
    if known := _ledger.get():
        known.replace(folder)


def result_folders(place: Path) -> tuple[Path, ...]:
    """Folders below `place`, resolved, that this command writes to."""
    whole = place.resolve()
    known = _ledger.get()
    return tuple(folder for folder in known.folders if whole in folder.parents) if known else ()
