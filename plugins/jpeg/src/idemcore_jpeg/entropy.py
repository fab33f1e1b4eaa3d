"""Huffman-coded coefficients of a JPEG file (ITU-T T.81, annexes F and G), read strictly: damage is an error."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from idemcore.errors import BitstreamError

from .stream import PROGRESSIVE, ZIGZAG, Scan, Stream

DAMAGED = "Fetch the file again, or repair it with an image editor and encode it anew."
SLACK = 4096
"""Zero bytes after the data: more than the longest MCU, so that an overrun is noticed before it leaves the array."""
NATURAL = [int(i) for i in ZIGZAG]


def read_coefficients(stream: Stream) -> list[npt.NDArray[np.int16]]:
    """Quantised coefficients of each component, int16 [rows of blocks, columns of blocks, 64] in natural order."""
    tall, wide = max(c.v for c in stream.components), max(c.h for c in stream.components)
    rows, columns = math.ceil(stream.height / (8 * tall)), math.ceil(stream.width / (8 * wide))
    if len(stream.components) == 1:
        rows, columns = math.ceil(stream.height / 8), math.ceil(stream.width / 8)
    if 8 * sum(len(piece) for scan in stream.scans for piece in scan.data) < rows * columns:
        raise BitstreamError("The JPEG file is truncated or damaged: too few data for its size.", DAMAGED)
    factors = [(1, 1)] if len(stream.components) == 1 else [(c.v, c.h) for c in stream.components]
    planes = [array("h", bytes(128 * rows * v * columns * h)) for v, h in factors]
    for scan in stream.scans:
        _Scanner(stream, scan, planes, rows, columns, factors, (tall, wide)).run()
    return [
        np.frombuffer(plane, np.int16).reshape(rows * v, columns * h, 64)
        for plane, (v, h) in zip(planes, factors, strict=True)
    ]


def huffman_lookup(table: bytes | None) -> list[int]:
    """[65536] from the next 16 bits to (code length << 8 | symbol); 0 where no code matches."""
    if table is None:
        raise BitstreamError("The JPEG file uses a Huffman table that it does not hold.", DAMAGED)
    lengths = np.repeat(np.arange(1, 17), np.frombuffer(table, np.uint8, 16))
    values = np.frombuffer(table, np.uint8, len(lengths), 16).astype(np.int64)
    entries = np.repeat(lengths << 8 | values, 1 << (16 - lengths))
    if len(entries) > 65536:
        raise BitstreamError("The JPEG file's Huffman tables are damaged.", DAMAGED)
    lookup: list[int] = np.concatenate([entries, np.zeros(65536 - len(entries), np.int64)]).tolist()
    return lookup


class _Scanner:
    """Reads one scan into the planes of coefficients."""

    def __init__(
        self, stream: Stream, scan: Scan, planes: list[array[int]], rows: int, columns: int,
        factors: list[tuple[int, int]], largest: tuple[int, int],
    ) -> None:  # fmt: skip
        self.stream, self.scan, self.planes = stream, scan, planes
        self.rows, self.columns, self.factors, self.largest = rows, columns, factors, largest
        progressive = stream.frame == PROGRESSIVE
        self.check(progressive)
        dc_needed = scan.start == 0 and scan.high == 0
        self.dc = [huffman_lookup(t) if dc_needed else [] for t in scan.dc_tables]
        self.ac = [huffman_lookup(t) if scan.end else [] for t in scan.ac_tables]
        self.block = self.choose(progressive)
        self.position = self.skip = 0
        self.bits: array[int] = array("Q")
        self.previous: list[int] = []

    def check(self, progressive: bool) -> None:
        s = self.scan
        whole = (s.start, s.end, s.high, s.low) == (0, 63, 0, 0)
        part = s.start <= s.end < 64 and (s.start > 0 or s.end == 0) and s.low < 14 and s.high in (0, s.low + 1)
        if not (part and (s.start == 0 or len(s.components) == 1) if progressive else whole):
            raise BitstreamError("The JPEG file has a damaged scan header.", DAMAGED)

    def choose(self, progressive: bool) -> Callable[[int, array[int], int], None]:
        if not progressive:
            return self.sequential
        if self.scan.start == 0:
            return self.dc_refine if self.scan.high else self.dc_first
        return self.ac_refine if self.scan.high else self.ac_first

    def run(self) -> None:
        units, block = self.units(), self.block
        total = self.unit_count()
        interval = self.scan.restart or total
        if len(self.scan.data) != math.ceil(total / interval):
            raise BitstreamError("The JPEG file's restart markers are damaged.", DAMAGED)
        for piece in self.scan.data:
            self.load(piece)
            end = 8 * len(piece)
            for _ in range(min(interval, total)):
                for component, offset in next(units):
                    block(component, self.planes[self.scan.components[component]], offset)
                if self.position > end:
                    raise BitstreamError("The JPEG file is truncated or damaged: its data ends too soon.", DAMAGED)
            total -= interval
            unread = piece[-(-self.position // 8) :]
            if self.skip or unread.strip(unread[:1]):  # some cameras fill up with 00 or FF
                raise BitstreamError("The JPEG file is damaged: data is left over after its last block.", DAMAGED)

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

    def block_grid(self) -> tuple[int, int]:
        """Blocks of a scan's only component: those that hold pixels, no padding of the MCU."""
        v, h = self.factors[self.scan.components[0]]
        tall, wide = self.largest if len(self.factors) > 1 else (v, h)
        return math.ceil(self.stream.height * v / (8 * tall)), math.ceil(self.stream.width * h / (8 * wide))

    def unit_count(self) -> int:
        if len(self.scan.components) == 1:
            rows, columns = self.block_grid()
            return rows * columns
        return self.rows * self.columns

    def units(self) -> Iterator[list[tuple[int, int]]]:
        """For each MCU, (number in the scan, offset in the plane) of its blocks (annex A.2)."""
        if len(self.scan.components) == 1:
            rows, columns = self.block_grid()
            stride = self.columns * self.factors[self.scan.components[0]][1]
            return ([(0, 64 * (r * stride + c))] for r in range(rows) for c in range(columns))
        return self.interleaved()

    def interleaved(self) -> Iterator[list[tuple[int, int]]]:
        shapes = [self.factors[c] for c in self.scan.components]
        for row in range(self.rows):
            for column in range(self.columns):
                yield [
                    (i, 64 * ((row * v + y) * self.columns * h + column * h + x))
                    for i, (v, h) in enumerate(shapes)
                    for y in range(v)
                    for x in range(h)
                ]

    def symbol(self, lookup: list[int]) -> int:
        position = self.position
        entry = lookup[self.bits[position >> 3] >> (48 - (position & 7)) & 0xFFFF]
        if not entry:
            raise BitstreamError("The JPEG file is damaged: a code that its tables do not have.", DAMAGED)
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
            raise BitstreamError("The JPEG file is damaged: a DC difference out of range.", DAMAGED)
        value = self.previous[component] + (self.signed(size) if size else 0)
        if not -32768 <= value << self.scan.low <= 32767:
            raise BitstreamError("The JPEG file is damaged: a DC coefficient out of range.", DAMAGED)
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
                    raise BitstreamError("The JPEG file is damaged: a code that its tables do not have.", DAMAGED)
                break
            k += entry >> 4 & 15
            if k > 63:
                raise BitstreamError("The JPEG file is damaged: a block of more than 64 coefficients.", DAMAGED)
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
        if self.skip:
            self.skip -= 1
            return
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
            raise BitstreamError("The JPEG file is damaged: a coefficient out of range.", DAMAGED)
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
