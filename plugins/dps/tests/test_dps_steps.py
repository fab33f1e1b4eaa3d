"""What a callback sees of a step: noisy image, the estimate made of it, the gradient by it, all in [0,1] units."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.noise import Noise
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.protocols import Step


def steps_of(name: str, cell: object, prior: object, **settings: object) -> list[Step]:
    spec, told = load_catalogue().resolve("solver", name), list[Step]()
    solver = import_target(spec.target)(import_target(spec.config)(steps=5, **settings))
    solver.solve(cell, prior, Noise([1]), told.append)
    return told


@pytest.mark.parametrize("name", ["dps", "mcg", "dsg", "mpgd", "backproj", "ddnm", "dcic"])
def test_the_estimate_is_the_noisy_image_denoised_at_its_level(name: str, world: SimpleNamespace) -> None:
    prior = world.GaussianPrior()
    told = steps_of(name, world.BoxCell(world.scene(1)), prior)
    for step in told:
        assert step.x is not None
        torch.testing.assert_close(prior.denoise(step.x, step.sigma).clamp(0, 1), step.x0, rtol=1e-4, atol=1e-4)
    assert [step.gradient is not None for step in told] == [
        name in ("dps", "mcg") or (name == "dsg" and step.index + 1 != step.total) for step in told
    ]


def test_the_gradient_is_that_by_the_noisy_image(world: SimpleNamespace) -> None:
    prior, cell = world.GaussianPrior(), world.BoxCell(world.scene(1))
    for step in steps_of("dps", cell, prior, constraint="cell"):
        x = step.x.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(cell.excess(prior.denoise(x, step.sigma)).norm(), x)
        torch.testing.assert_close(step.gradient, wanted, rtol=1e-3, atol=1e-4)
