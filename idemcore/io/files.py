"""Whole files in and out, with errors that a user can act on. No half-written file is ever left behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import IdemError, UsageError
from .inputs import declare_output
from .limits import max_file_bytes
from .signals import signals_held
from .stdout import write_to_stdout

PATH_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG}
"""Errors of a path that cannot be right, by whatever was to be done with it."""

_CHUNK = 1 << 24


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The file's bytes, at most `limit`, else `limits.max_file_bytes()`: a device may have no end.

    Raises UsageError for a path that cannot be right or a larger file, IdemError if the disk fails.
    """
    limit = max_file_bytes() if limit is None else limit
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise _too_long(path, limit)
            return _read_up_to(file, path, limit)
    except OSError as error:
        raise _failed("read", path, error) from error


def _read_up_to(file: IO[bytes], path: Path, limit: int) -> bytes:
    parts, length = [], 0
    while part := file.read(_CHUNK):
        parts.append(part)
        length += len(part)
        if length > limit:
            raise _too_long(path, limit)
    return b"".join(parts)


def _too_long(path: Path, limit: int) -> UsageError:
    return UsageError(f"{path} has more than {limit:,} bytes.", "That is the limit: name a smaller file.")


def sha256_of(path: Path) -> str:
    """The sha256 of a file of any size, in hex. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def parse_json(data: bytes | str) -> Any:
    """As `json.loads`, but ValueError for text that is nested too deep too."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a temporary file in the same folder and renames it, so that `path` is whole or untouched.

    A device or pipe, such as /dev/stdout, is written in place. Raises UsageError for a path that cannot be right or is
    an input of this command (see `inputs`), IdemError if the disk is full or fails.
    """
    declare_output(path)
    try:
        if write_to_stdout(path, data):
            return
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
    except OSError as error:
        raise _failed("write", path, error) from error
    with replacing(path) as temporary:
        _write_checked(temporary, data, path)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """As `atomic_write`, of several files: none takes its place before all are on the disk; then all do.

    No place may be a folder.
    """
    for path in filter(Path.is_dir, contents):
        raise _failed("write", path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    with ExitStack() as stack:
        for path, data in contents.items():
            _write_checked(stack.enter_context(replacing(path)), data, path)
        with signals_held():
            stack.close()


def _write_checked(temporary: Path, data: bytes, path: Path) -> None:
    """Writes a new file and reads it back; raises IdemError if the disk does not hold what it was given."""
    with open(temporary, "xb") as file:
        file.write(data)
    with open(temporary, "rb") as file:
        same = all(file.read(_CHUNK) == data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
        if not same or file.read(1):
            raise IdemError(f"Cannot write {path}: the disk gives back other bytes.", "Check the disk, or use another.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name in the same folder to write to: in the end that file takes the place of `path`; after an error it is gone.

    Raises UsageError for a path that cannot be right, IdemError if the disk is full or fails.
    """
    declare_output(path)
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
        return UsageError(message, f"The folder {path.parent} does not exist; make it first.")
    return (UsageError if error.errno in PATH_ERRORS else IdemError)(message)


def text_bytes(text: str) -> bytes:
    """UTF-8. A byte of a file's name that is none becomes \\udc80 to \\udcff, which a reader of JSON turns back."""
    return text.encode(errors="backslashreplace")


def json_bytes(value: Any) -> bytes:
    """For people to read."""
    return text_bytes(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json(value: Any, path: Path) -> None:
    """Writes a file of JSON, whole or not at all."""
    atomic_write(path, json_bytes(value))
