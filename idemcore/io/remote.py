"""Files at addresses such as s3://bucket/photos/a.jpg, by the library fsspec: listed, read, fetched and sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingError, UsageError
from .limits import max_file_bytes

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*://", re.IGNORECASE)
EXTRA = 'Type: pip install "idemcore[remote]"'


def is_address(text: str) -> bool:
    """Does it begin with a protocol, such as s3://, gs:// or https://?"""
    return bool(_ADDRESS.match(text))


def below(folder: str, name: str) -> str:
    """The address of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def size(address: str) -> int:
    """Bytes of the file; 0 if its server does not say. Raises MissingError if the protocol's package is not here."""
    with _files(address) as (files, path):
        return int(files.size(path) or 0)


def listed(folder: str) -> list[tuple[str, int]]:
    """Name within the folder, with slashes, and bytes of each file in it and in its folders, by name.

    Raises MissingError if the protocol's package is not here.
    """
    with _files(folder) as (files, root):
        known = files.find(root, detail=True) if files.exists(root) else {}
    return [(path[len(root.rstrip("/")) + 1 :], int(known[path].get("size") or 0)) for path in sorted(known)]


def read(address: str) -> bytes:
    """The file's bytes. Raises UsageError if it is too large, InputError if it cannot be read."""
    limit = max_file_bytes()
    with _files(address) as (files, path), files.open(path, "rb") as file:
        data = bytes(file.read(limit + 1))
    if len(data) > limit:
        raise UsageError(f"{address} has more than {limit:,} bytes, which is no photograph.", "Name another file.")
    return data


def fetch(address: str, target: Path) -> bool:
    """Copies the file to `target`; False if there is none."""
    with _files(address) as (files, path):
        if not files.exists(path):
            return False
        files.get_file(path, str(target))
        return True


def send(source: Path, address: str) -> None:
    """Copies a file to its address, whose folders are made."""
    with _files(address) as (files, path):
        files.makedirs(files._parent(path), exist_ok=True)
        files.put_file(str(source), path)


@contextmanager
def _files(address: str) -> Iterator[tuple[Any, str]]:
    """The file system of an address, and its path there; errors of any library behind it name the address."""
    from fsspec.core import url_to_fs

    try:
        yield url_to_fs(address)
    except (InputError, UsageError):
        raise
    except ImportError as error:
        raise MissingError(f"{address} needs a package that is not here: {error}.", EXTRA) from error
    except ValueError as error:
        raise UsageError(f"{address}: {error}.", "Addresses begin with e.g. s3://, gs:// or https://.") from error
    except NotImplementedError as error:
        raise UsageError(f"Nothing can be written to {address}.", "Name a folder here, or a bucket.") from error
    except Exception as error:  # each protocol has its own errors
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        hint = "Check the address and your credentials."
        raise InputError(f"{address} cannot be reached: {reason}.", hint) from error
