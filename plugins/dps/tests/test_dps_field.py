"""ddnm, daps, fast and dcic: their updates written out once more, and what each promises beside a closed form."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Constraint
from idemcore_dps.config import DAPSConfig, DCICConfig, DDNMConfig, FastConfig
from idemcore_dps.daps import DAPS
from idemcore_dps.dcic import DCIC
from idemcore_dps.ddnm import DDNM, journey
from idemcore_dps.fast import Fast
from idemcore_dps.vp import signed, unsigned

BARS = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def test_a_journey_goes_each_way_as_often_as_it_repeats() -> None:
    assert journey(4, 1, 1) == journey(4, 3, 1) == [0, 1, 2, 3]
    assert journey(3, 1, 2) == [0, 0, 1, 1, 2]
    assert journey(4, 2, 2) == [0, 1, 2, 1, 2, 3]
    for total, length, repeat in ((10, 2, 3), (7, 3, 2), (100, 10, 3)):
        passes = journey(total, length, repeat)
        assert passes[0] == 0
        assert passes[-1] == total - 1
        assert set(passes) == set(range(total))
        assert all(after - before == 1 or before - after == length - 1 for before, after in zip(passes, passes[1:]))


def test_ddnm_is_the_published_update(world: SimpleNamespace) -> None:
    steps, eta = 5, 0.85
    cell, prior = world.MeanCell(world.scene(1)), world.DiscretePrior()
    image = DDNM(DDNMConfig(steps, eta)).solve(cell, prior, Noise([9])).image
    kept = [round(999 * i / (steps - 1)) for i in range(steps)]
    noise, y = Noise([9]), 2 * cell.centre - 1
    x = noise.like(y)
    for i in reversed(range(steps)):
        bar, below = BARS[kept[i]].item(), BARS[kept[i - 1]].item() if i else 1.0
        x0 = (2 * prior.denoise((x / math.sqrt(bar) + 1) / 2, math.sqrt((1 - bar) / bar) / 2) - 1).clamp(-1, 1)
        e = (x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)
        x0 = x0 - (2 * cell.measure((x0 + 1) / 2) - 1) + y
        mixed = eta * noise.like(x) + math.sqrt(1 - eta**2) * e
        x = math.sqrt(below) * x0 + math.sqrt(1 - below) * mixed
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("repeat", [1, 3])
def test_ddnm_meets_a_linear_codec_exactly_and_counts_its_travels(world: SimpleNamespace, repeat: int) -> None:
    cell, prior = world.MeanCell(world.scene(2)), world.GaussianPrior()
    found = DDNM(DDNMConfig(20, travel_length=4, travel_repeat=repeat)).solve(cell, prior, Noise([1, 2]))
    inside = (found.image > 0) & (found.image < 1)  # nothing was clamped there
    torch.testing.assert_close(cell.measure(found.image)[inside], cell.centre[inside], atol=0.02, rtol=0)
    assert found.nfe == len(prior.calls) == len(journey(20, 4, repeat))


class Unmeasured(Constraint):
    """g(f(x)) is g(y), whatever x."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.centre = torch.full(shape, 0.5)
        self.distortion = torch.full(shape[:1], 0.05)

    def measure(self, x: Tensor) -> Tensor:
        return self.centre + 0 * x


def test_the_flow_of_daps_ends_where_a_gaussian_s_flow_ends(world: SimpleNamespace) -> None:
    """dx/ds = (x - E[x_0 | x]) / s scales x - m by d / sqrt(d^2 + s^2) on the way to 0."""
    prior, level = world.GaussianPrior(), 1.3
    x = level * Noise([1]).normal(3, 8, 8)
    found = DAPS(DAPSConfig(ode_steps=400))._flow(prior, x, level)
    mean, deviation = 2 * prior.mean - 1, 2 * prior.deviation
    torch.testing.assert_close(found, mean + (x - mean) * deviation / math.hypot(deviation, level), atol=0.02, rtol=0)


def test_langevin_dynamics_of_daps_draws_a_gaussian_about_the_flow_s_end() -> None:
    level, x0 = 0.3, torch.full((1, 3, 64, 64), 0.1)
    solver = DAPS(DAPSConfig(langevin_steps=60))
    z, missed = solver._langevin(Unmeasured(tuple(x0.shape)), x0, level, 0.2 * level**2, Noise([3]))
    assert float(missed.abs().max()) == 0
    assert float(z.mean()) == pytest.approx(0.1, abs=0.01)
    assert float(z.std()) == pytest.approx(level / math.sqrt(1 - 0.2 / 2), rel=0.03)  # of the discrete chain


def test_langevin_dynamics_of_daps_comes_to_a_linear_measurement(world: SimpleNamespace) -> None:
    cell, x0 = world.MeanCell(world.scene(1)), signed(world.scene(1, seed=5))
    z, missed = DAPS(DAPSConfig(langevin_steps=100))._langevin(cell, x0, 1.0, 1e-4, Noise([3]))
    left = 2 * (cell.measure(unsigned(z)) - cell.centre)
    assert float(left.square().mean().sqrt()) < 0.05 * float(missed.square().mean().sqrt())


def test_one_pass_of_fast_is_a_denoising_and_no_codec_is_asked(world: SimpleNamespace) -> None:
    class Closed(world.BoxCell):  # type: ignore[misc, name-defined]
        def measure(self, x: Tensor) -> Tensor:
            raise AssertionError("the codec was asked")

        position = project = measure

    cell, prior = Closed(world.scene()), world.GaussianPrior()
    found = Fast(FastConfig(steps=1, level=2.0)).solve(cell, prior, Noise([4, 5]))
    sigma = 2 * cell.distortion
    wanted = prior.denoise(cell.centre + sigma[:, None, None, None] * Noise([4, 5]).like(cell.centre), sigma)
    torch.testing.assert_close(found.image, wanted.clamp(0, 1))
    assert found.nfe == 1


@pytest.mark.parametrize("level", [2.0, 6.0])
def test_fast_brings_the_law_of_its_images_nearer_to_the_prior(world: SimpleNamespace, level: float) -> None:
    """The guarantee: means of a Gaussian source that shrank to half their spread spread again, more with more noise."""
    prior = world.GaussianPrior()
    source = prior.mean + prior.deviation * Noise(range(8)).normal(*world.scene(1).shape[1:])
    cell = world.BoxCell(source)
    cell.centre = prior.mean + (source - prior.mean) / 2
    cell.distortion = (cell.centre - source).square().flatten(1).mean(dim=1).sqrt()
    found = Fast(FastConfig(100, level, eta=1.0)).solve(cell, prior, Noise(range(8))).image
    before, after = (abs(float(x.std()) - prior.deviation) for x in (cell.centre, found))
    assert after < before / (2 if level > 2 else 1.3)


def test_the_dials_of_dcic_trade_distortion_for_idempotence(world: SimpleNamespace) -> None:
    images = world.scene(4)
    cell, prior = world.BoxCell(images), world.GaussianPrior()

    def found(k_d: float, k_p: float) -> Tensor:
        return DCIC(DCICConfig(50, k_d, k_p)).solve(cell, prior, Noise(range(4))).image

    away = [float((found(k_d, 0.0) - cell.centre).square().mean()) for k_d in (0.0, 0.5, 1.0)]
    assert away == sorted(away, reverse=True)
    assert away[-1] < away[0] / 2
    outside = {k_p: float(cell.excess(found(0.0, k_p)).mean()) for k_p in (0.0, 0.5, 1.0)}
    assert outside[0.0] > outside[0.5] > outside[1.0]


def test_dcic_draws_one_noise_for_the_whole_way(world: SimpleNamespace) -> None:
    class Counting(Noise):
        drawn = 0

        def normal(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
            type(self).drawn += 1
            return super().normal(*shape, device=device)

    DCIC(DCICConfig(7)).solve(world.BoxCell(world.scene()), world.GaussianPrior(), Counting([1, 2]))
    assert Counting.drawn == 1
