"""dps, mcg and dsg: guidance by a gradient that passes backwards through the denoiser."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from idemcore.noise import Noise
from idemcore.protocols import Step
from idemcore_dps.config import CONSTRAINTS, PROJECTIONS, DPSConfig, DSGConfig, MCGConfig
from idemcore_dps.dps import DPS
from idemcore_dps.dsg import DSG
from idemcore_dps.guidance import on_sphere
from idemcore_dps.mcg import MCG


def test_dps_follows_the_measurement(world: SimpleNamespace) -> None:
    image = world.scene()
    cell = world.BoxCell(image)
    errors = [
        (DPS(DPSConfig(100, zeta)).solve(cell, world.GaussianPrior(), Noise([1, 2])).image - image).square().mean()
        for zeta in (0.0, 0.6)
    ]
    assert errors[1] < 0.25 * errors[0]


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_dps_is_the_published_update(world: SimpleNamespace, constraint: str) -> None:
    """Against the algorithm written out once more, timestep by timestep, in [-1,1] and variance-preserving units."""
    steps, zeta, cell, prior = 5, 0.6, world.BoxCell(world.scene(1)), world.DiscretePrior()
    image = DPS(DPSConfig(steps, zeta, constraint)).solve(cell, prior, Noise([9])).image
    alpha_bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    kept = torch.linspace(0, 999, steps, dtype=torch.float64).round().long()
    bars = alpha_bars[kept]
    noise, y = Noise([9]), 2 * cell.centre - 1
    x = noise.like(y)
    for t in reversed(range(steps)):
        bar, before = bars[t].item(), bars[t - 1].item() if t else 1.0
        beta = 1 - bar / before
        x = x.requires_grad_()
        ve, sigma = (x / math.sqrt(bar) + 1) / 2, math.sqrt((1 - bar) / bar) / 2
        x0, v = prior.denoise_and_variance(ve, sigma)
        x0 = (2 * x0 - 1).clamp(-1, 1)
        mean = (math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - bar)
        latent = (x0 + 1) / 2 / world.STEP
        straight = latent + (latent.round() - latent).detach()
        missed = {
            "image": y - (2 * world.STEP * straight - 1),
            "latent": cell.symbols - straight,
            "cell": (latent - cell.symbols).abs().sub(0.5).relu(),
        }
        residual = torch.linalg.vector_norm(missed[constraint])
        gradient = torch.autograd.grad(residual, x)[0]
        x = mean.detach()
        if t:
            tilde = beta * (1 - before) / (1 - bar)
            x = x + torch.exp((v * math.log(beta) + (1 - v) * math.log(tilde)).detach() / 2) * noise.like(x)
        x = (x - zeta * gradient).detach()
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


def tried(world: SimpleNamespace, count: int, seeds: list[int], told: list[Step] | None = None, **settings: float):  # type: ignore[no-untyped-def]
    """What so many tries of 8 steps find for `count` images, and the re-compression PSNR of each."""
    cell = world.MeanCell(world.scene(count))
    solver = DPS(DPSConfig(steps=8, **settings))  # type: ignore[arg-type]
    found = solver.solve(cell, world.GaussianPrior(), Noise(seeds), None if told is None else told.append)
    error = (cell.measure(found.image) - cell.target).square().flatten(1).mean(dim=1)
    return found, -10 * error.log10()


def test_the_best_try_is_kept(world: SimpleNamespace) -> None:
    """The second try has no guidance: it is worse, and must not be taken."""
    first, good = tried(world, 3, [1, 2, 3])
    both, kept = tried(world, 3, [1, 2, 3], tries=2, growth=0.0, enough=200.0)
    assert torch.equal(first.image, both.image)
    assert torch.equal(good, kept)
    assert (first.nfe, both.nfe, both.backwards) == (8, 16, 16)


def test_more_tries_come_nearer_and_zeta_grows(world: SimpleNamespace) -> None:
    one, two, four = (tried(world, 3, [1, 2, 3], tries=n, enough=200.0)[1] for n in (1, 2, 4))
    assert (two >= one).all()
    assert (four >= two).all()
    assert (four > one).all()


def test_there_is_no_other_try_where_the_first_is_good_enough(world: SimpleNamespace) -> None:
    found, good = tried(world, 1, [1])
    level = float(good)
    assert tried(world, 1, [1], tries=5, enough=level - 0.01)[0].nfe == found.nfe
    assert tried(world, 1, [1], tries=2, enough=level + 0.01)[0].nfe == 2 * found.nfe


def test_tries_are_told_as_one_run(world: SimpleNamespace) -> None:
    told: list[Step] = []
    tried(world, 1, [1], told, tries=3, enough=200.0)
    assert [s.index for s in told] == list(range(24))
    assert [s.nfe for s in told] == list(range(1, 25))
    assert {s.total for s in told} == {24}


def test_tries_of_an_image_do_not_depend_on_its_batch(world: SimpleNamespace) -> None:
    _, good = tried(world, 3, [1, 2, 3])
    enough = float(good.median())  # of three images, at least one is done at once and one is not
    together, _ = tried(world, 3, [1, 2, 3], tries=3, enough=enough)
    alone, _ = tried(world, 1, [1], tries=3, enough=enough)
    torch.testing.assert_close(together.image[:1], alone.image, atol=1e-5, rtol=0)


def test_an_image_that_is_good_enough_is_not_changed_by_tries_for_another(world: SimpleNamespace) -> None:
    first, good = tried(world, 3, [1, 2, 3])
    more, better = tried(world, 3, [1, 2, 3], tries=4, enough=float(good.median()))
    assert (better >= good).all()
    assert more.nfe > first.nfe
    best = int(good.argmax())
    alone = tried(world, 3, [1, 2, 3], tries=4, enough=float(good.max()) - 0.01)[0]
    assert torch.equal(alone.image[best], first.image[best])


def test_mcg_ends_on_the_measurement_of_a_linear_codec(world: SimpleNamespace) -> None:
    cell, prior = world.MeanCell(world.scene()), world.GaussianPrior()
    prior.deviation = 0.05  # so that nothing is clamped
    for steps in (5, 50):
        image = MCG(MCGConfig(steps)).solve(cell, prior, Noise([1, 2])).image
        torch.testing.assert_close(cell.measure(image), cell.centre, atol=1e-5, rtol=0)


def mcg_by_hand(world: SimpleNamespace, steps: int, zeta: float, released: bool) -> torch.Tensor:
    """A linear codec, timestep by timestep, as Chung et al. write it with P, or as Xu et al.'s code with F."""
    cell, prior, noise = world.MeanCell(world.scene(1)), world.DiscretePrior(), Noise([9])
    alpha_bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    bars = alpha_bars[torch.linspace(0, 999, steps, dtype=torch.float64).round().long()]
    y = 2 * cell.centre - 1
    x = noise.like(y)
    for t in reversed(range(steps)):
        bar, before = bars[t].item(), bars[t - 1].item() if t else 1.0
        beta = 1 - bar / before
        x = x.requires_grad_()
        x0, v = prior.denoise_and_variance((x / math.sqrt(bar) + 1) / 2, math.sqrt((1 - bar) / bar) / 2)
        x0 = (2 * x0 - 1).clamp(-1, 1)
        gradient = torch.autograd.grad(torch.linalg.vector_norm(y - cell.measure(x0)), x)[0]
        mean = (math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - bar)
        x, x0 = mean.detach(), x0.detach()
        if t:
            tilde = beta * (1 - before) / (1 - bar)
            x = x + torch.exp((v * math.log(beta) + (1 - v) * math.log(tilde)).detach() / 2) * noise.like(x)
        if released:
            x = x - zeta * gradient
            x = x + math.sqrt(bar) * y + math.sqrt(1 - bar) * noise.like(x) - cell.measure(x)
        else:
            y_i = math.sqrt(before) * y + (x - math.sqrt(before) * x0)
            guided = x - zeta * gradient
            x = guided - cell.measure(guided) + cell.measure(y_i)
        x = x.detach()
    return ((x + 1) / 2).clamp(0, 1)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_mcg_is_the_update_of_its_paper_and_of_the_released_code(world: SimpleNamespace, projection: str) -> None:
    cell, prior = world.MeanCell(world.scene(1)), world.DiscretePrior()
    image = MCG(MCGConfig(5, 0.6, projection)).solve(cell, prior, Noise([9])).image
    expected = mcg_by_hand(world, 5, 0.6, released=projection == "decode")
    torch.testing.assert_close(image, expected, atol=2e-5, rtol=0)


def levels(world: SimpleNamespace, projection: str) -> list[tuple[float, float]]:
    """Noise of what F does not see in each step's image, and the level that the denoiser expects."""
    cell, prior, seen = world.MeanCell(world.scene(64)), world.GaussianPrior(), []

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        unseen = x.detach() - cell.measure(x.detach())
        seen.append((float(unseen.std()) / math.sqrt(3 / 4), math.hypot(sigma, prior.deviation)))
        return world.GaussianPrior.denoise(prior, x, sigma)

    prior.denoise = denoise
    MCG(MCGConfig(100, 0.0, projection)).solve(cell, prior, Noise(range(64)))
    return seen


def test_mcg_leaves_the_noise_that_the_next_level_has_and_the_released_code_does_not(world: SimpleNamespace) -> None:
    """Three quarters of the samples of means of 2x2 are not measured; their prior is N(0.45, 0.2^2)."""
    for deviation, expected in levels(world, "cell"):
        assert deviation == pytest.approx(expected, rel=0.1)
    assert max(deviation / expected for deviation, expected in levels(world, "decode")) > 1.4


def test_mcg_ends_in_the_cell(world: SimpleNamespace) -> None:
    cell = world.BoxCell(world.scene())
    for steps in (3, 30):
        image = MCG(MCGConfig(steps)).solve(cell, world.GaussianPrior(), Noise([1, 2])).image
        assert float(cell.excess(image).max()) < 1e-4


def test_a_step_on_the_sphere_has_the_length_of_the_noise_and_turns_to_the_gradient(world: SimpleNamespace) -> None:
    step, gradient = 0.3 * Noise([1, 2]).normal(3, 8, 8), Noise([3, 4]).normal(3, 8, 8)
    deviation, radius = torch.tensor(0.3), 0.3 * math.sqrt(3 * 8 * 8)
    cosines = []
    for rate in (0.0, 0.1, 0.5, 1.0):
        turned = on_sphere(step, gradient, deviation, rate)
        torch.testing.assert_close(turned.flatten(1).norm(dim=1), torch.full((2,), radius))
        cosines.append(torch.cosine_similarity(turned.flatten(1), -gradient.flatten(1)))
    unturned = on_sphere(step, gradient, deviation, 0.0).flatten(1)
    torch.testing.assert_close(torch.cosine_similarity(unturned, step.flatten(1)), torch.ones(2))
    torch.testing.assert_close(cosines[-1], torch.ones(2))
    assert all((later > earlier).all() for earlier, later in zip(cosines, cosines[1:], strict=False))
    assert on_sphere(step, torch.zeros_like(step), deviation, 0.5).isfinite().all()


@pytest.mark.parametrize(("interval", "guided"), [(1, 11), (2, 5), (4, 2), (11, 1), (12, 0)])
def test_dsg_guides_every_interval_only(world: SimpleNamespace, interval: int, guided: int) -> None:
    """Counted from the last step, which never is: of 12 steps, 4 and 8 before the end for an interval of 4."""
    prior = world.GaussianPrior()
    found = DSG(DSGConfig(12, interval=interval)).solve(world.BoxCell(world.scene(1)), prior, Noise([1]))
    assert sum(prior.differentiated) == found.backwards == guided
    wanted = [k > 0 and k % interval == 0 for k in reversed(range(12))]
    assert prior.differentiated == wanted


def test_dsg_comes_nearer_the_more_it_is_guided(world: SimpleNamespace) -> None:
    cell, violations = world.BoxCell(world.scene(4)), []
    for settings in ({"interval": 101}, {"interval": 5}, {}, {"guidance_rate": 0.3}):
        found = DSG(DSGConfig(100, **settings)).solve(cell, world.GaussianPrior(), Noise(range(4)))  # type: ignore[arg-type]
        violations.append(float(cell.excess(found.image).mean()))
    assert violations == sorted(violations, reverse=True)
    assert violations[-1] < 0.1 * violations[0]
