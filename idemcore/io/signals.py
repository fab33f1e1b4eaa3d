"""Whatever asks a command to stop ends it as Ctrl-C does: through its clean-up, and never between two renames."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = [n for n in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")) if n is not None]
"""Beside SIGINT, which is Python's own; there is no SIGHUP on Windows."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise KeyboardInterrupt, unless they are ignored (`nohup`) or somebody else's."""
    taken = [number for number in _STOPPING if _in_main() and signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is _stop:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals_held() -> Iterator[None]:
    """A signal that arrives within it takes effect when it ends: for a few renames that belong together."""
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_STOPPING) if _in_main()}
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
