"""Spheres, balls, schedules, Adam and the branches of noise: pure functions with known answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore_latent.descent import Adam
from idemcore_latent.geometry import rms, to_l1_ball, to_l2_ball, to_sphere
from idemcore_latent.schedules import one_cycle, ramp, split
from idemcore_latent.search import branches

SIZES = {"l1": lambda x: x.flatten(1).abs().mean(dim=1), "l2": lambda x: rms(x).flatten()}
BALLS = {"l1": to_l1_ball, "l2": to_l2_ball}
every_ball = pytest.mark.parametrize("kind", ["l1", "l2"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_sphere_is_of_radius_root_d_and_keeps_directions() -> None:
    z = drawn(3, 5, 7)
    on = to_sphere(z)
    torch.testing.assert_close(on.flatten(1).norm(dim=1), torch.full((3,), math.sqrt(35), dtype=torch.float64))
    torch.testing.assert_close(torch.cosine_similarity(on.flatten(1), z.flatten(1)), torch.ones(3, dtype=torch.float64))
    assert torch.equal(to_sphere(torch.zeros(2, 4)), torch.zeros(2, 4))


@every_ball
def test_what_is_in_the_ball_stays(kind: str) -> None:
    x = drawn(3, 4, 5)
    torch.testing.assert_close(BALLS[kind](x, float(SIZES[kind](x).max()) * 1.001), x)


@every_ball
def test_a_ball_gives_its_nearest_point(kind: str) -> None:
    x, radius = drawn(6, 4, 5), 0.3
    found = BALLS[kind](x, radius)
    torch.testing.assert_close(SIZES[kind](found), torch.full((6,), radius, dtype=torch.float64))
    # Of a convex set, p is the point nearest to x if and only if <x - p, q - p> <= 0 for each q of it.
    for seed in range(20):
        other = BALLS[kind](drawn(6, 4, 5, seed=100 + seed) * 10, radius)
        assert (((x - found) * (other - found)).flatten(1).sum(dim=1) <= 1e-9).all()


@every_ball
def test_a_ball_of_no_radius_is_its_centre(kind: str) -> None:
    assert torch.equal(BALLS[kind](drawn(2, 3), 0.0).abs(), torch.zeros(2, 3, dtype=torch.float64))


@every_ball
def test_a_projection_does_not_depend_on_the_batch(kind: str) -> None:
    x = drawn(4, 7).float()
    together = BALLS[kind](x, 0.2)
    assert torch.equal(together, torch.cat([BALLS[kind](one[None], 0.2) for one in x]))


def test_one_cycle_rises_falls_and_drops() -> None:
    factors = [one_cycle(i, 100) for i in range(100)]
    assert (factors[0], factors[45], factors[90]) == (pytest.approx(0.1), pytest.approx(1), pytest.approx(0.1))
    assert max(factors) == factors[45]
    assert factors[99] == pytest.approx(0.1 - 0.099 * 0.9)
    assert 0 < one_cycle(0, 1) <= 1


def test_the_ramp_is_flat_between_its_ends() -> None:
    factors = [ramp(i, 100) for i in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[5:25] == pytest.approx([1] * 20)
    assert factors[62] == pytest.approx(0.5, abs=0.02)
    assert 0 < factors[-1] < 0.01
    assert ramp(0, 1) > 0


@pytest.mark.parametrize("steps", [1, 2, 7, 150])
def test_steps_are_split_by_share_and_none_is_lost(steps: int) -> None:
    parts = split(steps, [2, 2, 0, 1, 1])
    assert sum(parts) == steps
    assert parts[2] == 0
    assert max(abs(part - steps * share / 6) for part, share in zip(parts, [2, 2, 0, 1, 1], strict=True)) <= 1
    assert split(150, [2, 2, 1, 1]) == [50, 50, 25, 25]


def test_adam_is_the_published_one() -> None:
    adam = Adam()
    first, second = adam.step(torch.tensor([3.0, -2.0]), 0.1), adam.step(torch.tensor([1.0, 0.0]), 0.2)
    torch.testing.assert_close(first, torch.tensor([0.1, -0.1]))
    # By hand: m = 0.9 m + 0.1 g, v = 0.999 v + 0.001 g^2, divided by 1 - 0.9^2 and 1 - 0.999^2.
    mean = torch.tensor([0.9 * 0.3 + 0.1, 0.9 * -0.2]) / (1 - 0.81)
    square = torch.tensor([0.999 * 0.009 + 0.001, 0.999 * 0.004]) / (1 - 0.999**2)
    torch.testing.assert_close(second, 0.2 * mean / square.sqrt())


def test_attempts_draw_from_noises_of_their_own() -> None:
    few, many = branches(Noise([1, 2]), 2), branches(Noise([2]), 4)
    draws = [branch.normal(50) for branch in few]
    assert torch.equal(draws[1][1:], many[1].normal(50)), "an image's attempts depend on its seed only"
    flat = torch.cat(draws)
    assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.6
