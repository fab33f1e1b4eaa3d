"""What the segments of a JPEG file say beside its pixels: EXIF, colour profile, density. Imports nothing heavy."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import takewhile

EXIF, ICC, JFIF = (0xE1, b"Exif\0"), (0xE2, b"ICC_PROFILE\0"), (0xE0, b"JFIF\0")
"""Markers, and how the payloads begin."""
TIFF = (b"II*\0", b"MM\0*")
START_OF_SCAN = 0xDA
INCH, CENTIMETRE = 1, 2
Segment = tuple[int, bytes]
"""Marker and payload."""


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a file up to its first scan, or up to where it is damaged."""
    position = 2
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        if marker == 0xFF:
            position += 1  # fill
            continue
        if marker == START_OF_SCAN or length < 2:
            return
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def exif(found: Sequence[Segment]) -> tuple[bytes, str]:
    """A TIFF structure, and why there is none although there are segments for it.

    What lies in several segments is joined, up to where a second structure begins.
    """
    parts = [body[1:] for body in _payloads(found, EXIF)]  # a byte of padding
    joined = b"".join([*parts[:1], *takewhile(lambda part: part[:4] not in TIFF, parts[1:])])
    if not joined or joined[:4] in TIFF:
        return joined, ""
    return b"", "its EXIF data are damaged"


def profile(found: Sequence[Segment]) -> tuple[bytes, str]:
    """The colour profile, put together from its numbered parts, and why there is none although there are parts."""
    parts = {body[0]: body[2:] for body in _payloads(found, ICC) if len(body) > 2}
    totals = {body[1] for body in _payloads(found, ICC) if len(body) > 2}
    if not parts:
        return b"", ""
    joined = b"".join(parts[number] for number in sorted(parts))
    whole = totals == {len(parts)} and sorted(parts) == list(range(1, len(parts) + 1))
    if whole or int.from_bytes(joined[:4], "big") == len(joined):
        return joined, ""
    return b"", "its colour profile lacks a part"


def density(found: Sequence[Segment]) -> tuple[int, int, bool]:
    """Samples a metre, horizontally and vertically, and true; or the aspect of samples and false; zeros if unknown."""
    for body in _payloads(found, JFIF):
        if len(body) >= 7:
            unit, x, y = struct.unpack_from(">BHH", body, 2)
            if not x or not y or (unit not in (INCH, CENTIMETRE) and x == y):
                break
            scale = {INCH: 1 / 0.0254, CENTIMETRE: 100.0}.get(unit, 1.0)
            return round(x * scale), round(y * scale), unit in (INCH, CENTIMETRE)
    return 0, 0, False


def _payloads(found: Sequence[Segment], kind: tuple[int, bytes]) -> Sequence[bytes]:
    marker, start = kind
    return [body[len(start) :] for number, body in found if number == marker and body.startswith(start)]
