"""Damage, from a seeded generator: bits, bytes, lengths, pieces of other files, and words that a parser looks for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
LONGEST = 1 << 16
"""Mutants are cut to it, bytes."""

Mutation = Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None]
"""Changes the data in place, given the other seeds and the words."""


def mutant(rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds after one to eight changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(min(8, 1 + int(rng.expovariate(0.7)))):
        rng.choice(MUTATIONS)(rng, data, seeds, words)
    return bytes(data[:LONGEST])


def _place(rng: random.Random, data: bytearray) -> int:
    """A position, half of the time among the first 64, where headers are."""
    return rng.randrange(1 + min(len(data), 64)) if rng.random() < 0.5 else rng.randrange(1 + len(data))


def _span(rng: random.Random, data: bytearray) -> slice:
    begin = _place(rng, data)
    return slice(begin, begin + rng.choice((1, 2, 4, 8, 64, 1000)))


def flip(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[min(_place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)


def scramble(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    where = _span(rng, data)
    data[where] = rng.randbytes(len(data[where]))


def number(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    """An integer that is likely to be at a limit, of any size and byte order, plus or minus a little."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    value = (rng.choice(NUMBERS) + rng.randrange(-2, 3)) % (1 << 8 * size)
    where = _place(rng, data)
    data[where : where + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def cut(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[_place(rng, data) :]


def remove(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[_span(rng, data)]


def repeat(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    where = _span(rng, data)
    data[where.start : where.start] = data[where] * rng.choice((1, 2, 20))


def insert(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    where = _place(rng, data)
    data[where:where] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def splice(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    """The head of this with the tail, or a piece, of another."""
    other = bytearray(rng.choice(seeds))
    if rng.random() < 0.5:
        data[_place(rng, data) :] = other[_place(rng, other) :]
    else:
        where = _place(rng, data)
        data[where:where] = other[_span(rng, other)]


def word(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if words:
        where, found = _place(rng, data), rng.choice(words)
        data[where : where + rng.choice((0, len(found)))] = found


def exchange(rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    """A word that is there for another."""
    there = [found for found in words if found in data]
    if there:
        old = rng.choice(there)
        where = data.find(old, rng.randrange(len(data)))
        where = data.find(old) if where < 0 else where
        data[where : where + len(old)] = rng.choice(words)


MUTATIONS: tuple[Mutation, ...] = (
    flip, flip, scramble, number, number, cut, remove, repeat, insert, splice, word, word, exchange, exchange,
)  # fmt: skip
