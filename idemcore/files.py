"""Whole files in and out, with errors that a user can act on. No half-written file is ever left behind."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import IdemError, UsageError

PATH_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG}
"""Errors of a path that cannot be right, by whatever was to be done with it."""


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises UsageError for a path that cannot be right, IdemError if the disk fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _failed("read", path, error) from error


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a temporary file in the same folder and renames it, so that `path` is whole or untouched.

    A device or pipe, such as /dev/stdout, is written in place. Raises UsageError for a path that cannot be right,
    IdemError if the disk is full or fails.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
    except OSError as error:
        raise _failed("write", path, error) from error
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name in the same folder to write to: in the end that file takes the place of `path`; after an error it is gone.

    Raises UsageError for a path that cannot be right, IdemError if the disk is full or fails.
    """
    temporary = path.parent / f".idem-{secrets.token_hex(8)}.tmp"
    try:
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _failed("write", path, error) from error


def _failed(verb: str, path: Path, error: OSError) -> IdemError:
    message = f"Cannot {verb} {path}: {error.strerror or error}."
    if error.errno == errno.ENOENT and verb == "write" and not path.parent.exists():
        return UsageError(message, f"The folder {path.parent} does not exist; make it with `mkdir -p {path.parent}`.")
    return (UsageError if error.errno in PATH_ERRORS else IdemError)(message)
