"""The segments of a JPEG file (ITU-T T.81, annex B): what is needed to know its cell, and nothing that is not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from idemcore.errors import BitstreamError, IdemError, InputError
from idemcore.io.limits import RAISE, too_large

from .sampling import Sampling
from .standard import AC_TABLES, DC_TABLES

ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8))), dtype=np.int64
)
"""Natural (row by row) position of each coefficient in the order of the file."""

SOI, EOI, SOS, DQT, DNL, DHT, DRI, COM, APP0, APP1, APP2, APP14, APP15 = (
    0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xC4, 0xDD, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF,
)  # fmt: skip
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FETCH = "Fetch the file again."
RE_ENCODE = "If you trust it, write it anew with `jpegtran -copy all OLD.jpg > NEW.jpg`."
HUFFMAN_HINT = "`jpegtran -copy all OLD.jpg > NEW.jpg` makes it Huffman-coded without any loss."
EIGHT_BIT_HINT = "Convert it to an 8-bit RGB image first, e.g. `magick OLD.jpg -colorspace sRGB -depth 8 NEW.png`."
OTHER_FRAMES = {
    0xC3: ("lossless (SOF3)", EIGHT_BIT_HINT),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), ("hierarchical", EIGHT_BIT_HINT)),
    **dict.fromkeys((0xC9, 0xCA), ("arithmetic-coded", HUFFMAN_HINT)),
    0xCB: ("lossless and arithmetic-coded", EIGHT_BIT_HINT),
    0xF7: ("of the kind JPEG-LS", EIGHT_BIT_HINT),
}
_MARKER, _RESTART = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]"), re.compile(rb"\xff([\xd0-\xd7])")
"""What ends entropy-coded data, and what divides it; FF 00 is a byte of data."""
_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Where a segment may begin; FF FF is fill. Stuffing, TEM and restarts have no meaning between segments."""
MOST_SEGMENTS = 1 << 16
MOST_SCANS = 1000
"""T.81 allows one scan for each bit of each coefficient; the programs of libjpeg write 100 at most."""
FREE_WORK, REPEATS, BLOCKS_A_BYTE = 1 << 20, 32, 64
"""Blocks that the scans of a file may go over: so many, so many times those of the image, and so many a byte.

The encoders of progressive files go over each block of a component 3 to 8 times.
"""


class ScanBomb(InputError):
    """A file that may be meant to keep a decoder busy."""


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
    coded: bytes
    """Entropy-coded bytes as they lie in the file, restart markers and byte stuffing included."""

    def intervals(self, most: int) -> list[tuple[int, bytes]]:
        """Entropy-coded bytes between restart markers, without byte stuffing, and the number 0..7 of the marker before.

        At most `most`, and one with all the rest.
        """
        pieces = _RESTART.split(self.coded, most)
        numbers = [7, *(marker[0] & 7 for marker in pieces[1::2])]
        # FF before a marker is fill.
        return [
            (number, piece.rstrip(b"\xff").replace(b"\xff\x00", b"\xff"))
            for number, piece in zip(numbers, pieces[::2], strict=True)
        ]


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
    """What follows the end-of-image marker or, where that is missing, the last scan."""
    ended: bool = False
    """The end-of-image marker is there."""
    readable: bytes = b""
    """The file as libjpeg takes it: with a height in its frame header, and an end-of-image marker."""

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
        tables = [self.latched.get(n, self.tables.get(c.table)) for n, c in enumerate(self.components)]
        for component, table in zip(self.components, tables, strict=True):
            if table is None:
                lacking = f"quantisation table {component.table}, which it does not hold."
                raise BitstreamError(f"The JPEG names {lacking}", "Fetch the file again.")
        return np.stack([table for table in tables if table is not None])


def parse(data: bytes) -> Stream:
    """Reads the segments of a file. Raises BitstreamError if they are damaged, InputError for a kind of JPEG that idem
    does not take.

    Whether the scans are whole shows when `entropy.read_coefficients` reads them.
    """
    return _Parser(data).run()


@dataclass(frozen=True)
class _Segment:
    start: int
    """Where its FF is."""
    marker: int
    body: bytes
    coded: bytes
    """What follows up to the next marker, of a scan."""
    end: int


class _Parser:
    """Follows the segments of one file, with the tables in force."""

    def __init__(self, data: bytes) -> None:
        self.data, self.stream = data, Stream()
        self.dc, self.ac = dict[int, bytes](), dict[int, bytes]()
        self.restart = self.end = self.frame_at = self.work = 0

    def run(self) -> Stream:
        stream = self.stream
        try:
            for segment in _segments(self.data):
                if not self.take(segment):
                    break
                self.end = segment.end
        except ScanBomb:
            raise
        except IdemError:
            # What follows a scan cannot undo it; whether anything is missing shows when coefficients are read.
            if not stream.scans or stream.height == 0:
                raise
        if not stream.scans:
            raise BitstreamError("The JPEG file is truncated: it ends before its first scan.", FETCH)
        if not stream.height:
            raise BitstreamError("The JPEG file gives no height, in its frame header or after its first scan.", FETCH)
        stream.trailing = self.data[self.end :]
        stream.readable = self.readable()
        _check_components(stream)
        return stream

    def take(self, segment: _Segment) -> bool:
        """Notes what a segment says; false if the image ends before it."""
        stream, marker, body = self.stream, segment.marker, segment.body
        if marker == EOI and stream.scans:
            stream.ended, self.end = True, segment.end
            return False
        if marker == SOI and stream.scans:
            return False  # another image's
        if not stream.scans:
            stream.segments.append((marker, body))
        if marker == DQT:
            stream.tables.update(_quantisation_tables(body))
        elif marker == DHT:
            _huffman_tables(body, self.dc, self.ac)
        elif marker == DRI:
            self.restart = int.from_bytes(body[:2], "big")
        elif marker in (BASELINE, EXTENDED, PROGRESSIVE):
            _frame(stream, marker, body)
            self.frame_at = segment.start
        elif marker in OTHER_FRAMES:
            kind, hint = OTHER_FRAMES[marker]
            raise InputError(f"The JPEG is {kind}, which idem does not read.", hint)
        elif marker == DNL and not stream.height:
            _set_height(stream, int.from_bytes(body[:2], "big"))
        elif marker == SOS:
            self.scan(segment)
        return True

    def scan(self, segment: _Segment) -> None:
        """Raises ScanBomb for scans that go over the image again and again, and say next to nothing."""
        stream = self.stream
        if not stream.scans and stream.frame != PROGRESSIVE:
            self.supply_tables()
        scan = _scan(stream, segment.body, segment.coded, self.dc, self.ac, self.restart)
        stream.scans.append(scan)
        blocks = math.ceil(stream.height / 8) * math.ceil(stream.width / 8)
        self.work += blocks * len(scan.components)
        if len(stream.scans) > MOST_SCANS or self.work > max(
            FREE_WORK, REPEATS * blocks + BLOCKS_A_BYTE * len(self.data)
        ):
            message = f"The JPEG file has {len(stream.scans)} scans or more over {blocks:,} blocks in few bytes: it may"
            raise ScanBomb(f"{message} be meant to keep a decoder busy.", RE_ENCODE)

    def supply_tables(self) -> None:
        """As libjpeg-turbo does (jstdhuff.c): what no segment has defined by the first scan is that of annex K.3."""
        for tables, standard in ((self.dc, DC_TABLES), (self.ac, AC_TABLES)):
            for number in standard.keys() - tables.keys():
                tables[number] = standard[number]

    def readable(self) -> bytes:
        """See `Stream.readable`."""
        data, at = self.data, self.frame_at + 5
        if data[at : at + 2] == b"\0\0":
            data = data[:at] + self.stream.height.to_bytes(2, "big") + data[at + 2 :]
        return data if self.stream.ended else data[: self.end] + bytes([0xFF, EOI])


def _segments(data: bytes) -> Iterator[_Segment]:
    """Each segment up to EOI. As libjpeg does, it passes over bytes between segments that belong to none."""
    if data[:2] != b"\xff\xd8":
        raise BitstreamError("Not a JPEG file: it does not begin with FF D8.")
    position = 2
    for _ in range(MOST_SEGMENTS):
        if not (found := _SEGMENT.search(data, position)):
            return
        start, position = found.start(), found.end()
        marker, body, coded = data[start + 1], b"", b""
        if marker not in (SOI, EOI):
            length = int.from_bytes(data[position : position + 2], "big")
            body, position = data[position + 2 : position + length], position + length
            if length < 2 or len(body) != length - 2:
                raise BitstreamError(f"The JPEG file is cut or damaged in the segment at byte {start}.", FETCH)
        if marker == SOS:
            end = _coded_end(data, position)
            coded, position = data[position:end], end
        yield _Segment(start, marker, body, coded, position)
    raise BitstreamError(f"The JPEG file has more than {MOST_SEGMENTS:,} segments.", FETCH)


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
    stream.width = int.from_bytes(body[3:5], "big")
    if not stream.width:
        raise BitstreamError("The JPEG file's frame header gives no image size.")
    _set_height(stream, int.from_bytes(body[1:3], "big"))
    stream.components = [
        Component(i, hv & 15, hv >> 4, table) for i, hv, table in zip(*(body[j::3] for j in (6, 7, 8)), strict=True)
    ]
    if any(not (1 <= c.v <= 4 and 1 <= c.h <= 4) for c in stream.components):
        raise BitstreamError("The JPEG file's frame header has sampling factors out of range.")


def _set_height(stream: Stream, height: int) -> None:
    """0 in a frame header means that a DNL segment after the first scan says it."""
    if fault := too_large(height, stream.width):
        raise BitstreamError(f"The JPEG claims too much: {fault}.", RAISE)
    stream.height = height


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
    if not stream.sampling.has_whole_ratios:
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
        start, end, approximation >> 4, approximation & 15, restart, coded,
    )  # fmt: skip
