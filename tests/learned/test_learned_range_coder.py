"""Symbols to bytes by integer tables: exact for any symbols, as short as the tables say, any other bytes refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from constriction import stream
from hypothesis import given, settings
from hypothesis import strategies as st

from idemcore.learned.range_coder import SymbolDecoder, SymbolEncoder, Unreadable, _model
from idemcore.learned.tables import PRECISION, Tables, gaussian_tables, quantised_cdf

GAUSSIANS = gaussian_tables()
FLAT = Tables([quantised_cdf(torch.full((size,), 1 / size, dtype=torch.float64)) for size in (1, 2, 255)], [0, -1, 9])


def draw(rng: np.random.Generator, count: int, wild: bool) -> tuple[np.ndarray, np.ndarray]:
    """Symbols and table indexes; wild ones lie outside their tables now and then, as far as a symbol may."""
    indexes = rng.integers(0, len(GAUSSIANS.cdfs), count)
    reach = np.array([-offset for offset in GAUSSIANS.offsets])[indexes]
    symbols = np.rint(rng.normal(size=count) * reach / 6).astype(np.int64)
    if wild:
        outside = rng.random(count) < 0.2
        symbols[outside] = rng.integers(-(2**24), 2**24 + 1, outside.sum())
    return symbols, indexes


def information(symbols: np.ndarray, indexes: np.ndarray) -> float:
    """Bits, by the tables; all symbols lie inside them."""
    cdfs, offsets = GAUSSIANS.cdfs, GAUSSIANS.offsets
    places = [(cdfs[i], s - offsets[i]) for s, i in zip(symbols.tolist(), indexes.tolist(), strict=True)]
    return -sum(np.log2((cdf[place + 1] - cdf[place]) / 2**PRECISION) for cdf, place in places)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, 90), max_size=4), wild=st.booleans())
def test_any_symbols_come_back(seed: int, counts: list[int], wild: bool) -> None:
    rng, encoder = np.random.default_rng(seed), SymbolEncoder()
    calls = [draw(rng, count, wild) for count in counts]
    for symbols, indexes in calls:
        encoder.write(symbols, indexes, GAUSSIANS)
    data = encoder.flush()
    decoder = SymbolDecoder(data)
    for symbols, indexes in calls:
        assert np.array_equal(decoder.read(indexes, GAUSSIANS), symbols)
    assert not data.endswith(b"\0"), "zeros at the end say nothing"


@pytest.mark.parametrize("value", [2**24, -(2**24), 263, -1, -2, 264, 10**6])
def test_symbols_outside_their_table_come_back(value: int) -> None:
    encoder, indexes = SymbolEncoder(), np.array([2, 0, 2, 1])
    symbols = np.array([9, value, value, -1])
    encoder.write(symbols, indexes, FLAT)
    assert np.array_equal(SymbolDecoder(encoder.flush()).read(indexes, FLAT), symbols)


def test_a_stream_has_the_bytes_that_its_symbols_need() -> None:
    """Up to a byte at the end, for few symbols and for many."""
    for seed, count in enumerate([1, 2, 3, 5, 8, 13, 100, 3000] * 6):
        rng, encoder = np.random.default_rng(seed), SymbolEncoder()
        symbols, indexes = draw(rng, count, wild=False)
        encoder.write(symbols, indexes, GAUSSIANS)
        assert -16 < 8 * len(encoder.flush()) - information(symbols, indexes) < 8.1


def test_symbols_that_are_certain_take_no_bytes() -> None:
    encoder = SymbolEncoder()
    assert encoder.flush() == b""
    certain = Tables([[0, 2**PRECISION - 1, 2**PRECISION]], [5])
    encoder.write(np.full(20, 5), np.zeros(20, dtype=np.int64), certain)
    assert len(encoder.flush()) <= 1
    assert np.array_equal(SymbolDecoder(b"").read(np.zeros(20, dtype=np.int64), certain), np.full(20, 5))


@pytest.mark.parametrize("index", [0, 1, 30, 63])
def test_the_library_uses_exactly_the_integers_of_a_table(index: int) -> None:
    """Each end of each interval, as its ANS coder, whose state shows them, decodes it."""
    edges, model = np.array(GAUSSIANS.cdfs[index]) << 8, _model(tuple(GAUSSIANS.cdfs[index]))
    for place in {*range(min(40, len(edges) - 1)), *range(max(0, len(edges) - 41), len(edges) - 1)}:
        for quantile in (edges[place], edges[place + 1] - 1):
            state = np.array([quantile, 1], dtype=np.uint32)
            assert stream.stack.AnsCoder(state).decode(model) == place


def test_bytes_stay_what_they_were() -> None:
    """A stream of idem's own, for ever: another release of the library must read it."""
    rng, encoder = np.random.default_rng(7), SymbolEncoder()
    symbols, indexes = draw(rng, 12, wild=True)
    encoder.write(symbols, indexes, GAUSSIANS)
    assert encoder.flush().hex() == "051bc96944ce25d12fb3540566eb02f224534efa32"


def test_any_bytes_are_read_or_refused() -> None:
    rng, indexes, refused = random.Random(0), np.arange(64).repeat(20), 0
    for _ in range(300):
        data = rng.randbytes(rng.randrange(60)) + rng.choice([b"", b"\xff" * 300, b"\0" * 9])
        try:
            found = SymbolDecoder(data).read(indexes, GAUSSIANS)
            assert np.abs(found).max() <= 2**27
        except Unreadable:
            refused += 1
    assert refused < 300
