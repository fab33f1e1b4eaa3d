"""What follows the end of a JPEG: further pictures, gain maps, videos. It is kept, and what points at it stays right.

XMP points at it from the end of the file, or lists lengths (motion photos, Ultra HDR): both stay true as long as the
appended bytes are kept. The index of a multi-picture file (CIPA DC-007) counts from its own place in the file.
"""

from __future__ import annotations

import struct

MP_INDEX = b"MPF\0"
MP_ENTRIES, ENTRY = 0xB002, 16
"""Tag of the list of pictures, and bytes for each: attributes, size and offset (4 each), dependents."""


def kinds(trailing: bytes) -> str:
    """What it is, for people."""
    found = []
    if pictures := trailing.count(b"\xff\xd8\xff"):
        found.append("another picture" if pictures == 1 else f"{pictures} pictures or more")
    if b"ftyp" in trailing:
        found.append("a video")
    return f"{len(trailing):,} bytes" + (f": {' and '.join(found)}" if found else "")


def joined(written: bytes, trailing: bytes, original: bytes) -> bytes:
    """A picture written anew, followed by what followed the original; the index of pictures is set right."""
    index, former = written.find(MP_INDEX), original.find(MP_INDEX)
    if not trailing or index < 0 or former < 0:
        return written + trailing
    start, end = index + len(MP_INDEX), len(original) - len(trailing)
    shift = (len(written) - start) - (end - (former + len(MP_INDEX)))
    body = bytearray(written + trailing)
    order, entries = _entries(written, start)
    for number, at in enumerate(entries):
        _, size, offset = struct.unpack_from(order + "III", body, at)
        size, offset = (len(written), 0) if number == 0 else (size, offset + shift)
        if 0 <= offset < 1 << 32:
            struct.pack_into(order + "II", body, at + 4, size, offset)
    return bytes(body)


def _entries(data: bytes, start: int) -> tuple[str, list[int]]:
    """Byte order, and where the entry of each picture is; `start` is where the index's TIFF structure begins."""
    order = "<" if data[start : start + 2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", data, start + 4)
        (count,) = struct.unpack_from(order + "H", data, start + directory)
        for tag_at in range(start + directory + 2, start + directory + 2 + 12 * count, 12):
            tag, _, length, value = struct.unpack_from(order + "HHII", data, tag_at)
            if tag == MP_ENTRIES and start + value + length <= len(data):
                return order, [start + value + at for at in range(0, length - ENTRY + 1, ENTRY)]
    except struct.error:
        pass
    return order, []
