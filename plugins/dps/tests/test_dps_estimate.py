"""diffpir, mpgd and backproj: what moves is the estimate, so that nothing passes backwards through the denoiser."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import DiffusionGenerator, InversionSolver, Step
from idemcore_dps.backproj import BackProjection
from idemcore_dps.config import CONSTRAINTS, BackprojConfig, DiffPIRConfig, MPGDConfig
from idemcore_dps.diffpir import DiffPIR
from idemcore_dps.guidance import descent, violation
from idemcore_dps.mpgd import MPGD
from idemcore_dps.schedules import linear_ddpm, respaced
from idemcore_dps.vp import ddim, noised, posterior, predicted_noise, signed, timesteps


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_descent_ends_a_linear_violation(world: SimpleNamespace, constraint: str) -> None:
    cell, x0 = world.MeanCell(world.scene()), signed(world.scene(seed=5))
    step, missed = descent(cell, x0, constraint)
    assert not step.requires_grad
    torch.testing.assert_close(missed, violation(cell, x0, constraint))
    if constraint == "image":
        torch.testing.assert_close(step, signed(cell.centre) - signed(cell.measure((x0 + 1) / 2)))
    assert float(violation(cell, x0 + step, constraint).norm()) < 0.5 * float(missed.norm())


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_descent_does_not_move_what_is_in_the_cell(world: SimpleNamespace, constraint: str) -> None:
    cell = world.BoxCell(world.scene().clamp(0.1, 0.9))  # whose centre needs no clamping
    step, missed = descent(cell, signed(cell.centre), constraint)
    assert float(missed.abs().max()) < 1e-6
    assert float(step.abs().max()) < 1e-6


@pytest.mark.parametrize("inner_steps", [1, 4])
@pytest.mark.parametrize("rho", [0.0, 0.5, 10.0])
def test_the_proximal_step_of_diffpir_is_the_closed_form_of_a_linear_codec(
    world: SimpleNamespace, rho: float, inner_steps: int
) -> None:
    """argmin ||y - P x||^2 + rho ||x - x0||^2 = x0 + (y - P x0) / (1 + rho), for a projection P and y in its range."""
    cell, x0 = world.MeanCell(world.scene()), signed(world.scene(seed=5))
    found, _ = DiffPIR(DiffPIRConfig(inner_steps=inner_steps))._proximal(cell, x0, rho)
    expected = x0 + (signed(cell.centre) - signed(cell.measure((x0 + 1) / 2))) / (1 + rho)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_diffpir_is_the_published_update(world: SimpleNamespace) -> None:
    """Against algorithm 1 written out once more, for a linear codec, where eq. 13 has a closed form."""
    steps, lambda_, sigma_n, zeta = 5, 7.0, 0.05, 0.3
    cell, prior = world.MeanCell(world.scene(1)), world.DiscretePrior()
    config = DiffPIRConfig(steps, lambda_, sigma_n, zeta)
    image = DiffPIR(config).solve(cell, prior, Noise([9])).image
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    kept = [round(999 * (1 - math.sqrt(1 - i / (steps - 1)))) for i in range(steps)]
    noise, y = Noise([9]), 2 * cell.centre - 1
    x = noise.like(y)
    for i in reversed(range(steps)):
        bar, below = bars[kept[i]].item(), bars[kept[i - 1]].item() if i else 1.0
        level = math.sqrt((1 - bar) / bar)
        x0 = (2 * prior.denoise((x / math.sqrt(bar) + 1) / 2, level / 2) - 1).clamp(-1, 1)
        rho = lambda_ * sigma_n**2 / level**2
        x0 = x0 + (y - (2 * cell.measure((x0 + 1) / 2) - 1)) / (1 + rho)
        e = (x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)
        mixed = math.sqrt(1 - zeta) * e + math.sqrt(zeta) * noise.like(x)
        x = math.sqrt(below) * x0 + math.sqrt(1 - below) * mixed
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_settings_of_diffpir_weigh_prior_against_data(world: SimpleNamespace) -> None:
    """A measurement full of noise is not followed; one without noise is met, by as many inner steps as it takes."""
    cell = world.BoxCell(world.scene(4))

    def excess(**settings: float) -> float:
        solver = DiffPIR(DiffPIRConfig(20, constraint="cell", **settings))  # type: ignore[arg-type]
        return float(cell.excess(solver.solve(cell, world.GaussianPrior(), Noise(range(4))).image).mean())

    blind = excess(sigma_n=1e4)
    assert excess(sigma_n=0.3) < 0.7 * blind
    assert excess() < 0.02 * blind
    assert excess(inner_steps=4) < excess()
    assert excess(sigma_n=0.3, lambda_=0.0) == excess(sigma_n=0.0)


def test_fresh_noise_of_diffpir_is_what_zeta_says(world: SimpleNamespace) -> None:
    cell = world.BoxCell(world.scene(1))

    def spread(zeta: float) -> float:
        """Of the estimate after the second step, over draws of all noise but the first."""
        estimates = []
        for seed in range(16):
            told: list[Step] = []
            first, later = Noise([0]), Noise([seed])
            draws = iter([first.normal(3, 8, 8), *(later.normal(3, 8, 8) for _ in range(4))])
            noise = SimpleNamespace(like=lambda _, draws=draws: next(draws))
            config = DiffPIRConfig(4, zeta=zeta, schedule="uniform", sigma_n=1e4)
            DiffPIR(config).solve(cell, world.GaussianPrior(), noise, told.append)  # type: ignore[arg-type]
            estimates.append(told[2].x0)
        return float(torch.cat(estimates).std(dim=0).mean())

    assert spread(0.0) < 1e-7
    assert 0 < spread(0.1) < spread(1.0)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_mpgd_meets_the_constraint(world: SimpleNamespace, constraint: str) -> None:
    cell = world.BoxCell(world.scene(4))
    errors = [
        float(cell.excess(MPGD(config).solve(cell, world.GaussianPrior(), Noise(range(4))).image).mean())
        for config in (MPGDConfig(30, c=0.0), MPGDConfig(30, constraint=constraint))
    ]
    assert errors[1] < 0.02 * errors[0]


def test_mpgd_is_the_published_update(world: SimpleNamespace) -> None:
    """Against algorithm 2 without its autoencoder, written out once more: e is that of the unguided estimate."""
    steps, c, eta = 6, 0.2, 0.5
    cell, prior = world.BoxCell(world.scene(1)), world.DiscretePrior()
    image = MPGD(MPGDConfig(steps, c, eta)).solve(cell, prior, Noise([9])).image
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    bars = bars[torch.linspace(0, 999, steps, dtype=torch.float64).round().long()]
    noise, y = Noise([9]), 2 * cell.centre - 1
    x = noise.like(y)
    for t in reversed(range(steps)):
        bar, below = bars[t].item(), bars[t - 1].item() if t else 1.0
        x0 = 2 * prior.denoise((x / math.sqrt(bar) + 1) / 2, math.sqrt((1 - bar) / bar) / 2) - 1
        x0 = x0.clamp(-1, 1).requires_grad_()
        e = ((x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)).detach()
        loss = (y - (2 * cell.measure((x0 + 1) / 2) - 1)).square().sum()
        x0 = (x0 - c * torch.autograd.grad(loss, x0)[0]).detach()
        sigma = eta * math.sqrt((1 - below) / (1 - bar) * (1 - bar / below))
        x = math.sqrt(below) * x0 + math.sqrt(1 - below - sigma**2) * e + sigma * noise.like(x)
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_backproj_is_the_published_update(world: SimpleNamespace) -> None:
    """Against the code of DDRM for JPEG, written out once more."""
    steps, start, eta, eta_b = 4, 300, 0.7, 0.4
    cell, prior = world.BoxCell(world.scene(1)), world.DiscretePrior()
    image = BackProjection(BackprojConfig(steps, start, eta, eta_b)).solve(cell, prior, Noise([9])).image
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    bars = bars[torch.linspace(0, start - 1, steps, dtype=torch.float64).round().long()]
    noise, y = Noise([9]), 2 * cell.centre - 1
    x = bars[-1].sqrt().item() * y + (1 - bars[-1]).sqrt().item() * noise.like(y)
    for t in reversed(range(steps)):
        bar, below = bars[t].item(), bars[t - 1].item() if t else 1.0
        x0 = (2 * prior.denoise((x / math.sqrt(bar) + 1) / 2, math.sqrt((1 - bar) / bar) / 2) - 1).clamp(-1, 1)
        e = (x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)
        back = x0 - (2 * cell.measure((x0 + 1) / 2) - 1) + y
        mean = math.sqrt(below) * (eta_b * back + (1 - eta_b) * x0)
        x = mean + math.sqrt(1 - below) * (eta * noise.like(x) + (1 - eta) * e)
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("start", [1, 100, 300, 1000])
def test_backproj_starts_at_its_timestep(world: SimpleNamespace, start: int) -> None:
    for prior in (world.GaussianPrior(), world.DiscretePrior()):
        BackProjection(BackprojConfig(4, start)).solve(world.BoxCell(world.scene(1)), prior, Noise([1]))
        assert prior.calls[0] == pytest.approx(linear_ddpm()[start - 1].item(), rel=1e-5)
        assert prior.calls[-1] == pytest.approx(linear_ddpm()[0].item(), rel=1e-5)


FULL = [
    BackProjection(BackprojConfig(eta_b=1.0)),
    DiffPIR(DiffPIRConfig(20, sigma_n=0.0)),
    MPGD(MPGDConfig(20)),
]


@pytest.mark.parametrize("solver", FULL, ids=lambda s: type(s).__name__)
def test_a_full_step_ends_on_the_measurement_of_a_linear_codec(
    world: SimpleNamespace, solver: InversionSolver[DiffusionGenerator]
) -> None:
    cell, prior = world.MeanCell(world.scene()), world.GaussianPrior()
    prior.deviation = 0.05  # so that nothing is clamped
    image = solver.solve(cell, prior, Noise([1, 2])).image
    torch.testing.assert_close(cell.measure(image), cell.centre, atol=1e-4, rtol=0)


def test_ddim_with_eta_one_is_the_posterior_and_the_noise_is_what_was_added(world: SimpleNamespace) -> None:
    x0, noise = signed(world.scene()), Noise([1, 2]).normal(3, 8, 8)
    for t in timesteps(respaced(linear_ddpm(), 6)):
        x_t: Tensor = noised(x0, t.abar, noise)
        torch.testing.assert_close(predicted_noise(x_t, x0, t), noise, atol=1e-4, rtol=0)
        mean, deviation = ddim(x0, noise, t, 1.0)
        expected, expected_deviation = posterior(x_t, x0, None, t)
        torch.testing.assert_close(mean, expected, atol=1e-5, rtol=0)
        assert deviation == pytest.approx(float(expected_deviation), rel=1e-6, abs=1e-9)
        flow, none = ddim(x0, noise, t, 0.0)
        torch.testing.assert_close(flow, noised(x0, t.below, noise))
        assert none == 0
