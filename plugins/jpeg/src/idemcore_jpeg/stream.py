"""The segments of a JPEG file (ITU-T T.81, annex B): what is needed to know its cell, and nothing that is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from idemcore.errors import BitstreamError, InputError
from idemcore.limits import RAISE, too_large

ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8))), dtype=np.int64
)
"""Natural (row by row) position of each coefficient in the order of the file."""

SOI, EOI, SOS, DQT, DHT, DRI, APP14 = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xEE
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
OTHER_FRAMES = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB), "arithmetic-coded"),
}
SAMPLINGS = {(1, 1): "4:4:4", (1, 2): "4:2:2", (2, 2): "4:2:0"}
HINT = "Convert it first, for example with `jpegtran` or any image editor."


@dataclass(frozen=True)
class Component:
    identifier: int
    v: int
    h: int
    table: int


@dataclass(frozen=True)
class Scan:
    """One scan: which components and which part of their coefficients (annex G.1.1), with the tables then in force."""

    components: tuple[int, ...]
    dc_tables: tuple[bytes | None, ...]
    ac_tables: tuple[bytes | None, ...]
    start: int
    end: int
    high: int
    low: int
    restart: int
    """MCUs between restart markers, or 0."""
    data: list[bytes]
    """Entropy-coded bytes between restart markers, without byte stuffing."""


@dataclass
class Stream:
    """A parsed file."""

    height: int = 0
    width: int = 0
    frame: int = 0
    components: list[Component] = field(default_factory=list)
    tables: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict)
    """Quantisation tables by number, int32 [64] in natural order."""
    scans: list[Scan] = field(default_factory=list)
    adobe_transform: int = 1
    """0 in Adobe's marker says that three components are RGB."""
    header: bytes = b""
    """All segments before the first scan but the Huffman tables, which depend on the image."""
    huffman: bytes = b""
    """The Huffman tables' segments before the first scan."""
    trailing: bytes = b""
    """What follows the end-of-image marker."""

    @property
    def subsampling(self) -> str:
        """4:4:4, 4:2:2, 4:2:0 or grey."""
        if len(self.components) == 1:
            return "grey"
        return SAMPLINGS[self.components[0].v, self.components[0].h]

    def component_tables(self) -> npt.NDArray[np.int32]:
        """Int32 [C,64]: the quantisation table of each component."""
        try:
            return np.stack([self.tables[c.table] for c in self.components])
        except KeyError as error:
            raise BitstreamError(f"The JPEG names quantisation table {error}, which it does not hold.") from None


def parse(data: bytes) -> Stream:
    """Reads a whole file. Raises BitstreamError if damaged or cut, InputError for a kind of JPEG idem does not take."""
    stream, dc, ac = Stream(), dict[int, bytes](), dict[int, bytes]()
    restart, ended = 0, False
    for marker, body, coded in _segments(data):
        if not stream.scans:
            kept = b"\xff" + bytes([marker]) + body
            stream.header, stream.huffman = (
                (stream.header, stream.huffman + kept) if marker == DHT else (stream.header + kept, stream.huffman)
            )
        if marker == DQT:
            stream.tables.update(_quantisation_tables(body))
        elif marker == DHT:
            _huffman_tables(body, dc, ac)
        elif marker == DRI:
            restart = int.from_bytes(body[:2], "big")
        elif marker in (BASELINE, EXTENDED, PROGRESSIVE):
            _frame(stream, marker, body)
        elif marker in OTHER_FRAMES:
            raise InputError(f"The JPEG is {OTHER_FRAMES[marker]}, which idem does not read.", HINT)
        elif marker == APP14 and body[:5] == b"Adobe" and len(body) >= 12:
            stream.adobe_transform = body[11]
        elif marker == SOS:
            stream.scans.append(_scan(stream, body, coded, dc, ac, restart))
        elif marker == EOI:
            ended, stream.trailing = True, coded
    if not ended or not stream.scans:
        raise BitstreamError("The JPEG file is truncated: its end-of-image marker is missing.", "Fetch the file again.")
    if stream.adobe_transform == 0 and len(stream.components) == 3:
        raise InputError("The JPEG stores RGB (Adobe marker), not YCbCr.", HINT)
    return stream


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(marker, payload, what follows up to the next marker) of each segment; all that follows EOI is its own."""
    if data[:2] != b"\xff\xd8":
        raise BitstreamError("Not a JPEG file: it does not begin with FF D8.")
    position = 2
    while position + 1 < len(data):
        if data[position] != 0xFF:
            raise BitstreamError(f"The JPEG file is damaged: no marker at byte {position}.", "Fetch the file again.")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == EOI:
            yield marker, b"", data[position + 2 :]
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise BitstreamError(f"The JPEG file is cut or damaged in the segment at byte {position}.")
        position += 2 + length
        end = _coded_end(data, position) if marker == SOS else position
        yield marker, body, data[position:end]
        position = end


def _coded_end(data: bytes, position: int) -> int:
    """Where the next marker that is neither stuffing (FF 00) nor a restart (FF D0..D7) begins."""
    while (position := data.find(b"\xff", position)) >= 0 and position + 1 < len(data):
        if data[position + 1] != 0 and not 0xD0 <= data[position + 1] <= 0xD7:
            return position
        position += 2
    return len(data)


def _quantisation_tables(body: bytes) -> dict[int, npt.NDArray[np.int32]]:
    tables = {}
    while body:
        wide, number = body[0] >> 4, body[0] & 15
        size = 128 if wide else 64
        if len(body) < 1 + size or number > 3 or wide > 1:
            raise BitstreamError("The JPEG file's quantisation tables are damaged.")
        natural = np.empty(64, dtype=np.int32)
        natural[ZIGZAG] = np.frombuffer(body, ">u2" if wide else "u1", 64, 1)
        if not natural.all():
            raise BitstreamError("The JPEG file's quantisation tables are damaged: a step of 0.")
        tables[number], body = natural, body[1 + size :]
    return tables


def _huffman_tables(body: bytes, dc: dict[int, bytes], ac: dict[int, bytes]) -> None:
    while body:
        size = 17 + sum(body[1:17])
        if len(body) < size or body[0] >> 4 > 1:
            raise BitstreamError("The JPEG file's Huffman tables are damaged.")
        (ac if body[0] >> 4 else dc)[body[0] & 15] = body[1:size]
        body = body[size:]


def _frame(stream: Stream, marker: int, body: bytes) -> None:
    if len(body) < 6 or len(body) != 6 + 3 * body[5] or stream.frame:
        raise BitstreamError("The JPEG file's frame header is damaged.")
    if body[0] != 8:
        raise InputError(f"The JPEG has {body[0]} bits a sample; idem takes 8.", HINT)
    stream.frame = marker
    stream.height, stream.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if not stream.height or not stream.width:
        raise BitstreamError("The JPEG file's frame header gives no image size.")
    if fault := too_large(stream.height, stream.width):
        raise BitstreamError(f"The JPEG claims too much: {fault}.", RAISE)
    stream.components = [
        Component(i, hv & 15, hv >> 4, table) for i, hv, table in zip(*(body[j::3] for j in (6, 7, 8)), strict=True)
    ]
    _check_components(stream.components)


def _check_components(components: list[Component]) -> None:
    if len(components) not in (1, 3):
        raise InputError(f"The JPEG has {len(components)} components (CMYK?); idem takes grey and YCbCr.", HINT)
    if bytes(c.identifier for c in components) == b"RGB":
        raise InputError("The JPEG stores RGB, not YCbCr.", HINT)
    factors = [(c.v, c.h) for c in components]
    if len(components) == 3 and (factors[0] not in SAMPLINGS or factors[1:] != [(1, 1)] * 2):
        shown = " ".join(f"{h}x{v}" for v, h in factors)
        raise InputError(f"The JPEG samples its components {shown}; idem takes 4:4:4, 4:2:2 and 4:2:0.", HINT)


def _scan(stream: Stream, body: bytes, coded: bytes, dc: dict[int, bytes], ac: dict[int, bytes], restart: int) -> Scan:
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise BitstreamError("The JPEG file has a damaged scan header.")
    numbers = {c.identifier: i for i, c in enumerate(stream.components)}
    members = body[1 : 1 + 2 * count]
    if any(i not in numbers for i in members[::2]) or len(set(members[::2])) != count:
        raise BitstreamError("The JPEG file has a scan of a component that it does not have.")
    start, end, approximation = body[-3:]
    return Scan(
        tuple(numbers[i] for i in members[::2]),
        tuple(dc.get(t >> 4) for t in members[1::2]),
        tuple(ac.get(t & 15) for t in members[1::2]),
        start, end, approximation >> 4, approximation & 15, restart, _split(coded),
    )  # fmt: skip


def _split(coded: bytes) -> list[bytes]:
    """Cuts at restart markers and undoes byte stuffing."""
    pieces, begin, position = [], 0, 0
    while (position := coded.find(b"\xff", position)) >= 0:
        if position + 1 < len(coded) and coded[position + 1] != 0:
            pieces.append(coded[begin:position])
            begin = position + 2
        position += 2
    pieces.append(coded[begin:])
    return [piece.replace(b"\xff\x00", b"\xff") for piece in pieces]
