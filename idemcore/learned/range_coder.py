"""Integer symbols to bytes and back, by frequency tables: an adapter of `constriction`'s range coder.

Symbols of a call are coded table by table, so that a call of the library codes many at once. A symbol outside its table
is coded as the table's escape; behind the symbols of the call stand the values that escaped, in Elias' gamma code.

    Martin, "Range encoding", 1979; Bamler, "Understanding entropy coding with ANS", 2022; Elias, IEEE Trans. IT 1975
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from .tables import PRECISION, Tables

Integers = NDArray[np.int64]

_WORD, _STATE = 32, 64
"""Bits of a word of the library's streams, and of its encoder's state."""
_LIBRARY_PRECISION = 24
"""Bits of a frequency in the library."""
_HALF = 13
"""Escaped values have up to 26 bits, of which so many are coded at a time."""


class Unreadable(Exception):
    """The bytes are none that an encoder wrote."""


class SymbolEncoder:
    """Collects symbols; `flush` gives their bytes."""

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()

    def write(self, symbols: Integers, indexes: Integers, tables: Tables) -> None:
        """Appends `symbols` [K], each by the table of `indexes` [K]."""
        escaped: list[int] = []
        for index, where in _by_table(indexes):
            size = len(tables.cdfs[index]) - 2
            places = symbols[where] - tables.offsets[index]
            outside = (places < 0) | (places >= size)
            self._coder.encode(np.where(outside, size, places).astype(np.int32), _model(tuple(tables.cdfs[index])))
            escaped += [_beyond(int(place), size) for place in places[outside]]
        for value in escaped:
            self._write_gamma(value)

    def flush(self) -> bytes:
        """The fewest bytes that decode to what was written, whatever zeros are read behind them."""
        words = [int(word) for word in self._coder.get_compressed()]
        position, (lower, span) = self._coder.pos()
        return _shortest(words[:position], int(lower), int(span))

    def _write_gamma(self, value: int) -> None:
        length = (value + 1).bit_length() - 1
        rest = value + 1 - (1 << length)
        self._coder.encode(length, stream.model.Uniform(2 * _HALF + 1))
        for bits, part in ((max(length - _HALF, 0), rest >> _HALF), (min(length, _HALF), rest & ((1 << _HALF) - 1))):
            if bits:
                self._coder.encode(part, stream.model.Uniform(1 << bits))


class SymbolDecoder:
    """Reads what a `SymbolEncoder` wrote; anything else gives arbitrary symbols, or raises Unreadable."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % (_WORD // 8))
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))

    def read(self, indexes: Integers, tables: Tables) -> Integers:
        """The symbols [K] that were written with these `indexes` [K]. Raises Unreadable."""
        try:
            return self._read(indexes, tables)
        except AssertionError as error:  # that is how the library says so
            raise Unreadable from error

    def _read(self, indexes: Integers, tables: Tables) -> Integers:
        symbols = np.empty(len(indexes), dtype=np.int64)
        escapes: list[tuple[int, int, int]] = []
        for index, where in _by_table(indexes):
            size, offset = len(tables.cdfs[index]) - 2, tables.offsets[index]
            places = self._coder.decode(_model(tuple(tables.cdfs[index])), len(where)).astype(np.int64)
            symbols[where] = places + offset
            escapes += [(int(position), size, offset) for position in where[places == size]]
        for position, size, offset in escapes:
            symbols[position] = _place(self._read_gamma(), size) + offset
        return symbols

    def _read_gamma(self) -> int:
        length = int(self._coder.decode(stream.model.Uniform(2 * _HALF + 1)))
        value = 1
        for bits in (max(length - _HALF, 0), min(length, _HALF)):
            if bits:
                value = (value << bits) | int(self._coder.decode(stream.model.Uniform(1 << bits)))
        return value - 1


def _by_table(indexes: Integers) -> Iterator[tuple[int, Integers]]:
    """Each table that is used, ascending, and where."""
    order = np.argsort(indexes, kind="stable")
    used, starts = np.unique(indexes[order], return_index=True)
    yield from zip(used.tolist(), np.split(order, starts[1:]), strict=True)


@lru_cache(maxsize=4096)
def _model(cdf: Sequence[int]) -> stream.model.Categorical:
    """A model with exactly the frequencies of a table.

    The library gives each symbol a frequency of 1, and shares what is left in proportion to what it is passed: of
    integers with that sum, all of them exact in float64, each symbol gets the integer itself.
    """
    frequencies = np.diff(np.asarray(cdf, dtype=np.float64)) * 2 ** (_LIBRARY_PRECISION - PRECISION)
    return stream.model.Categorical(frequencies - 1, perfect=False)


def _beyond(place: int, size: int) -> int:
    """A place outside 0..size-1 as a number from 0: even above, odd below."""
    return 2 * (place - size) if place >= size else -2 * place - 1


def _place(beyond: int, size: int) -> int:
    return -(beyond + 1) // 2 if beyond % 2 else beyond // 2 + size


def _shortest(words: list[int], lower: int, span: int) -> bytes:
    """The number with the fewest digits of a byte in [lower, lower + span), behind `words`, without zeros at its end.

    `words` are as the library would seal them: if its own number, lower + 2**32 - 1, overflows the state, they hold
    the carry.
    """
    seal = 1 << (_STATE - _WORD)
    before = 0
    for word in words:
        before = before << _WORD | word
    start = (before - (lower + seal - 1 >> _STATE) << _STATE) + lower
    for zeros in range(_STATE, -1, -8):
        number = -(-start >> zeros) << zeros
        if number < start + span:
            break
    return number.to_bytes((len(words) * _WORD + _STATE) // 8, "big").rstrip(b"\0")
