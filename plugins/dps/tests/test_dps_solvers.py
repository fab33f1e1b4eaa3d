"""The solvers on an analytic world: a Gaussian prior and a box, written here so that no codec plugin is needed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from idemcore.certify import certify
from idemcore.noise import Noise
from idemcore.protocols import Cell, DiffusionGenerator, InversionSolver, Step
from idemcore_dps.cell import ProjectAndRenoise
from idemcore_dps.config import CellConfig, DPSConfig
from idemcore_dps.dps import DPS, timestep_levels
from idemcore_dps.schedules import linear_ddpm

STEP = 32 / 255
SHAPE = (3, 8, 8)


class BoxCell(Cell):
    """A scalar quantiser of every sample."""

    def __init__(self, image: Tensor) -> None:
        self.symbols = (image / STEP).round()
        self.centre = (self.symbols * STEP).clamp(0, 1)
        self.distortion = torch.full((len(image),), STEP / 12**0.5)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return ((byte_image / 255 / STEP).round() != self.symbols).flatten(1).sum(1)

    def measure(self, x: Tensor) -> Tensor:
        return x + ((x / STEP).round() * STEP - x).detach()

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        half = (0.5 - margin) * STEP
        return x.clamp(self.symbols * STEP - half, self.symbols * STEP + half).clamp(0, 1)


class GaussianPrior(DiffusionGenerator):
    """Samples independent and N(0.45, 0.2^2): E[x0 | x] is a weighted mean."""

    sigma_min, sigma_max = 1e-4, 80.0
    mean, deviation = 0.45, 0.2

    def __init__(self) -> None:
        self.calls: list[float] = []

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        self.calls.append(float(level.mean()))
        keep = self.deviation**2 / (self.deviation**2 + level**2)
        return self.mean + keep * (x - self.mean)


class DiscretePrior(GaussianPrior):
    """The same with 1000 timesteps and a learned variance that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmas = linear_ddpm()

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        return self.denoise(x, sigma), torch.sigmoid(x)


def scene(count: int = 2, seed: int = 0) -> Tensor:
    noise = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return (0.45 + 0.2 * noise).clamp(0, 1)


SOLVERS: list[InversionSolver] = [
    ProjectAndRenoise(CellConfig(steps=6, eta=0.0)),
    ProjectAndRenoise(CellConfig(steps=6, eta=1.0)),
    DPS(DPSConfig(steps=6)),
]
NAMES = ["cell-flow", "cell-ancestral", "dps"]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)


@every_solver
def test_a_seed_gives_one_image_and_another_seed_another(solver: InversionSolver) -> None:
    cell = BoxCell(scene())
    first, again, other = (solver.solve(cell, GaussianPrior(), Noise(s)).image for s in ([1, 2], [1, 2], [3, 4]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_solver
def test_an_image_does_not_depend_on_its_batch(solver: InversionSolver) -> None:
    images = scene(3)
    together = solver.solve(BoxCell(images), GaussianPrior(), Noise([5, 6, 7])).image
    alone = solver.solve(BoxCell(images[1:2]), GaussianPrior(), Noise([6])).image
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)


@every_solver
def test_each_pass_is_counted_and_told(solver: InversionSolver) -> None:
    prior, told = GaussianPrior(), list[Step]()
    solution = solver.solve(BoxCell(scene()), prior, Noise([1, 2]), told.append)
    assert len(prior.calls) == solution.nfe == len(told) == 6
    assert [s.index for s in told] == list(range(6))
    assert {s.total for s in told} == {6}
    assert [s.sigma for s in told] == sorted((s.sigma for s in told), reverse=True)
    assert solution.backwards == (6 if isinstance(solver, DPS) else 0)
    assert solution.image.min() >= 0
    assert solution.image.max() <= 1


@every_solver
def test_an_exception_of_the_callback_cancels_and_passes_through(solver: InversionSolver) -> None:
    def cancel(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    prior = GaussianPrior()
    with pytest.raises(KeyboardInterrupt):
        solver.solve(BoxCell(scene()), prior, Noise([1, 2]), cancel)
    assert len(prior.calls) == 3


@every_solver
def test_global_state_is_left_alone(solver: InversionSolver) -> None:
    before, threads, grad = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    solver.solve(BoxCell(scene()), GaussianPrior(), Noise([1, 2]))
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_cell_ends_inside_the_cell_and_certifies_exactly() -> None:
    cell = BoxCell(scene(4))
    image = ProjectAndRenoise(CellConfig()).solve(cell, GaussianPrior(), Noise(range(4))).image
    torch.testing.assert_close(cell.project(image), image, atol=1e-6, rtol=0)
    certified = certify(cell, image)
    assert certified.exact == [True] * 4
    assert certified.differing_symbols == [0] * 4
    assert torch.equal(cell.contains(certified.image), torch.ones(4, dtype=torch.bool))


def test_cell_looks_more_like_the_prior_than_the_centre_does() -> None:
    image = torch.cat([scene(1, seed) for seed in range(32)])
    cell = BoxCell(image)
    found = ProjectAndRenoise(CellConfig(steps=20, start=3.0, eta=1.0)).solve(cell, GaussianPrior(), Noise(range(32)))
    # The centre is a comb of a few values; a reconstruction fills the gaps, as real images do.
    gaps = [
        torch.histc((x / STEP) - (x / STEP).round(), 10, -0.5, 0.5).std().item()
        for x in (image, found.image, cell.centre)
    ]
    assert gaps[1] < 0.5 * gaps[2]


def test_cell_starts_where_the_codec_expects_its_error_to_be() -> None:
    prior, cell = GaussianPrior(), BoxCell(scene())
    ProjectAndRenoise(CellConfig(steps=4, start=2.5)).solve(cell, prior, Noise([1, 2]))
    assert prior.calls[0] == pytest.approx(2.5 * cell.distortion[0].item(), rel=1e-5)
    assert prior.calls[-1] == pytest.approx(CellConfig().sigma_min, rel=1e-5)


def test_dps_follows_the_measurement() -> None:
    image = scene()
    cell = BoxCell(image)
    errors = [
        (DPS(DPSConfig(steps=100, zeta=zeta)).solve(cell, GaussianPrior(), Noise([1, 2])).image - image).square().mean()
        for zeta in (0.0, 0.6)
    ]
    assert errors[1] < 0.25 * errors[0]


def test_dps_is_the_published_update() -> None:
    """Against the algorithm written out once more, timestep by timestep, in [-1,1] and variance-preserving units."""
    steps, zeta, cell, prior = 5, 0.6, BoxCell(scene(1)), DiscretePrior()
    image = DPS(DPSConfig(steps=steps, zeta=zeta)).solve(cell, prior, Noise([9])).image
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
        residual = torch.linalg.vector_norm(y - (2 * cell.measure((x0 + 1) / 2) - 1))
        gradient = torch.autograd.grad(residual, x)[0]
        x = mean.detach()
        if t:
            tilde = beta * (1 - before) / (1 - bar)
            x = x + torch.exp((v * math.log(beta) + (1 - v) * math.log(tilde)).detach() / 2) * noise.like(x)
        x = (x - zeta * gradient).detach()
    torch.testing.assert_close(image, ((x + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_a_continuous_network_is_visited_only_where_it_was_trained() -> None:
    prior = GaussianPrior()
    prior.sigma_min, prior.sigma_max = 0.02, 3.0
    levels = timestep_levels(prior, 50)
    assert len(levels) == 50
    assert levels[0] <= 3.0
    assert levels[-1] >= 0.02


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"margin": 0.6},
        {"margin": -0.1},
        {"sigma_min": 0.0},
        {"rho": 0.5},
        {"eta": -1.0},
        {"eta": 1.5},
        {"start": -1.0},
    ],
)
def test_settings_of_cell_out_of_range_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        CellConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"steps": 0}, {"zeta": -0.1}])
def test_settings_of_dps_out_of_range_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DPSConfig(**values)  # type: ignore[arg-type]
