"""How much a file may ask for: what its header claims is checked before anything is allocated. Imports no torch."""

from __future__ import annotations

import os

from ..errors import UsageError

MAX_PIXELS = 2**27
"""Largest image that is read, written and decoded, pixels, unless IDEM_MAX_PIXELS says otherwise."""
MAX_FILE_BYTES = 2**30
"""Largest file that is read whole; IDEM_MAX_PIXELS beyond MAX_PIXELS raises it by 8 bytes a pixel."""
MAX_SETTINGS_BYTES = 2**18
"""Largest YAML file."""

_SHORTEST_SIDE = 64
"""A shorter side counts as this: networks and learned codecs pad to it."""


def max_pixels() -> int:
    """The limit in force. Raises UsageError for an IDEM_MAX_PIXELS that is not a number from 1 on."""
    told = os.environ.get("IDEM_MAX_PIXELS", "")
    if not told:
        return MAX_PIXELS
    try:
        limit = int(float(told))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UsageError(f"IDEM_MAX_PIXELS is {told!r}, not a number of pixels.", "Set it to e.g. 3e8, or unset it.")
    return limit


def max_file_bytes() -> int:
    """The largest file that is read whole."""
    return max(MAX_FILE_BYTES, 8 * max_pixels())


def too_large(height: int, width: int) -> str:
    """Why an image of this size is not touched, as the rest of a sentence; empty if it may be."""
    limit = max_pixels()
    if max(height, _SHORTEST_SIDE) * max(width, _SHORTEST_SIDE) <= limit:
        return ""
    return f"{width}x{height} pixels is more than the limit of {limit:,} (a side below {_SHORTEST_SIDE} counts as that)"


RAISE = "Cut the image into smaller ones or, if you trust the file and have the memory, set IDEM_MAX_PIXELS higher."
