"""Entry points of plugins, whatever else is installed, and patience with what they do. Imports nothing heavy."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import TypeVar

from ..errors import UsageError

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds that a plugin may take to describe itself; `IDEM_PLUGIN_SECONDS` sets another number."""
_NOTICE = 3.0
"""Delay, in seconds, before naming the plugin that is slow."""


def entries_by_distribution(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by the name of their distribution, as it is written.

    A distribution whose metadata cannot be read hides no other.
    """
    try:
        found = list(entry_points(group=group))
    except Exception:  # one file that cannot be parsed, of whatever distribution, ends the search for all
        found = list(_one_by_one(group))
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in found:
        by_name.setdefault(name_of(entry), []).append(entry)
    return by_name


def canonical(distribution: str) -> str:
    """Two spellings of one distribution's name compare equal: PEP 503."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def name_of(entry: EntryPoint) -> str:
    """Name of the distribution that an entry belongs to, or the entry's own if that has lost its name."""
    return _told(entry, "Name") or entry.name


def version_of(entry: EntryPoint) -> str:
    """Version of the distribution that an entry belongs to; empty if that has lost it."""
    return _told(entry, "Version")


def _told(entry: EntryPoint, key: str) -> str:
    """What METADATA says; empty if it says nothing or cannot be read."""
    try:
        return str(entry.dist.metadata[key] or "") if entry.dist else ""
    except Exception:
        return ""


def _one_by_one(group: str) -> Iterator[EntryPoint]:
    """The first distribution of a name on `sys.path` counts, as for Python."""
    seen = set()
    for distribution in distributions():
        try:
            name = canonical(distribution.metadata["Name"])
            entries = distribution.entry_points.select(group=group)
        except Exception:
            continue
        if name not in seen:
            seen.add(name)
            yield from entries


def patience() -> float:
    """Seconds. Raises UsageError for an `IDEM_PLUGIN_SECONDS` that is not a number above 0."""
    text = os.environ.get("IDEM_PLUGIN_SECONDS", "")
    try:
        seconds = float(text) if text else PATIENCE
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"IDEM_PLUGIN_SECONDS is {text!r}, not a number of seconds.", "Try IDEM_PLUGIN_SECONDS=60.")
    return seconds


class Hangs(Exception):
    """Work that did not end in time; the message says where it was."""


def within(seconds: float, who: str, work: Callable[[], T]) -> T:
    """work(), in a thread that is left to itself if it takes longer. Raises Hangs then, else what `work` raises.

    A thread, since an import that is broken off, say by a signal, may leave a library half imported for everybody.
    Only code that never lets another thread run cannot be left: then idem hangs, too.
    """
    done: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            # A KeyboardInterrupt of this thread is none of the user's, whose own comes to the main thread.
            raised.append(RuntimeError("KeyboardInterrupt") if isinstance(error, KeyboardInterrupt) else error)

    thread = threading.Thread(target=run, daemon=True, name=f"plugin {who}")
    thread.start()
    thread.join(min(_NOTICE, seconds))
    if thread.is_alive() and seconds > _NOTICE:
        told = "Waiting for the plugin %s, for %.0f s at most; IDEM_DISABLE_PLUGINS=%s leaves it out."
        logging.getLogger("idemcore").warning(told, who, seconds, who)
        thread.join(seconds - _NOTICE)
    if raised:
        raise raised[0]
    if not done:
        raise Hangs(_where(thread))
    return done[0]


def _where(thread: threading.Thread) -> str:
    """The line at which it is."""
    frame = sys._current_frames().get(thread.ident or 0)
    return f"line {frame.f_lineno} of {frame.f_code.co_filename}" if frame else "nowhere"
