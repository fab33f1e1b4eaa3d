"""Files at addresses such as s3://bucket/photos/a.jpg, by the library fsspec: listed, read, fetched and sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
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


def found_at(address: str, suffixes: Collection[str]) -> Iterator[tuple[str, int]]:
    """Name below the address, with slashes, and bytes of each file with these suffixes; of a file itself, its own name.

    An address that ends with one of the suffixes is a file's. Raises UsageError if there is none, MissingError if the
    protocol's package is not here.
    """
    with _files(address) as (files, root):
        if _suffix(root) in suffixes:
            yield "", int(files.size(root) or 0)
            return
        known = files.find(root, detail=True) if files.exists(root) else {}
    names = {path: path[len(root.rstrip("/")) + 1 :] for path in sorted(known)}
    wanted = {path: name for path, name in names.items() if _suffix(name) in suffixes}
    if not wanted:
        raise UsageError(f"{address} holds no bitstreams.", f"Expected are {', '.join(sorted(suffixes))} files.")
    yield from ((name, int(known[path].get("size") or 0)) for path, name in wanted.items())


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


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


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
