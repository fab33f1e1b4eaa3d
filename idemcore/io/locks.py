"""One process at a time in a folder. A lock counts for nothing once its process has ended, however it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError

GLANCE = 0.2
"""Seconds for which a lock may be held by one who only looks whether it is free."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock file `path`, and holds it until the block ends."""
    from filelock import FileLock

    with FileLock(path):
        yield


@contextmanager
def held_alone(path: Path, message: str, hint: str) -> Iterator[None]:
    """Holds the lock file `path` until the block ends. Raises UsageError with these words while another holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=GLANCE)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(message, hint) from None
    try:
        yield
    finally:
        lock.release()
