"""A JPEG file from quantised coefficients: sequential, Huffman tables fitted to them (ITU-T T.81, annexes B, F).

Tables, sampling and metadata are those of another file; its scans and restart markers are not kept. What followed its
end is appended by `appended.py`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .entropy import MOST_BLOCKS
from .huffman import Integers, codes, fitted_table, join_bits
from .layout import Layout
from .standard import AC_TABLES, DC_TABLES
from .stream import APP0, APP15, BASELINE, COM, DHT, DQT, EOI, EXTENDED, SOI, SOS, ZIGZAG, Stream

KEYS = 256
"""Places in a block: 4 times the coefficient's number, and one before it for runs of 16 zeros."""
DC, AC, RUN_OF_16, END_OF_BLOCK = 0, 1, 0xF0, 0x00


def write(stream: Stream, symbols: npt.NDArray[np.int32], layout: Layout) -> bytes:
    """`symbols` [M,N,K,64] as `reading.pack` has them, with all else as in `stream`."""
    tables = np.unique(stream.component_tables(), axis=0)
    numbers = [int((tables == table).all(1).argmax()) for table in stream.component_tables()]
    out = [bytes([0xFF, SOI]), *(_segment(marker, body) for marker, body in stream.segments if _kept(marker))]
    out += [_segment(DQT, _table(number, table)) for number, table in enumerate(tables)]
    out.append(_segment(BASELINE if tables.max() < 256 else EXTENDED, _frame(stream, layout, numbers)))
    for members, blocks, owners in _scans(symbols, layout):
        out += _scan(stream, members, blocks, owners)
    return b"".join([*out, bytes([0xFF, EOI])])


def own_file(found: Stream, symbols: npt.NDArray[np.int32], layout: Layout) -> bytes:
    """What libjpeg writes of these coefficients with the segments of `found`, a sequential file of its own."""
    ((members, blocks, owners),) = _scans(symbols, layout)
    standard = all(body[1:] in (*DC_TABLES.values(), *AC_TABLES.values()) for _, body in found.huffman)
    head = [_segment(marker, body) for marker, body in found.header if marker != SOS]
    scan = _scan(found, members, blocks, owners, standard)
    return b"".join([bytes([0xFF, SOI]), *head, *scan, bytes([0xFF, EOI])])


def _kept(marker: int) -> bool:
    return APP0 <= marker <= APP15 or marker == COM


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _table(number: int, table: npt.NDArray[np.int32]) -> bytes:
    wide = bool(table.max() > 255)
    return bytes([wide << 4 | number]) + table[ZIGZAG].astype(">u2" if wide else "u1").tobytes()


def _frame(stream: Stream, layout: Layout, numbers: list[int]) -> bytes:
    components = zip(stream.components, layout.sampling.factors, numbers, strict=True)
    described = (bytes([c.identifier, h << 4 | v, number]) for c, (v, h), number in components)
    return struct.pack(">BHHB", 8, stream.height, stream.width, len(numbers)) + b"".join(described)


def _scans(symbols: npt.NDArray[np.int32], layout: Layout) -> Iterator[tuple[list[int], Integers, Integers]]:
    """Components, blocks [B,64] in the order of the file, and the component of each [B]: one scan if MCUs allow it."""
    parts = list(layout.component_blocks())
    if layout.blocks <= MOST_BLOCKS:
        each = np.concatenate([np.full(part.stop - part.start, number) for number, part in enumerate(parts)])
        owners = np.tile(each, layout.grid[0] * layout.grid[1])
        filled = _filled(symbols.reshape(-1, 64), layout.valid.cpu().numpy().reshape(-1), owners)
        yield list(range(len(parts))), filled[:, ZIGZAG], owners
        return
    (m, n) = layout.grid
    for number, (part, (v, h)) in enumerate(zip(parts, layout.sampling.factors, strict=True)):
        plane = symbols[:, :, part].reshape(m, n, v, h, 64).swapaxes(1, 2).reshape(m * v, n * h, 64)
        rows, columns = layout.component_shape(number)
        blocks = plane[:rows, :columns].reshape(-1, 64)[:, ZIGZAG].astype(np.int64)
        yield [number], blocks, np.full(len(blocks), number)


def _filled(blocks: npt.NDArray[np.int32], valid: npt.NDArray[np.bool_], owners: Integers) -> Integers:
    """Blocks outside the image get the DC of the one before, which costs least."""
    filled = blocks.astype(np.int64)
    for number in np.unique(owners):
        own = np.flatnonzero(owners == number)
        latest = np.maximum.accumulate(np.where(valid[own], np.arange(len(own)), 0))
        filled[own, 0] = filled[own[latest], 0]
    return filled


@dataclass(frozen=True)
class _Tokens:
    """What is coded, in order: [T] each."""

    table: Integers
    """Twice the table's number, plus 1 for AC."""
    symbol: Integers
    extra: Integers
    size: Integers
    """Bits of `extra`."""


def _scan(
    stream: Stream, members: list[int], blocks: Integers, owners: Integers, standard: bool = False
) -> Iterable[bytes]:
    """`standard`: with the tables of annex K.3, else with tables fitted to the blocks."""
    # As libjpeg does: chroma has Huffman tables of its own, the components of RGB share one pair.
    most = 0 if stream.sampling.colours == "RGB" else 1
    tokens = _tokens(blocks, owners, most)
    chosen = [(kind, min(number, most)) for number in members for kind in (DC, AC)]
    if standard:
        tables = {2 * number + kind: (DC_TABLES, AC_TABLES)[kind][number] for kind, number in chosen}
    else:
        counts = np.bincount(tokens.table * 256 + tokens.symbol, minlength=4 * 256).reshape(4, 256)
        tables = {2 * number + kind: fitted_table(counts[2 * number + kind]) for kind, number in chosen}
    for which, table in tables.items():
        yield _segment(DHT, bytes([(which & 1) << 4 | which >> 1]) + table)
    header = [bytes([stream.components[number].identifier, min(number, most) * 0x11]) for number in members]
    yield _segment(SOS, bytes([len(members), *itertools.chain(*header), 0, 63, 0]))
    yield _coded(tokens, tables).replace(b"\xff", b"\xff\x00")


def _coded(tokens: _Tokens, tables: dict[int, bytes]) -> bytes:
    code, length = np.zeros((4, 256), np.int64), np.zeros((4, 256), np.int64)
    for which, table in tables.items():
        code[which], length[which] = codes(table)
    values = code[tokens.table, tokens.symbol] << tokens.size | tokens.extra
    return join_bits(values, length[tokens.table, tokens.symbol] + tokens.size)


def _tokens(blocks: Integers, owners: Integers, most: int) -> _Tokens:
    """The tokens of blocks [B,64] in zigzag order; `most` is the last table's number."""
    tables = 2 * np.minimum(owners, most)
    difference = np.zeros(len(blocks), np.int64)
    for number in np.unique(owners):
        difference[owners == number] = np.diff(blocks[owners == number, 0], prepend=0)
    block, k = np.nonzero(blocks[:, 1:])
    k = k + 1
    first = np.diff(block, prepend=-1) > 0
    run = k - np.where(first, 0, np.roll(k, 1)) - 1
    size, value = _bit_length(blocks[block, k]), blocks[block, k]
    longs = np.repeat(np.arange(len(run)), run >> 4)
    last = np.zeros(len(blocks), np.int64)
    last[block] = k
    unfinished = np.flatnonzero(last < 63)
    none = np.zeros_like
    every, dc_size = np.arange(len(blocks)), _bit_length(difference)
    parts = [
        (every * KEYS, tables, dc_size, _extra(difference, dc_size), dc_size),
        (block * KEYS + 4 * k, tables[block] + AC, (run & 15) << 4 | size, _extra(value, size), size),
        (block[longs] * KEYS + 4 * k[longs] - 1, tables[block[longs]] + AC, none(longs) + RUN_OF_16, none(longs),
         none(longs)),
        (unfinished * KEYS + KEYS - 1, tables[unfinished] + AC, none(unfinished) + END_OF_BLOCK, none(unfinished),
         none(unfinished)),
    ]  # fmt: skip
    key, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(key, kind="stable")
    return _Tokens(*(column[order] for column in columns))


def _bit_length(values: Integers) -> Integers:
    return np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64)


def _extra(values: Integers, size: Integers) -> Integers:
    """The bits that follow a size: negative numbers are one less, in two's complement."""
    return np.where(values < 0, values + (1 << size) - 1, values)
