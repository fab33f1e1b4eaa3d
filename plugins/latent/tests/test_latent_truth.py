"""Each solver against what it should find, where that is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from idemcore.adapters.diffusion_as_latent import DiffusionAsLatent, OnDiffusion
from idemcore.adapters.specs import FlowConfig
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.protocols import Step
from idemcore.runtime import Runtime
from idemcore_latent.config import IloConfig, LangevinConfig, PulseConfig
from idemcore_latent.geometry import rms, to_l1_ball, to_l2_ball
from idemcore_latent.ilo import IntermediateLayers
from idemcore_latent.langevin import Langevin, Point, propose, rho
from idemcore_latent.pulse import Pulse
from idemcore_latent.search import Look
from idemcore_toy.config import ToyCodecConfig, ToyPriorConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyGenerator

CHAINS = 200


def test_pulse_reaches_the_point_on_the_sphere(world: SimpleNamespace) -> None:
    generator = world.linear()
    image = world.image_on_sphere(generator, [1, 2])
    found = Pulse(PulseConfig(steps=200)).solve(world.BoxCell(image, world.FINE), generator, Noise([3, 4]))
    torch.testing.assert_close(found.image, image, atol=2e-3, rtol=0)
    for _, z in generator.given[2:]:
        torch.testing.assert_close(rms(z), torch.ones(2, 1), atol=1e-5, rtol=0)


def test_pulse_finds_the_nearest_point_of_the_sphere_where_none_is_in_the_cell(world: SimpleNamespace) -> None:
    """A = Q orthonormal: of ||z|| = sqrt(d) the nearest to Q z* is the direction of z*, whatever its length."""
    columns, _ = torch.linalg.qr(world.linear().matrix)
    generator = world.Linear(0.1 * columns)
    image = generator.synthesize(torch.tensor([[0.5, -1.0, 2.0, 4.0]]))
    found = Pulse(PulseConfig(steps=200)).solve(world.BoxCell(image, world.FINE), generator, Noise([3]))
    direction = torch.tensor([0.5, -1.0, 2.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(generator.latents(found.image)[0], 2 * direction / direction.norm(), atol=0.01, rtol=0)


@pytest.mark.parametrize("constraint", ["image", "cell"])
@pytest.mark.parametrize("solver", ["pulse", "ilo"])
def test_descents_end_in_the_cell(world: SimpleNamespace, solver: str, constraint: str) -> None:
    generator = world.linear(8, 0.06)
    cell = world.BoxCell(world.image_on_sphere(generator, [1, 2]))
    values = {"steps": 150, "stop": 0.0, "restarts": 3, "constraint": constraint}
    built = Pulse(PulseConfig(**values)) if solver == "pulse" else IntermediateLayers(IloConfig(**values))
    found = built.solve(cell, generator, Noise([3, 4])).image
    assert (cell.excess(found) == 0).all()


@pytest.mark.parametrize(("ball", "nearest"), [("l1", to_l1_ball), ("l2", to_l2_ball)])
def test_ilo_stays_in_its_ball_and_comes_nearer_in_it(world: SimpleNamespace, ball: str, nearest) -> None:  # type: ignore[no-untyped-def]
    generator = world.linear(2)
    rng = torch.Generator().manual_seed(0)
    image = (0.5 + 0.1 * torch.randn(2, *world.SHAPE, generator=rng)).clamp(0, 1)
    cell = world.BoxCell(image, world.FINE)
    config = IloConfig(steps=400, shares=[1, 1], radii=[0.3], ball=ball)
    generator.given.clear()
    found = IntermediateLayers(config).solve(cell, generator, Noise([1, 2])).image
    first, *others = [a for layer, a in generator.given if layer == 1]
    assert len(others) == 199
    unit = rms(first)
    for activations in others:
        torch.testing.assert_close(nearest((activations - first) / unit, 0.3 + 1e-5), (activations - first) / unit)
    # Layer 1 is the image itself, so the best there is the point of the ball that is nearest to it.
    wanted = image.flatten(1) - 0.5
    best = (first + unit * nearest((wanted - first) / unit, 0.3) - wanted).norm(dim=1)
    reached, started = (found.flatten(1) - image.flatten(1)).norm(dim=1), (first - wanted).norm(dim=1)
    assert (best < 0.9 * started).all()
    assert (reached < best + 0.35 * (started - best)).all()


def test_ilo_goes_on_from_the_best_of_the_layer_before(world: SimpleNamespace) -> None:
    generator, told = world.linear(), list[Step]()
    cell = world.BoxCell(generator.synthesize(torch.tensor([[0.5, -1.0, 2.0, 4.0]])), world.FINE)
    generator.given.clear()
    IntermediateLayers(IloConfig(steps=40, shares=[1, 1], rates=[10.0])).solve(cell, generator, Noise([2]), told.append)
    best = min(range(20), key=lambda i: told[i].residual)
    assert best < 19, "the last must not be the best"
    (z,) = (z for _, z in generator.given[best : best + 1])
    torch.testing.assert_close(generator.given[20][1], generator.advance((z,), 0, 1)[0], atol=1e-6, rtol=0)


def test_ilo_searches_only_the_layers_that_there_are(world: SimpleNamespace) -> None:
    generator = world.linear()
    cell = world.BoxCell(world.image_on_sphere(generator, [1]))
    for layers in (1, 2):
        generator.layers = layers
        generator.given.clear()
        found = IntermediateLayers(IloConfig(steps=20, stop=0, shares=[1, 1, 1])).solve(cell, generator, Noise([1]))
        assert found.nfe == 20
        assert {layer for layer, _ in generator.given} == set(range(layers))


def test_proposals_leave_the_prior_as_it_is_and_rho_is_the_balance(world: SimpleNamespace) -> None:
    """rho(a, b) - rho(b, a) = log p(b) q(b, a) - log p(a) q(a, b), with densities of torch."""
    rng = torch.Generator().manual_seed(0)
    draws = [torch.randn(3, 5, generator=rng, dtype=torch.float64) for _ in range(4)]
    energies = torch.rand(2, 3, generator=rng, dtype=torch.float64)
    h, s = torch.tensor([0.1, 0.7, 1.9]).double(), torch.tensor([0.5, 1.0, 2.0]).double()
    a, b = (Point(z, Look(z, e, e, (z,), (g,))) for z, g, e in zip(draws[:2], draws[2:], energies, strict=True))

    def log_density(at: Point, to: Point) -> Tensor:
        wide = [v[:, None] for v in (h, s)]
        mean = ((2 - wide[0]) * at.z - 2 * wide[0] * at.look.gradients[0] / wide[1] ** 2) / (2 + wide[0])
        q = Normal(mean, (8 * wide[0]).sqrt() / (2 + wide[0])).log_prob(to.z).sum(dim=1)
        return q + Normal(0, 1).log_prob(at.z).sum(dim=1) - at.look.energy / s**2

    torch.testing.assert_close(rho(a, b, h, s) - rho(b, a, h, s), log_density(b, a) - log_density(a, b))
    flat = Point(torch.randn(4, 20_000, generator=rng), Look(*[torch.zeros(4)] * 3, (), (torch.zeros(4, 20_000),)))
    moved = propose(flat, torch.tensor([0.05, 0.5, 1.0, 2.0]), torch.ones(4), Noise(range(4)))
    torch.testing.assert_close(moved.square().mean(dim=1), torch.ones(4), atol=0.04, rtol=0)


def test_langevin_has_mean_and_covariance_of_a_gaussian_posterior(world: SimpleNamespace) -> None:
    generator, tolerance = world.linear(seed=1), 0.3
    cell = world.PointCell(world.image_on_sphere(generator, [1]).expand(CHAINS, -1, -1, -1))
    found = Langevin(LangevinConfig(steps=120, tolerance=tolerance)).solve(cell, generator, Noise(range(CHAINS)))
    scaled = generator.matrix.double() / (cell.step * tolerance)
    wanted = (cell.centre[0].double().flatten() - 0.5) / (cell.step * tolerance)
    covariance = torch.linalg.inv(torch.eye(4).double() + scaled.T @ scaled)
    posterior = MultivariateNormal(covariance @ scaled.T @ wanted, covariance)
    z = generator.latents(found.image)
    whitened = torch.linalg.solve_triangular(posterior.scale_tril, (z - posterior.mean).T, upper=False)
    assert float(torch.linalg.cond(covariance)) > 3
    assert float(whitened.mean(dim=1).abs().max()) < 3.5 / math.sqrt(CHAINS)
    torch.testing.assert_close(whitened.cov(), torch.eye(4).double(), atol=5 / math.sqrt(CHAINS), rtol=0)


@pytest.mark.parametrize("tolerance", [0.3, 0.05])
def test_langevin_follows_the_posterior_of_a_uniform_quantiser(world: SimpleNamespace, tolerance: float) -> None:
    """G scales each number, so each has a posterior of its own: a normal density times the soft interval."""
    generator = world.Linear(0.1 * torch.eye(12))
    cell = world.BoxCell(generator.synthesize(generator.sample(Noise([5]))).expand(CHAINS, -1, -1, -1), 16 / 255)
    found = Langevin(LangevinConfig(steps=100, tolerance=tolerance)).solve(cell, generator, Noise(range(CHAINS)))
    grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    excess = (((0.5 + 0.1 * grid) / cell.step - cell.symbols[0].flatten()[:, None]).abs() - 0.5).clamp(min=0)
    density = (-(grid**2) / 2 - (excess / tolerance) ** 2 / 2).softmax(dim=1)
    mean = (density * grid).sum(dim=1)
    variance = (density * grid**2).sum(dim=1) - mean**2
    z = (found.image.double().flatten(1) - 0.5) / 0.1
    assert float(((z.mean(dim=0) - mean) / variance.sqrt()).abs().max()) < 3.5 / math.sqrt(CHAINS)
    assert float((z.var(dim=0) / variance).mean()) == pytest.approx(1, abs=0.08)
    inside = float((density * (excess == 0)).sum(dim=1).mean())
    assert float((cell.excess(found.image) == 0).float().mean()) == pytest.approx(inside, abs=0.03)


def test_langevin_learns_its_step_length(world: SimpleNamespace) -> None:
    """From first lengths that are far too long and far too short, burn-in comes to the same share of moves."""
    generator = world.Linear(0.1 * torch.eye(12))
    cell = world.BoxCell(generator.synthesize(generator.sample(Noise(range(20)))), 16 / 255)
    for length in (2.0, 1e-3):
        told = list[Step]()
        solver = Langevin(LangevinConfig(steps=200, step=length, burn_in=0.6))
        solver.solve(cell, generator, Noise(range(20)), told.append)
        moves = [(told[i].x0 != told[i - 1].x0).flatten(1).any(dim=1).float().mean() for i in range(120, 200)]
        assert 0.45 < float(torch.stack(moves).mean()) < 0.7


RUNTIME = Runtime(torch.device("cpu"), torch.float32)


def test_descents_reach_the_cell_on_a_diffusion_prior() -> None:
    prior, codec = ToyGenerator(ToyPriorConfig(), RUNTIME), ToyEncoder(ToyCodecConfig(3), RUNTIME)
    image = prior.source.sample(Noise([0, 1]), 6, 6)
    cell = codec.cell(codec.encode(image), (6, 6))
    for solver in (Pulse(PulseConfig(steps=50)), IntermediateLayers(IloConfig(steps=50))):
        found = OnDiffusion(solver, FlowConfig(3)).solve(cell, prior, Noise([2, 3]))
        assert certify(cell, found.image).exact == [True, True]
        assert float(cell.excess(found.image).square().mean().sqrt()) < 0.05


def test_langevin_samples_the_posterior_on_a_diffusion_prior() -> None:
    """Of the toy prior each pixel is independent, and weighted draws of the prior tell its posterior."""
    count, tolerance, kind = 40, 0.2, FlowConfig(4)
    prior, codec = ToyGenerator(ToyPriorConfig(), RUNTIME), ToyEncoder(ToyCodecConfig(3), RUNTIME)
    cell = codec.cell(codec.encode(prior.source.sample(Noise([0]), 3, 3)) * count, (3, 3))
    flow = DiffusionAsLatent(prior, (150, 150), kind)
    with torch.no_grad():
        pixels = flow.synthesize(flow.sample(Noise([7])))[0].flatten(1).T
    lower, upper = (edge[0].flatten(1).T[:, None] for edge in (cell.lower, cell.upper))
    excess = ((lower - pixels).clamp(min=0) + (pixels - upper).clamp(min=0)) / cell.step
    weights = (-(excess / tolerance).square().sum(dim=2) / 2).softmax(dim=1)
    assert float((1 / weights.square().sum(dim=1)).min()) > 1000
    mean = weights @ pixels
    deviation = (weights @ pixels.square() - mean.square()).sqrt()
    solver = OnDiffusion(Langevin(LangevinConfig(steps=100, tolerance=tolerance)), kind)
    found = solver.solve(cell, prior, Noise(range(count))).image.flatten(2).movedim(2, 1)
    bias = (found.mean(dim=0) - mean) / deviation
    assert float(bias.square().mean().sqrt()) < 1.6 / math.sqrt(count)
    assert float((found.std(dim=0) / deviation).mean()) == pytest.approx(1, abs=0.15)
