"""Which plugin an exception comes from, in which file and line, and what is said of it. Imports nothing heavy."""

from __future__ import annotations

import traceback

from ..errors import IdemError
from ..hookspecs import ENTRY_POINT_GROUP
from .entry_points import entries_by_distribution

OUT_OF_MEMORY = "Out of memory"
"""Begins what is said of it, of a GPU or of the machine."""


def origin(error: BaseException) -> str:
    """`line 12 of .../codec.py, in the plugin mycodec`: the innermost line that is a plugin's; empty if none is."""
    packages = _packages()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package in packages:
            return f"line {line} of {frame.f_code.co_filename}, in the plugin {packages[package]}"
    return ""


def _packages() -> dict[str, str]:
    """From the top-level packages of plugins to their distributions; without the core's."""
    entries = entries_by_distribution(ENTRY_POINT_GROUP)
    found = {entry.value.partition(":")[0].split(".")[0]: name for name, group in entries.items() for entry in group}
    return {package: name for package, name in found.items() if package != "idemcore"}


def as_failure(error: Exception) -> IdemError:
    """What is said of one image or solver of many that failed, whatever the reason, without what it keeps alive."""
    if isinstance(error, IdemError):
        return error.with_traceback(None)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "allocate memory" in text:
        reason = f"{OUT_OF_MEMORY}: {text.rstrip('.')}." if text else f"{OUT_OF_MEMORY}."
        return IdemError(reason, "Use a smaller --batch, or smaller images: --crop, --size.")
    place = origin(error)
    return IdemError(f"{type(error).__name__}: {text}" + (f" ({place})" if place else ""))
