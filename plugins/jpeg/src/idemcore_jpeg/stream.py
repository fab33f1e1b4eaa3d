"""The segments of a JPEG file (ITU-T T.81, annex B): what is needed to know its cell, and nothing that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from idemcore.errors import BitstreamError, InputError
from idemcore.io.limits import RAISE, too_large

from .sampling import Sampling

ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8))), dtype=np.int64
)
"""Natural (row by row) position of each coefficient in the order of the file."""

SOI, EOI, SOS, DQT, DHT, DRI, COM, APP0, APP1, APP2, APP14, APP15 = (
    0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF,
)  # fmt: skip
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD9)}
"""Stuffing, TEM, restarts and SOI: no payload, and no meaning between segments."""
HUFFMAN_HINT = "`jpegtran -copy all OLD.jpg > NEW.jpg` makes it Huffman-coded without any loss."
EIGHT_BIT_HINT = "Convert it to an 8-bit RGB image first, e.g. `magick OLD.jpg -colorspace sRGB -depth 8 NEW.png`."
OTHER_FRAMES = {
    0xC3: ("lossless (SOF3)", EIGHT_BIT_HINT),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), ("hierarchical", EIGHT_BIT_HINT)),
    **dict.fromkeys((0xC9, 0xCA), ("arithmetic-coded", HUFFMAN_HINT)),
    0xCB: ("lossless and arithmetic-coded", EIGHT_BIT_HINT),
    0xF7: ("of the kind JPEG-LS", EIGHT_BIT_HINT),
}
_MARKER, _RESTART = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]"), re.compile(rb"\xff[\xd0-\xd7]")
"""What ends entropy-coded data, and what divides it; FF 00 is a byte of data."""


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
    """Quantisation tables by number, int32 [64] in natural order; those in force where the file ends."""
    latched: dict[int, npt.NDArray[np.int32] | None] = field(default_factory=dict)
    """The table of each component: the one in force where its first scan begins."""
    scans: list[Scan] = field(default_factory=list)
    segments: list[tuple[int, bytes]] = field(default_factory=list)
    """Marker and payload of what comes before the first scan."""
    trailing: bytes = b""
    """What follows the end-of-image marker."""

    @property
    def header(self) -> list[tuple[int, bytes]]:
        """All segments before the first scan but the Huffman tables, which depend on the image."""
        return [segment for segment in self.segments if segment[0] != DHT]

    @property
    def huffman(self) -> list[tuple[int, bytes]]:
        """The Huffman tables' segments before the first scan."""
        return [segment for segment in self.segments if segment[0] == DHT]

    def payloads(self, marker: int, start: bytes) -> list[bytes]:
        """What follows `start` in each segment of a kind that begins with it."""
        return [body[len(start) :] for kind, body in self.segments if kind == marker and body.startswith(start)]

    @cached_property
    def sampling(self) -> Sampling:
        """Factors without common divisors, and colours."""
        return Sampling.of([(c.v, c.h) for c in self.components], self._colours())

    @property
    def subsampling(self) -> str:
        """4:4:4, 4:2:0 and so on, or grey: a name for people."""
        return self.sampling.name

    def _colours(self) -> str:
        """As libjpeg guesses them (jdapimin.c): a JFIF marker means YCbCr, whatever Adobe's marker says."""
        if len(self.components) == 1:
            return "grey"
        adobe = [body for body in self.payloads(APP14, b"Adobe") if len(body) >= 7]
        if any(len(body) >= 9 for body in self.payloads(APP0, b"JFIF\0")):
            return "YCbCr"
        if adobe:
            return "YCbCr" if adobe[-1][6] else "RGB"
        return "RGB" if bytes(c.identifier for c in self.components) == b"RGB" else "YCbCr"

    def component_tables(self) -> npt.NDArray[np.int32]:
        """Int32 [C,64]: the quantisation table of each component."""
        tables = [self.latched.get(number) for number in range(len(self.components))]
        for component, table in zip(self.components, tables, strict=True):
            if table is None:
                lacking = f"quantisation table {component.table}, which it does not hold."
                raise BitstreamError(f"The JPEG names {lacking}", "Fetch the file again.")
        return np.stack([table for table in tables if table is not None])


def parse(data: bytes) -> Stream:
    """Reads a whole file. Raises BitstreamError if damaged or cut, InputError for a kind of JPEG idem does not take."""
    stream, dc, ac = Stream(), dict[int, bytes](), dict[int, bytes]()
    restart, ended = 0, False
    for marker, body, coded in _segments(data):
        if not stream.scans:
            stream.segments.append((marker, body))
        if marker == DQT:
            stream.tables.update(_quantisation_tables(body))
        elif marker == DHT:
            _huffman_tables(body, dc, ac)
        elif marker == DRI:
            restart = int.from_bytes(body[:2], "big")
        elif marker in (BASELINE, EXTENDED, PROGRESSIVE):
            _frame(stream, marker, body)
        elif marker in OTHER_FRAMES:
            kind, hint = OTHER_FRAMES[marker]
            raise InputError(f"The JPEG is {kind}, which idem does not read.", hint)
        elif marker == SOS:
            stream.scans.append(_scan(stream, body, coded, dc, ac, restart))
        elif marker == EOI:
            ended, stream.trailing = True, coded
    if not ended or not stream.scans:
        raise BitstreamError("The JPEG file is truncated: its end-of-image marker is missing.", "Fetch the file again.")
    _check_components(stream)
    return stream


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(marker, payload, what follows up to the next marker) of each segment; all that follows EOI is its own.

    As libjpeg does, it passes over bytes between segments that belong to none.
    """
    if data[:2] != b"\xff\xd8":
        raise BitstreamError("Not a JPEG file: it does not begin with FF D8.")
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker == 0xFF or marker in WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
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
    found = _MARKER.search(data, position)
    return found.start() if found else len(data)


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
        raise InputError(f"The JPEG has {body[0]}-bit samples; idem takes 8-bit ones.", EIGHT_BIT_HINT)
    stream.frame = marker
    stream.height, stream.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if not stream.height and stream.width:
        raise InputError("The JPEG gives its height after its first scan (DNL marker), which idem does not read.",
                         "`jpegtran -copy all OLD.jpg > NEW.jpg` may put it in its place.")  # fmt: skip
    if not stream.width:
        raise BitstreamError("The JPEG file's frame header gives no image size.")
    if fault := too_large(stream.height, stream.width):
        raise BitstreamError(f"The JPEG claims too much: {fault}.", RAISE)
    stream.components = [
        Component(i, hv & 15, hv >> 4, table) for i, hv, table in zip(*(body[j::3] for j in (6, 7, 8)), strict=True)
    ]
    if any(not (1 <= c.v <= 4 and 1 <= c.h <= 4) for c in stream.components):
        raise BitstreamError("The JPEG file's frame header has sampling factors out of range.")


def _check_components(stream: Stream) -> None:
    """Raises InputError for colours and samplings that idem does not take."""
    count = len(stream.components)
    if count == 4:
        adobe = [body for body in stream.payloads(APP14, b"Adobe") if len(body) >= 7]
        colours = "YCCK" if adobe and adobe[-1][6] == 2 else "CMYK"
        raise InputError(f"The JPEG has {colours} colours (4 components); idem takes grey, YCbCr and RGB.",
                         EIGHT_BIT_HINT)  # fmt: skip
    if count not in (1, 3):
        raise InputError(f"The JPEG has {count} components; idem takes grey, YCbCr and RGB.", EIGHT_BIT_HINT)
    if not stream.sampling.whole:
        name = stream.sampling.name
        raise InputError(f"The JPEG samples its components {name}: fractional sampling, which idem (like libjpeg) "
                         "does not read.", EIGHT_BIT_HINT)  # fmt: skip


def _scan(stream: Stream, body: bytes, coded: bytes, dc: dict[int, bytes], ac: dict[int, bytes], restart: int) -> Scan:
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise BitstreamError("The JPEG file has a damaged scan header.")
    numbers = {c.identifier: i for i, c in enumerate(stream.components)}
    members = body[1 : 1 + 2 * count]
    if any(i not in numbers for i in members[::2]) or len(set(members[::2])) != count:
        raise BitstreamError("The JPEG file has a scan of a component that it does not have.")
    start, end, approximation = body[-3:]
    for number in (numbers[i] for i in members[::2]):
        stream.latched.setdefault(number, stream.tables.get(stream.components[number].table))
    return Scan(
        tuple(numbers[i] for i in members[::2]),
        tuple(dc.get(t >> 4) for t in members[1::2]),
        tuple(ac.get(t & 15) for t in members[1::2]),
        start, end, approximation >> 4, approximation & 15, restart, _split(coded),
    )  # fmt: skip


def _split(coded: bytes) -> list[bytes]:
    """Cuts at restart markers and undoes byte stuffing; FF before a marker is fill."""
    return [piece.rstrip(b"\xff").replace(b"\xff\x00", b"\xff") for piece in _RESTART.split(coded)]
