"""Huffman-coded coefficients of a JPEG file (ITU-T T.81, annexes F and G), read strictly or as far as they go."""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from idemcore.errors import BitstreamError

from .knowledge import Knowledge
from .stream import FETCH, PROGRESSIVE, ZIGZAG, Scan, Stream

SALVAGE = "Add --salvage to keep what is there and fill in the rest, or fetch the file again."
SLACK = 4096
"""Zero bytes after the data: more than the longest MCU, which has 10 blocks of 64 times 31 bits."""
MOST_BLOCKS = 10
"""Of an MCU of several components (annex B.2.3)."""
NATURAL = [int(i) for i in ZIGZAG]
LEAST_SHARE = 4
"""MCUs for each of which, on average, a file to be salvaged holds a bit: with less, nearly nothing of it is there."""


MOST_LOST = 5
"""Restart intervals lost between two markers: their numbers from 0 to 7 tell no more from those that came before."""


def damaged(why: str) -> BitstreamError:
    """What ends a scan."""
    return BitstreamError(f"The JPEG file is damaged: {why}.", SALVAGE)


def truncated(why: str) -> BitstreamError:
    """What is not there."""
    return BitstreamError(f"The JPEG file is truncated or damaged: {why}.", SALVAGE)


def read_coefficients(stream: Stream, salvage: bool = False) -> Knowledge:
    """Quantised coefficients of each component, and which of their bits the file holds.

    Raises BitstreamError where a scan is cut or damaged. With `salvage`, such a scan is read as far as it goes, and
    from the next restart marker on.
    """
    frame = Frame(stream)
    bits = 8 * sum(len(scan.coded) for scan in stream.scans)
    if bits * (LEAST_SHARE if salvage else 1) < frame.rows * frame.columns:
        raise truncated("too few data for its size")
    known = Knowledge.of(frame.factors, frame.rows, frame.columns)
    if not stream.ended:
        known.note("it has no end-of-image marker")
    for scan in stream.scans:
        _Scanner(stream, scan, frame, known, salvage).run()
    if not salvage and not stream.ended and not known.complete:
        raise truncated("scans are missing after its last one")
    return known


class Frame:
    """How many blocks of each component there are."""

    def __init__(self, stream: Stream) -> None:
        self.largest = max(c.v for c in stream.components), max(c.h for c in stream.components)
        single = len(stream.components) == 1
        tall, wide = (1, 1) if single else self.largest
        self.factors = [(1, 1)] if single else [(c.v, c.h) for c in stream.components]
        """Rows and columns of blocks that an MCU has of each component."""
        self.rows, self.columns = math.ceil(stream.height / (8 * tall)), math.ceil(stream.width / (8 * wide))
        """Of MCUs."""
        self.own_grids = [
            (math.ceil(stream.height * v / (8 * tall)), math.ceil(stream.width * h / (8 * wide)))
            for v, h in self.factors
        ]
        """Rows and columns of blocks that a scan of one component has: those that hold pixels, without padding."""


@functools.lru_cache(maxsize=16)
def huffman_lookup(table: bytes | None) -> list[int]:
    """[65536] from the next 16 bits to (code length << 8 | symbol); 0 where no code matches."""
    if table is None:
        raise BitstreamError("The JPEG file uses a Huffman table that it does not hold.", FETCH)
    lengths = np.repeat(np.arange(1, 17), np.frombuffer(table, np.uint8, 16))
    values = np.frombuffer(table, np.uint8, len(lengths), 16).astype(np.int64)
    entries = np.repeat(lengths << 8 | values, 1 << (16 - lengths))
    if len(entries) > 65536:
        raise BitstreamError("The JPEG file's Huffman tables are damaged.", FETCH)
    lookup: list[int] = np.concatenate([entries, np.zeros(65536 - len(entries), np.int64)]).tolist()
    return lookup


class _Scanner:
    """Reads one scan into the planes of coefficients."""

    def __init__(self, stream: Stream, scan: Scan, frame: Frame, known: Knowledge, salvage: bool) -> None:
        self.stream, self.scan, self.frame, self.known, self.salvage = stream, scan, frame, known, salvage
        self.planes = known.buffers
        self.position = self.skip = 0
        self.bits: array[int] = array("Q")
        self.previous: list[int] = []
        self.busy: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        """Units of an AC refinement that have coefficients to refine."""
        self.ready: npt.NDArray[np.bool_] | None = None
        """Units [...] of which that is known which an AC refinement builds on; None for all of them."""
        self.single = len(scan.components) == 1
        self.grid = frame.own_grids[scan.components[0]] if self.single else (frame.rows, frame.columns)
        """Rows and columns of units: MCUs, or the blocks of a scan's only component."""

    def prepare(self) -> None:
        """Raises BitstreamError for a scan that cannot be read at all."""
        progressive, scan = self.stream.frame == PROGRESSIVE, self.scan
        self.check(progressive)
        dc_needed = scan.start == 0 and scan.high == 0
        self.dc = [huffman_lookup(t) if dc_needed else [] for t in scan.dc_tables]
        self.ac = [huffman_lookup(t) if scan.end else [] for t in scan.ac_tables]
        self.block = self.choose(progressive)
        if scan.start and scan.high:
            self.ready, in_use = self.known.refinable(scan, self.grid)
            self.busy = np.flatnonzero(in_use if self.ready is None else in_use | ~self.ready)

    def check(self, progressive: bool) -> None:
        """Raises BitstreamError for parameters that T.81 does not allow."""
        s = self.scan
        whole = (s.start, s.end, s.high, s.low) == (0, 63, 0, 0)
        part = s.start <= s.end < 64 and (s.start > 0 or s.end == 0) and s.low < 14 and s.high in (0, s.low + 1)
        if not (part and (s.start == 0 or self.single) if progressive else whole):
            raise damaged("the header of a scan")
        blocks = sum(v * h for v, h in (self.frame.factors[c] for c in s.components))
        if not self.single and blocks > MOST_BLOCKS:
            raise damaged(f"a scan with {blocks} blocks an MCU, and {MOST_BLOCKS} are the most")

    def choose(self, progressive: bool) -> Callable[[int, array[int], int], None]:
        """What reads a block."""
        if not progressive:
            return self.sequential
        if self.scan.start == 0:
            return self.dc_refine if self.scan.high else self.dc_first
        return self.ac_refine if self.scan.high else self.ac_first

    def run(self) -> None:
        """Reads all intervals, and notes which units are known thereafter."""
        total = self.grid[0] * self.grid[1]
        read = np.zeros(total, bool)
        try:
            self.prepare()
            for first, last, piece in self.intervals(total):
                self.interval(first, last, piece, read)
        except BitstreamError:
            if not self.salvage:
                raise
        self.known.learn(self.scan, read.reshape(self.grid))

    def intervals(self, total: int) -> Iterator[tuple[int, int, bytes]]:
        """First unit, the one after the last, and the data of each; raises BitstreamError where one is missing."""
        each = self.scan.restart or total
        count = math.ceil(total / each)
        pieces = self.scan.intervals(count)
        if len(pieces) > count:
            self.known.note("it has more restart intervals than blocks for them: a scan goes on after its last row")
        if len(pieces) < count and not self.salvage:
            raise truncated("restart intervals are missing")
        orderly = all(number == (place - 1) % 8 for place, (number, _) in enumerate(pieces))
        if not orderly and len(pieces) >= count:
            self.known.note("its restart markers are numbered wrongly")
            self.known.as_libjpeg = False
        place = 0
        for number, piece in pieces[:count]:
            if not orderly and len(pieces) < count:
                ahead = (number - place + 1) % 8
                if ahead > MOST_LOST:
                    continue  # one that came before
                place += ahead
            if place < count:
                yield place * each, min((place + 1) * each, total), piece
            place += 1

    def interval(self, first: int, last: int, piece: bytes, read: npt.NDArray[np.bool_]) -> None:
        """Reads units first..last-1 and marks them in `read`."""
        self.load(piece)
        try:
            for unit in self.ac_units(first, last, len(piece)) if self.scan.start else self.units(first, last, piece):
                read[unit] = True
        except BitstreamError:
            if not self.salvage:
                raise
            return
        unread = piece[-(-self.position // 8) :]
        if self.skip or unread.strip(unread[:1]):  # some cameras fill up with 00 or FF
            self.known.note("it has data left over after the last block of a scan: it was taller once, or is damaged")

    def units(self, first: int, last: int, piece: bytes) -> Iterator[int]:
        """Reads unit by unit, and gives the number of each when it is read."""
        block, end, blocks = self.block, 8 * len(piece), self.blocks(first, last)
        for unit in range(first, last):
            for component, offset in next(blocks):
                block(component, self.planes[self.scan.components[component]], offset)
            if self.position > end:
                raise truncated("its data ends too soon")
            yield unit

    def ac_units(self, first: int, last: int, length: int) -> Iterator[int | slice]:
        """The same for AC coefficients of a progressive file, where runs of units may have nothing to read."""
        plane, unit, end = self.planes[self.scan.components[0]], first, 8 * length
        columns = self.grid[1]
        stride = self.frame.columns * self.frame.factors[self.scan.components[0]][1]
        while unit < last:
            if self.ready is not None and not self.ready[unit]:
                raise damaged("a scan refines what is missing")
            self.block(0, plane, 64 * (unit // columns * stride + unit % columns))
            if self.position > end:
                raise truncated("its data ends too soon")
            yield unit
            unit += 1
            if self.skip:
                to = min(unit + self.skip, last, self.next_busy(unit))
                yield slice(unit, to)
                self.skip -= to - unit
                unit = to

    def next_busy(self, unit: int) -> int:
        """The first unit from this on that a run of blocks without new coefficients must stop at."""
        if not self.scan.high:
            return self.grid[0] * self.grid[1]
        at = int(np.searchsorted(self.busy, unit))
        return int(self.busy[at]) if at < len(self.busy) else self.grid[0] * self.grid[1]

    def load(self, piece: bytes) -> None:
        """Windows of 64 bits that begin at every byte: any code and its value lie in one."""
        padded = np.frombuffer(piece + bytes(SLACK + 8), np.uint8).astype(np.uint64)
        count = len(piece) + SLACK
        windows = np.zeros(count, np.uint64)
        for i in range(8):
            windows |= padded[i : i + count] << np.uint64(56 - 8 * i)
        self.bits = array("Q", windows.tobytes())
        self.position = self.skip = 0
        self.previous = [0] * len(self.scan.components)

    def blocks(self, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
        """For each unit, (number in the scan, offset in the plane) of its blocks (annex A.2)."""
        columns = self.grid[1]
        if self.single:
            stride = self.frame.columns * self.frame.factors[self.scan.components[0]][1]
            return ([(0, 64 * (n // columns * stride + n % columns))] for n in range(first, last))
        shapes = [self.frame.factors[c] for c in self.scan.components]
        return (
            [
                (i, 64 * ((n // columns * v + y) * columns * h + n % columns * h + x))
                for i, (v, h) in enumerate(shapes)
                for y in range(v)
                for x in range(h)
            ]
            for n in range(first, last)
        )

    def symbol(self, lookup: list[int]) -> int:
        position = self.position
        entry = lookup[self.bits[position >> 3] >> (48 - (position & 7)) & 0xFFFF]
        if not entry:
            raise damaged("a code that its tables do not have")
        self.position = position + (entry >> 8)
        return entry & 255

    def raw(self, count: int) -> int:
        position = self.position
        self.position = position + count
        return self.bits[position >> 3] >> (64 - (position & 7) - count) & ((1 << count) - 1)

    def signed(self, size: int) -> int:
        value = self.raw(size)
        return value if value >> (size - 1) else value - (1 << size) + 1

    def dc_value(self, component: int) -> int:
        size = self.symbol(self.dc[component])
        if size > 15:
            raise damaged("a DC difference out of range")
        value = self.previous[component] + (self.signed(size) if size else 0)
        if not -32768 <= value << self.scan.low <= 32767:
            raise damaged("a DC coefficient out of range")
        self.previous[component] = value
        return value

    def sequential(self, component: int, plane: array[int], offset: int) -> None:
        plane[offset] = self.dc_value(component)
        bits, lookup, position, k = self.bits, self.ac[component], self.position, 1
        while k < 64:
            shift = position & 7
            window = bits[position >> 3]
            entry = lookup[window >> (48 - shift) & 0xFFFF]
            size, length = entry & 15, entry >> 8
            if not size:
                position += length
                if entry & 255 == 0xF0:
                    k += 16
                    continue
                if entry & 255 or not entry:
                    raise damaged("a code that its tables do not have")
                break
            k += entry >> 4 & 15
            if k > 63:
                raise damaged("a block of more than 64 coefficients")
            value = window >> (64 - shift - length - size) & ((1 << size) - 1)
            position += length + size
            plane[offset + NATURAL[k]] = value if value >> (size - 1) else value - (1 << size) + 1
            k += 1
        self.position = position

    def dc_first(self, component: int, plane: array[int], offset: int) -> None:
        plane[offset] = self.dc_value(component) << self.scan.low

    def dc_refine(self, component: int, plane: array[int], offset: int) -> None:
        if self.raw(1):
            plane[offset] |= 1 << self.scan.low

    def ac_first(self, component: int, plane: array[int], offset: int) -> None:
        k = self.scan.start
        while k <= self.scan.end:
            symbol = self.symbol(self.ac[component])
            run, size = symbol >> 4, symbol & 15
            if not size and run < 15:
                self.skip = (1 << run) + self.raw(run) - 1
                return
            k += run
            if size:
                self.put(plane, offset, k, self.signed(size) << self.scan.low)
            k += 1

    def put(self, plane: array[int], offset: int, k: int, value: int) -> None:
        if k > self.scan.end or not -32768 <= value <= 32767:
            raise damaged("a coefficient out of range")
        plane[offset + NATURAL[k]] = value

    def ac_refine(self, component: int, plane: array[int], offset: int) -> None:
        k, one = self.scan.start, 1 << self.scan.low
        while not self.skip and k <= self.scan.end:
            symbol = self.symbol(self.ac[component])
            run, size = symbol >> 4, symbol & 15
            if not size and run < 15:
                self.skip = (1 << run) + self.raw(run)
                break
            value = (one if self.raw(1) else -one) if size else 0
            k = self.correct(plane, offset, k, run)
            if value:
                self.put(plane, offset, k, value)
            k += 1
        if self.skip:
            self.correct(plane, offset, k, 64)
            self.skip -= 1

    def correct(self, plane: array[int], offset: int, k: int, zeros: int) -> int:
        """Refines nonzero coefficients from k on and stops at the zero after `zeros` others (figure G.7)."""
        one = 1 << self.scan.low
        while k <= self.scan.end:
            at = offset + NATURAL[k]
            if plane[at] == 0:
                if zeros == 0:
                    break
                zeros -= 1
            elif self.raw(1) and not plane[at] & one:
                plane[at] += one if plane[at] > 0 else -one
            k += 1
        return k
