"""The .idem file: a codec's bitstream with what a decoder needs beside it. `docs/format.md` describes it byte by byte.

    magic 3 | version 1 | model id 4 | width varint | height varint | payload | CRC-32C 4

Big-endian. 14 to 18 bytes beside the payload.
"""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c

from ..errors import BitstreamError
from ..io.limits import RAISE, too_large

MAGIC = b"\x1dem"
VERSION = 2

_HEAD = len(MAGIC) + 1 + 4
_CRC = 4
_VARINT = 5  # bytes of the longest side
_LOOKED_BACK = 1 << 16  # bytes at the end of a damaged file among which the end of a whole one is sought
_SHORTEST = _HEAD + 2 + _CRC


@dataclass(frozen=True)
class Container:
    """One image's bitstream. `model_id` is `Encoder.model_id`; `width` and `height` are the image's, in pixels."""

    model_id: bytes
    width: int
    height: int
    payload: bytes

    def __post_init__(self) -> None:
        if len(self.model_id) != 4:
            raise ValueError(f"a model id has 4 bytes, not {len(self.model_id)}")
        if fault := _size_fault(self.width, self.height):
            raise ValueError(fault)

    def pack(self) -> bytes:
        """The bytes of the .idem file."""
        sizes = _varint(self.width) + _varint(self.height)
        body = MAGIC + bytes([VERSION]) + self.model_id + sizes + self.payload
        return body + _checksum(body)

    @classmethod
    def unpack(cls, data: bytes, where: str = "bitstream") -> Container:
        """The inverse of `pack`. Raises BitstreamError, naming `where`, for anything else."""
        if data[: len(MAGIC)] != MAGIC[: len(data)]:
            raise BitstreamError(f"{where} is not an .idem file: it starts with {data[:4]!r}.")
        if len(data) < _SHORTEST:
            raise BitstreamError(f"{where} is cut short: {len(data)} bytes, an .idem file has at least {_SHORTEST}.")
        if data[len(MAGIC)] != VERSION:
            found = data[len(MAGIC)]
            hint = (
                "Upgrade idemcore." if found > VERSION else "Encode the image again, or use the idemcore of its time."
            )
            raise BitstreamError(f"{where} has .idem version {found}, this idem reads version {VERSION}.", hint)
        if data[-_CRC:] != _checksum(data[:-_CRC]):
            raise _damaged(data, where)
        return cls._parse(data[:-_CRC], where)

    @classmethod
    def _parse(cls, body: bytes, where: str) -> Container:
        width, start = _read_varint(body, _HEAD, where)
        height, start = _read_varint(body, start, where)
        if fault := _size_fault(width, height):
            hint = RAISE if width and height else "Fetch the file again."
            raise BitstreamError(f"{where} has an impossible header: {fault}.", hint)
        return cls(body[_HEAD - 4 : _HEAD], width, height, body[start:])


def _size_fault(width: int, height: int) -> str:
    if width < 1 or height < 1:
        return f"an image of {width}x{height} pixels is empty"
    return too_large(height, width)


def _damaged(data: bytes, where: str) -> BitstreamError:
    """The checksum is wrong: bytes follow the end of a whole container, or bytes changed, or bytes are missing."""
    first = max(_SHORTEST, len(data) - _LOOKED_BACK)
    crc = google_crc32c.value(data[: first - _CRC])
    for end in range(first, len(data)):
        if data[end - _CRC : end] == crc.to_bytes(_CRC, "big"):
            return BitstreamError(f"{where} has {len(data) - end} bytes after its end.", f"Keep its first {end} bytes.")
        crc = google_crc32c.extend(crc, data[end - _CRC : end - _CRC + 1])
    return BitstreamError(f"{where} is damaged or cut short: its checksum does not match.", "Fetch the file again.")


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC, "big")


def _varint(value: int) -> bytes:
    """Unsigned LEB128: 7 bits a byte, the lowest first; the top bit says that more follow."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _read_varint(data: bytes, start: int, where: str) -> tuple[int, int]:
    """The value at `start` and the position behind it; only the shortest spelling of a value is accepted."""
    value = 0
    for position in range(start, start + _VARINT):
        if position == len(data):
            raise BitstreamError(f"{where} ends within its header.")
        value |= (data[position] & 0x7F) << 7 * (position - start)
        if data[position] < 0x80:
            break
    if data[start : position + 1] == _varint(value):
        return value, position + 1
    raise BitstreamError(f"{where} has an image side that is not a canonical varint.")
