"""Schedules are pure functions with known ends, sums and sources."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore_dps.schedules import (
    alpha_from_sigma,
    ancestral,
    karras,
    linear_ddpm,
    respaced,
    sigma_from_alpha,
    timestep_levels,
)


def test_karras_runs_from_the_largest_level_to_the_smallest() -> None:
    levels = karras(9, 0.4, 0.01, rho=3)
    assert levels[0].item() == pytest.approx(0.4)
    assert levels[-1].item() == pytest.approx(0.01)
    assert (levels.diff() < 0).all()
    roots = levels ** (1 / 3)
    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(8))


def test_one_step_of_karras_is_the_largest_level() -> None:
    assert karras(1, 0.4, 0.01).tolist() == pytest.approx([0.4])


def test_linear_ddpm_is_the_product_of_its_betas() -> None:
    sigmas = linear_ddpm()
    # abar after 1 and after 2 steps: (1 - 1e-4) and (1 - 1e-4)(1 - beta_1), beta_1 = 1e-4 + (0.02 - 1e-4) / 999.
    first, second = 1 - 1e-4, (1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999)
    assert alpha_from_sigma(sigmas[:2]).tolist() == pytest.approx([first, second], rel=1e-12)
    assert alpha_from_sigma(sigmas[-1]).item() == pytest.approx(4.0358e-5, rel=1e-3)


def test_sigma_and_alpha_are_inverse() -> None:
    alphas = torch.tensor([0.9999, 0.5, 1e-4], dtype=torch.float64)
    torch.testing.assert_close(alpha_from_sigma(sigma_from_alpha(alphas)), alphas)


@pytest.mark.parametrize("steps", [2, 7, 100, 999])
def test_respacing_keeps_both_ends_and_descends(steps: int) -> None:
    sigmas = linear_ddpm()
    chosen = respaced(sigmas, steps)
    assert len(chosen) == steps
    assert chosen[0] == sigmas[-1]
    assert chosen[-1] == sigmas[0]
    assert (chosen.diff() < 0).all()


@pytest.mark.parametrize("schedule", ["uniform", "quadratic"])
def test_one_step_is_at_the_largest_level(schedule: str) -> None:
    """At the least, a solver of one step would do nothing."""
    sigmas = linear_ddpm()
    assert respaced(sigmas, 1, schedule).tolist() == [float(sigmas[-1])]


def test_respacing_to_more_steps_than_there_are_gives_all() -> None:
    sigmas = linear_ddpm(10)
    assert torch.equal(respaced(sigmas, 50), sigmas.flip(0))


def test_a_quadratic_schedule_is_densest_where_there_is_little_noise() -> None:
    order = torch.arange(1000.0, dtype=torch.float64)
    chosen = respaced(order, 20, "quadratic")
    assert len(chosen) == 20
    assert (chosen[0], chosen[-1]) == (999, 0)
    # Evenly spaced is the square of how far the way down from the largest has come.
    square = ((999 - chosen) / 999) ** 2
    torch.testing.assert_close(square.diff(), torch.full((19,), 1 / 19, dtype=torch.float64), atol=2e-3, rtol=0)


def test_levels_that_would_be_the_same_are_taken_once() -> None:
    chosen = respaced(torch.arange(1000.0), 1000, "quadratic")
    assert 500 < len(chosen) < 1000
    assert (chosen.diff() < 0).all()


def test_a_continuous_network_is_visited_only_where_it_was_trained(world: SimpleNamespace) -> None:
    prior = world.GaussianPrior()
    prior.sigma_min, prior.sigma_max = 0.02, 3.0
    levels = timestep_levels(prior, 50)
    assert len(levels) == 50
    assert levels[0] <= 3.0
    assert levels[-1] >= 0.02


def test_levels_from_a_timestep_on_have_no_more_noise_than_it(world: SimpleNamespace) -> None:
    for prior in (world.GaussianPrior(), world.DiscretePrior()):
        assert torch.equal(timestep_levels(prior, 300, start=300), linear_ddpm()[:300].flip(0))
        assert torch.equal(timestep_levels(prior, 1000), linear_ddpm().flip(0))
    prior.sigmas = linear_ddpm()[100:]
    assert torch.equal(timestep_levels(prior, 20, start=50), linear_ddpm()[100:101]), "never none"


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0, 5.0])
def test_ancestral_parts_add_up_to_the_next_level(eta: float) -> None:
    sigma, lower = torch.tensor([0.5, 0.02]), torch.tensor([0.3, 0.01])
    down, up = ancestral(sigma, lower, eta)
    torch.testing.assert_close(down.square() + up.square(), lower.square())
    assert (up == 0).all() if eta == 0 else (up > 0).all()


def test_eta_one_is_the_ddpm_posterior() -> None:
    sigma, lower = torch.tensor([0.5]), torch.tensor([0.3])
    down, up = ancestral(sigma, lower, 1.0)
    # q(x_s | x_t, x0) has mean x0 + (s^2/t^2) (x_t - x0) and variance s^2 (1 - s^2/t^2).
    torch.testing.assert_close(down / sigma, lower**2 / sigma**2)
    torch.testing.assert_close(up**2, lower**2 * (1 - lower**2 / sigma**2))
