"""Small jobs for engines, in a module that every worker can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import UsageError

Job = Callable[[int], tuple[int, int]]
"""From a number to its result and the process that made it."""


def make_square() -> Callable[[int], int]:
    return _square


def make_traced(log: Path) -> Job:
    """Leaves a line in `log`: once in each worker, if the engine keeps its promise."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return _traced


def make_failing() -> Job:
    return _fail


def make_unmade() -> Job:
    """Fails before there is any work."""
    raise UsageError("the work cannot be made", "make another")


def make_killed(flag: Path, parent: int) -> Job:
    """The first worker that takes job 3 is killed, unless it is the process `parent`."""
    return partial(_killed, flag, parent)


def _square(number: int) -> int:
    return number**2


def _traced(number: int) -> tuple[int, int]:
    time.sleep(0.01)
    return number**2, os.getpid()


def _fail(number: int) -> tuple[int, int]:
    raise UsageError("no such thing", "try another")


def _killed(flag: Path, parent: int, number: int) -> tuple[int, int]:
    if number == 3 and os.getpid() != parent and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows either ends it at once
    return number**2, os.getpid()
