"""What every solver of the plugin promises, whatever its algorithm."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.noise import Noise
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.protocols import DiffusionGenerator, InversionSolver, Step

STEPS = 6
SETTINGS = [
    ("cell", {"eta": 0.0}),
    ("cell", {"eta": 1.0}),
    ("dps", {}),
    ("dps", {"constraint": "latent"}),
    ("mcg", {}),
    ("dsg", {}),
    ("dsg", {"interval": 2, "constraint": "cell"}),
    ("diffpir", {}),
    ("diffpir", {"zeta": 1.0, "inner_steps": 3, "schedule": "uniform"}),
    ("mpgd", {}),
    ("mpgd", {"constraint": "cell"}),
    ("backproj", {}),
    ("ddnm", {}),
    ("daps", {"ode_steps": 1, "langevin_steps": 3}),
    ("fast", {}),
    ("fast", {"eta": 1.0, "start_at": "estimate"}),
    ("dcic", {}),
    ("dcic", {"k_d": 0.5, "k_p": 0.5, "inner_steps": 2, "schedule": "uniform"}),
]
BACKWARDS = {"dps": STEPS, "mcg": STEPS, "dsg": STEPS - 1, "dsg-interval-constraint": 2}


@pytest.fixture(params=SETTINGS, ids=lambda s: "-".join((s[0], *s[1])))
def solver(request: pytest.FixtureRequest) -> InversionSolver[DiffusionGenerator]:
    name, settings = request.param
    spec = load_catalogue().resolve("solver", name)
    return import_target(spec.target)(import_target(spec.config)(steps=STEPS, **settings))


def test_a_seed_gives_one_image_and_another_seed_another(solver: InversionSolver, world: SimpleNamespace) -> None:
    cell = world.BoxCell(world.scene())
    first, again, other = (solver.solve(cell, world.GaussianPrior(), Noise(s)).image for s in ([1, 2], [1, 2], [3, 4]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("prior", ["GaussianPrior", "DiscretePrior"])
def test_an_image_does_not_depend_on_its_batch(solver: InversionSolver, world: SimpleNamespace, prior: str) -> None:
    images, prior = world.scene(3), getattr(world, prior)()
    together = solver.solve(world.BoxCell(images), prior, Noise([5, 6, 7])).image
    for k in range(3):
        alone = solver.solve(world.BoxCell(images[k : k + 1]), prior, Noise([5 + k])).image
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-5, rtol=0)


def test_each_pass_is_counted_and_told(
    solver: InversionSolver, world: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    prior, told = world.GaussianPrior(), list[Step]()
    solution = solver.solve(world.BoxCell(world.scene()), prior, Noise([1, 2]), told.append)
    assert len(prior.calls) == solution.nfe == len(told) == STEPS
    assert [s.index for s in told] == list(range(STEPS))
    assert [s.nfe for s in told] == list(range(1, STEPS + 1))
    assert {s.total for s in told} == {STEPS}
    assert [s.sigma for s in told] == sorted((s.sigma for s in told), reverse=True)
    assert all(s.x0.shape == solution.image.shape and not s.x0.requires_grad for s in told)
    assert all(s.residual >= 0 for s in told)
    name = request.node.callspec.id.removeprefix("constraint-")
    assert solution.backwards == sum(prior.differentiated) == BACKWARDS.get(name, BACKWARDS.get(name.split("-")[0], 0))


def test_an_image_is_one_whether_or_not_its_steps_are_told(solver: InversionSolver, world: SimpleNamespace) -> None:
    cell, told = world.BoxCell(world.scene()), list[Step]()
    silent = solver.solve(cell, world.GaussianPrior(), Noise([1, 2]))
    told_of = solver.solve(cell, world.GaussianPrior(), Noise([1, 2]), told.append)
    assert torch.equal(silent.image, told_of.image)
    assert silent.image.min() >= 0
    assert silent.image.max() <= 1
    assert not silent.image.requires_grad


def test_an_exception_of_the_callback_cancels_and_passes_through(
    solver: InversionSolver, world: SimpleNamespace
) -> None:
    def cancel(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    prior = world.GaussianPrior()
    with pytest.raises(KeyboardInterrupt):
        solver.solve(world.BoxCell(world.scene()), prior, Noise([1, 2]), cancel)
    assert len(prior.calls) == 3


def test_global_state_is_left_alone(solver: InversionSolver, world: SimpleNamespace) -> None:
    before, threads, grad = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    solver.solve(world.BoxCell(world.scene()), world.GaussianPrior(), Noise([1, 2]))
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_one_step_is_enough_to_run(world: SimpleNamespace, solver: InversionSolver) -> None:
    solver.config.steps = 1
    solution = solver.solve(world.BoxCell(world.scene()), world.GaussianPrior(), Noise([1, 2]))
    assert solution.nfe == 1
    assert solution.image.isfinite().all()
