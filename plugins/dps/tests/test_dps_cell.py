"""`cell`: project and renoise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.pipeline.tiles import TiledDenoiser
from idemcore_dps.cell import ProjectAndRenoise, share_told
from idemcore_dps.config import CellConfig


def test_cell_ends_inside_the_cell_and_certifies_exactly(world: SimpleNamespace) -> None:
    cell = world.BoxCell(world.scene(4))
    image = ProjectAndRenoise(CellConfig()).solve(cell, world.GaussianPrior(), Noise(range(4))).image
    torch.testing.assert_close(cell.project(image), image, atol=1e-6, rtol=0)
    certified = certify(cell, image)
    assert certified.exact == [True] * 4
    assert certified.differing_symbols == [0] * 4
    assert torch.equal(cell.contains(certified.image), torch.ones(4, dtype=torch.bool))


def test_cell_looks_more_like_the_prior_than_the_centre_does(world: SimpleNamespace) -> None:
    image = torch.cat([world.scene(1, seed) for seed in range(32)])
    cell, solver = world.BoxCell(image), ProjectAndRenoise(CellConfig(steps=20, start=3.0, eta=1.0))
    found = solver.solve(cell, world.GaussianPrior(), Noise(range(32)))
    # The centre is a comb of a few values; a reconstruction fills the gaps, as real images do.
    gaps = [torch.histc(cell.position(x) % 1, 10, 0, 1).std().item() for x in (image, found.image, cell.centre)]
    assert gaps[1] < 0.5 * gaps[2]


def test_cell_starts_where_the_codec_expects_its_error_to_be(world: SimpleNamespace) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene())
    ProjectAndRenoise(CellConfig(steps=4, start=2.5, sigma_share=1)).solve(cell, prior, Noise([1, 2]))
    assert prior.calls[0] == pytest.approx(2.5 * cell.distortion[0].item(), rel=1e-5)
    assert prior.calls[-1] == pytest.approx(CellConfig().sigma_min, rel=1e-5)


@pytest.mark.parametrize("tiled", [False, True])
def test_cell_starts_where_the_prior_says_unless_it_is_told(world: SimpleNamespace, tiled: bool) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene())
    prior.warm_start = 4.0
    generator = TiledDenoiser(prior) if tiled else prior
    ProjectAndRenoise(CellConfig(steps=6, sigma_share=1)).solve(cell, generator, Noise([1, 2]))
    assert prior.calls[0] == pytest.approx(4.0 * cell.distortion[0].item(), rel=1e-5)


@pytest.mark.parametrize(("told", "expected"), [(0.0, 1.5), (4.0, 4.0)])
def test_cell_starts_lower_with_few_steps_unless_it_is_told(
    world: SimpleNamespace, told: float, expected: float
) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene())
    prior.warm_start = 4.0
    ProjectAndRenoise(CellConfig(steps=2, start=told, sigma_share=1)).solve(cell, prior, Noise([1, 2]))
    assert prior.calls[0] == pytest.approx(expected * cell.distortion[0].item(), rel=1e-5)


def test_a_cell_that_leaves_little_open_takes_fewer_steps(world: SimpleNamespace) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene(1))
    levels = {}
    for error in (0.002, 0.02, 0.5):
        cell.distortion, prior.calls = torch.tensor([error]), []
        found = ProjectAndRenoise(CellConfig()).solve(cell, prior, Noise([1]))
        assert found.nfe == len(prior.calls)
        assert prior.calls[-1] == pytest.approx(CellConfig().sigma_min, rel=1e-5)
        levels[error] = found.nfe
    assert levels == {0.002: 2, 0.02: 3, 0.5: 9}


def test_an_image_takes_the_steps_that_it_would_take_alone(world: SimpleNamespace) -> None:
    prior, scene, errors = world.GaussianPrior(), world.scene(2), torch.tensor([0.004, 0.05])
    both, alone = world.BoxCell(scene), [world.BoxCell(image[None]) for image in scene]
    both.distortion = errors
    together = ProjectAndRenoise(CellConfig()).solve(both, prior, Noise([1, 2]))
    assert together.nfe == 4
    for number, cell in enumerate(alone):
        cell.distortion = errors[number : number + 1]
        found = ProjectAndRenoise(CellConfig()).solve(cell, prior, Noise([1 + number]))
        torch.testing.assert_close(found.image[0], together.image[number], atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [0, "many"])
def test_steps_are_a_number_or_auto(steps: object) -> None:
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, or auto"):
        CellConfig(steps=steps)


@pytest.mark.parametrize(("start", "eta"), [(1.5, 0.25), (9.0, 1.0)])
def test_fresh_noise_is_for_starts_from_far(world: SimpleNamespace, start: float, eta: float) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene(1))
    prior.warm_start = start
    found, told = (ProjectAndRenoise(CellConfig(eta=e)).solve(cell, prior, Noise([1])) for e in ("auto", eta))
    torch.testing.assert_close(found.image, told.image, atol=0, rtol=0)


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
def test_a_step_keeps_the_variance_that_images_have_at_its_end(kept: float, variance: float) -> None:
    k = share_told(torch.tensor([kept])).item()
    factor = (variance + kept * k * k) / (variance + k * k)  # x0 + kept (x - x0), for images of this variance, sigma 1
    naive = (variance + kept) / (variance + 1)
    wanted = ((variance + kept**2) / (variance + 1)) ** 0.5
    assert abs(factor - wanted) <= abs(naive - wanted) / 2
    if variance == 1:
        assert factor == pytest.approx(wanted, rel=1e-5)


def test_the_first_half_of_the_steps_is_told_less_noise_and_the_rest_the_truth(world: SimpleNamespace) -> None:
    prior, cell, steps = world.GaussianPrior(), world.BoxCell(world.scene(1)), []
    ProjectAndRenoise(CellConfig(steps=6)).solve(cell, prior, Noise([1]), steps.append)
    shares = [told / step.sigma for told, step in zip(prior.calls, steps, strict=True)]
    assert shares == [pytest.approx(share, abs=1e-5) for share in [*shares[:3], 1.0, 1.0, 1.0]]
    assert max(shares[:3]) < 0.97
    fixed = world.GaussianPrior()
    ProjectAndRenoise(CellConfig(steps=6, sigma_share=0.9)).solve(cell, fixed, Noise([1]))
    assert fixed.calls[:3] == pytest.approx([0.9 * step.sigma for step in steps[:3]], rel=1e-5)


def test_the_only_step_is_told_what_keeps_the_variance_of_an_image(world: SimpleNamespace) -> None:
    prior, cell, steps = world.GaussianPrior(), world.BoxCell(world.scene(1)), []
    ProjectAndRenoise(CellConfig(steps=1)).solve(cell, prior, Noise([1]), steps.append)
    assert prior.calls == [pytest.approx(steps[0].sigma * (2**0.5 - 1) ** 0.5, rel=1e-5)]


@pytest.mark.parametrize("share", [0, 3, "some"])
def test_sigma_share_is_a_share_or_auto(share: object) -> None:
    with pytest.raises(ValueError, match="sigma_share must be"):
        CellConfig(sigma_share=share)


@pytest.mark.parametrize("eta", [-0.1, 1.5, "some"])
def test_eta_is_a_share_or_auto(eta: object) -> None:
    with pytest.raises(ValueError, match="eta must be"):
        CellConfig(eta=eta)
