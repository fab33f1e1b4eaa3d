"""Huffman tables fitted to what is to be coded (ITU-T T.81, annex K.2), and bits from codes."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
LONGEST = 16
NEVER = 256
"""A symbol beyond those that are coded."""
CHUNK = 1 << 18
"""Codes made into bits at a time: bounds memory to tens of megabytes."""


def fitted_table(counts: Integers) -> bytes:
    """From how often each symbol [256] occurs to a table as DHT holds it: 16 numbers of codes, then the symbols.

    The very table that libjpeg makes (jchuff.c): whether equal coefficients give equal bytes depends on it.
    """
    used = [int(symbol) for symbol in np.flatnonzero(counts)]
    depths = _depths({**{symbol: int(counts[symbol]) for symbol in used}, NEVER: 1})
    numbers = [0] * (max(depths.values()) + 1)
    for depth in depths.values():
        numbers[depth] += 1
    lengths = _at_most_16(numbers)
    # The symbol that never occurs takes the last code, which would be all ones.
    lengths[max(length for length, number in enumerate(lengths) if number)] -= 1
    ordered = sorted(used, key=lambda symbol: (depths[symbol], symbol))
    return bytes(lengths[1:]) + bytes(ordered)


def codes(table: bytes) -> tuple[Integers, Integers]:
    """Code and its length of each symbol, int64 [256] each; 0 where there is none."""
    code, length, value, at = np.zeros(256, np.int64), np.zeros(256, np.int64), 0, 16
    for bits in range(1, LONGEST + 1):
        for symbol in table[at : at + table[bits - 1]]:
            code[symbol], length[symbol] = value, bits
            value += 1
        at += table[bits - 1]
        value <<= 1
    return code, length


def join_bits(values: Integers, lengths: Integers) -> bytes:
    """Numbers of up to 32 bits each, one after another, filled up with ones."""
    pieces = [_bits(values[i : i + CHUNK], lengths[i : i + CHUNK]) for i in range(0, len(values), CHUNK)]
    fill = np.ones(-sum(map(len, pieces)) % 8, np.uint8)
    return np.packbits(np.concatenate([*pieces, fill])).tobytes()


def _bits(values: Integers, lengths: Integers) -> npt.NDArray[np.uint8]:
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - np.arange(int(ends[-1])) - 1
    return (np.repeat(values, lengths) >> shift & 1).astype(np.uint8)


def _depths(weights: dict[int, int]) -> dict[int, int]:
    """Depth of each symbol in a Huffman tree, 1 at least; of equal weights, the larger symbol goes first."""
    heap = [(weight, -symbol, [symbol]) for symbol, weight in weights.items()]
    heapq.heapify(heap)
    depths = dict.fromkeys(weights, 0 if len(weights) > 1 else 1)
    while len(heap) > 1:
        (one, name, left), (other, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for leaf in left + right:
            depths[leaf] += 1
        heapq.heappush(heap, (one + other, name, left + right))
    return depths


def _at_most_16(numbers: list[int]) -> list[int]:
    """Numbers of codes by length, [17]: pairs that are too deep move up, and split a code there (figure K.3)."""
    numbers = numbers + [0] * (LONGEST + 1 - len(numbers))
    for length in range(len(numbers) - 1, LONGEST, -1):
        while numbers[length] > 0:
            shorter = max(n for n in range(1, length - 1) if numbers[n])
            numbers[length] -= 2
            numbers[length - 1] += 1
            numbers[shorter + 1] += 2
            numbers[shorter] -= 1
    return numbers[: LONGEST + 1]
