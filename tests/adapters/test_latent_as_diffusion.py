"""Latents as a diffusion solver sees them: a prior in closed form, and the cell pulled back through G."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.adapters.latent_as_diffusion import REACH, LatentAsDiffusion, OnLatent, PulledBackCell
from idemcore.adapters.specs import PullBackConfig
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.protocols import Cell, DiffusionGenerator
from idemcore_dps.cell import ProjectAndRenoise
from idemcore_dps.config import CellConfig, DPSConfig
from idemcore_dps.dps import DPS


@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.1, 1.0, 5.0])
def test_the_denoiser_of_latents_is_exact(sigma: float) -> None:
    """The posterior mean of z0 ~ N(0,1) given z0 + s n = z, by quadrature, in the guise of images."""
    s, grid = 2 * REACH * sigma, torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    z = torch.tensor([-2.0, 0.3, 4.0], dtype=torch.float64)
    weight = (-(grid**2) / 2 - (z[:, None] - grid) ** 2 / (2 * s**2)).softmax(dim=1)
    x = (0.5 + z / (2 * REACH))[:, None, None, None]
    expected = 0.5 + weight @ grid / (2 * REACH)
    torch.testing.assert_close(LatentAsDiffusion().denoise(x, sigma).flatten(), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        LatentAsDiffusion().denoise(x, torch.full((3,), sigma)).flatten(), expected.float().double()
    )


def test_an_unguided_diffusion_solver_draws_the_prior_of_the_latents(world: SimpleNamespace) -> None:
    """DPS without guidance is ancestral sampling: G's images must have G's mean and deviation."""
    generator, count = world.Linear(size=(80, 80)), 2
    cell = world.toy_cell(generator.synthesize(generator.sample(Noise([0]))).expand(count, -1, -1, -1))
    solver = OnLatent(DPS(DPSConfig(steps=1000, zeta=0.0)), PullBackConfig())
    drawn = solver.solve(cell, generator, Noise(range(count))).image[:, :, ::2, ::2].double()
    error = 5 * generator.deviation / drawn.numel() ** 0.5
    assert abs(float(drawn.mean()) - generator.mean) < error
    assert abs(float(drawn.std()) / generator.deviation - 1) < 0.03


def test_what_a_pulled_back_cell_measures_is_that_of_the_image(world: SimpleNamespace) -> None:
    generator = world.Bent()
    image = generator.synthesize(generator.sample(Noise([0, 1])))
    cell = world.toy_cell(image)
    pulled = PulledBackCell(cell, generator)
    z = generator.sample(Noise([2, 3]))
    x = 0.5 + z.reshape(2, -1, 1, 1) / (2 * REACH)
    made = generator.synthesize(z)
    torch.testing.assert_close(pulled.synthesize(x), made)
    torch.testing.assert_close(pulled.measure(x), cell.measure(made))
    torch.testing.assert_close(pulled.position(x), cell.position(made), atol=1e-5, rtol=0)
    torch.testing.assert_close(pulled.excess(x), cell.excess(made), atol=1e-5, rtol=0)
    assert pulled.target is cell.centre
    torch.testing.assert_close(pulled.synthesize(pulled.centre), generator.synthesize(torch.zeros_like(z)))
    assert pulled.distortion.tolist() == pytest.approx([1 / (2 * REACH)] * 2)
    assert not isinstance(pulled, Cell), "only a codec's cell can be certified"


def test_gradients_of_a_pulled_back_cell_pass_through_the_generator(world: SimpleNamespace) -> None:
    generator = world.Bent()
    pulled = PulledBackCell(world.toy_cell(generator.synthesize(generator.sample(Noise([0])))), generator)
    pulled.centre = pulled.centre.double()
    x = 0.5 + 0.1 * Noise([1]).normal(*pulled.centre.shape[1:]).double()
    direction = Noise([2]).like(x)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(pulled.excess(x).square().sum(), x)
    with torch.no_grad():
        slope = world.numeric(lambda u: pulled.excess(u).square().sum(), x, direction, 1e-6)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("generator", ["Linear", "Bent"])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_projection_ends_in_the_cell(world: SimpleNamespace, generator: str, margin: float) -> None:
    generator = getattr(world, generator)()
    z = generator.sample(Noise([0, 1]))
    cell = world.toy_cell(generator.synthesize(z))
    pulled = PulledBackCell(cell, generator, PullBackConfig(60))
    start = 0.5 + (z + 0.5 * Noise([2, 3]).like(z)).reshape(2, -1, 1, 1) / (2 * REACH)
    x = pulled.project(start, margin)
    made = generator.synthesize(((x - 0.5) * 2 * REACH).flatten(1))
    torch.testing.assert_close(pulled.image, made)
    assert float((made - cell.project(made, margin)).square().mean().sqrt()) < 2e-3
    assert float(pulled.excess(start).mean()) > 0.05


@pytest.mark.parametrize("generator", ["Linear", "Bent"])
def test_projection_leaves_what_is_in_the_cell(world: SimpleNamespace, generator: str) -> None:
    generator = getattr(world, generator)()
    z = generator.sample(Noise([0, 1]))
    x = 0.5 + z.clamp(-REACH, REACH).reshape(2, -1, 1, 1) / (2 * REACH)
    pulled = PulledBackCell(world.toy_cell(generator.synthesize(z)), generator)
    torch.testing.assert_close(pulled.project(x), x, rtol=0, atol=0)
    assert (pulled.passes.forwards, pulled.passes.backwards) == (1, 1)


def test_projection_of_a_linear_generator_is_the_nearest_latent(world: SimpleNamespace) -> None:
    """Each latent of `Linear` makes pixels of its own, so the nearest one is that nearest in each number."""
    generator = world.Linear()
    z = generator.sample(Noise([0]))
    cell = world.toy_cell(generator.synthesize(z))
    pulled = PulledBackCell(cell, generator, PullBackConfig(100))
    start = generator.sample(Noise([1]))
    x = pulled.project(0.5 + start.reshape(1, -1, 1, 1) / (2 * REACH))
    lower, upper = (
        ((edge[:, :, ::2, ::2] - generator.mean) / generator.deviation).reshape(1, -1)
        for edge in (cell.lower, cell.upper)
    )
    found = (x.flatten(1) - 0.5) * 2 * REACH
    torch.testing.assert_close(found, start.clamp(lower, upper), rtol=0, atol=0.02)


def test_projection_comes_nearer_where_no_image_of_the_generator_is_in_the_cell(world: SimpleNamespace) -> None:
    generator = world.Bent()
    cell = world.toy_cell(torch.rand(2, 3, *world.SIZE, generator=torch.Generator().manual_seed(0)), quality=6)
    distances = []
    for steps in (1, 4, 16):
        pulled = PulledBackCell(cell, generator, PullBackConfig(steps))
        made = pulled.synthesize(pulled.project(pulled.centre))
        distances.append((made - cell.project(made)).square().mean(dim=(1, 2, 3)))
    start = generator.synthesize(torch.zeros(2, *generator.latent_shape))
    distances.insert(0, (start - cell.project(start)).square().mean(dim=(1, 2, 3)))
    assert all((later <= earlier).all() for earlier, later in pairwise(distances))
    assert (distances[-1] < distances[0]).all()


class Moved(Cell):
    """A cell of images that starts where the pulled-back one does: at the mean of the prior, with its deviation."""

    def __init__(self, cell: Cell, mean: float, deviation: float) -> None:
        self.cell, self.centre = cell, torch.full_like(cell.centre, mean)
        self.distortion = torch.full_like(cell.distortion, deviation)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.cell.contains(byte_image)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return self.cell.differing_symbols(byte_image)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        return self.cell.project(x, margin)


class Gaussian(DiffusionGenerator):
    """What `Linear` makes, as a diffusion prior: every number N(0.5, 0.1^2)."""

    sigma_min, sigma_max = 1e-4, 10.0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma).reshape(-1, 1, 1, 1)
        return 0.5 + (x - 0.5) * 0.1**2 / (0.1**2 + level**2)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_latents_of_a_linear_generator_and_its_images_are_one_problem(world: SimpleNamespace, eta: float) -> None:
    """Where each pixel is a latent, times a constant, both ways draw the very same image.

    So long as no latent reaches REACH, which pixels do not know of: the seeds are such.
    """
    generator = world.Linear(tile=1)
    cell = world.toy_cell(generator.synthesize(generator.sample(Noise([0, 1]))), quality=2)
    unit = generator.deviation * 2 * REACH  # one unit of the latents as the solver sees them, in images
    configs = [CellConfig(steps=6, eta=eta, sigma_min=low) for low in (0.01, 0.01 * unit)]
    adapted = OnLatent(ProjectAndRenoise(configs[0]), PullBackConfig()).solve(cell, generator, Noise([6, 7]))
    start = Moved(cell, generator.mean, generator.deviation)
    native = ProjectAndRenoise(configs[1]).solve(start, Gaussian(), Noise([6, 7]))
    torch.testing.assert_close(adapted.image, native.image, rtol=0, atol=1e-5)
    assert certify(cell, adapted.image).exact == [True, True]
