"""Noise belongs to the image: neither batch, order, threads nor the global generator matter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idemcore.noise import Noise, image_seed

SEEDS = [3, 1, 4, 1, 5]


@pytest.mark.parametrize("draw", [lambda n: n.normal(2, 3), lambda n: n.uniform(2, 3)], ids=["normal", "uniform"])
def test_an_image_sees_its_own_stream_in_any_batch(draw) -> None:
    batch = Noise(SEEDS)
    together = [draw(batch), draw(batch)]
    for index, seed in enumerate(SEEDS):
        alone = Noise([seed])
        for step in together:
            assert torch.equal(draw(alone)[0], step[index])


def test_equal_seeds_are_equal_and_others_differ() -> None:
    drawn = Noise(SEEDS).normal(64)
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_the_numbers_are_those_of_the_first_release() -> None:
    assert image_seed(0, "kodim01", 1) == 8099748920480101448
    assert Noise([7]).normal(3)[0].tolist() == pytest.approx([-0.146795, 0.786141, 0.946822], abs=1e-5)


def test_threads_do_not_matter() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = Noise(SEEDS).normal(3, 64, 64)
        torch.set_num_threads(2)
        assert torch.equal(one, Noise(SEEDS).normal(3, 64, 64))
    finally:
        torch.set_num_threads(before)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    state = torch.get_rng_state()
    first = Noise([1]).normal(4)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(1)
    assert torch.equal(first, Noise([1]).normal(4))
    torch.set_rng_state(state)


def test_the_draws_have_the_right_distribution() -> None:
    normal, uniform = Noise([0, 1]).normal(3, 200, 200), Noise([0, 1]).uniform(3, 200, 200)
    assert normal.mean().abs() < 0.01
    assert abs(normal.std() - 1) < 0.01
    assert abs(uniform.mean() - 0.5) < 0.01
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert (normal[0] * normal[1]).mean().abs() < 0.01


def test_like_has_shape_and_type_of_its_model() -> None:
    x = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    drawn = Noise([0, 1]).like(x)
    assert (drawn.shape, drawn.dtype) == (x.shape, x.dtype)
    assert len(Noise([0, 1])) == 2


@given(st.integers(), st.lists(st.one_of(st.text(), st.integers()), max_size=3))
def test_a_seed_has_63_bits_and_depends_on_every_key(seed: int, keys: list[str | int]) -> None:
    value = image_seed(seed, *keys)
    assert 0 <= value < 2**63
    assert value == image_seed(seed, *keys)
    assert value != image_seed(seed + 1, *keys)
    assert value != image_seed(seed, *keys, 0)
