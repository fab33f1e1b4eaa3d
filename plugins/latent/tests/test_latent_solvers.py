"""What all solvers of the package promise, on a linear generator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.noise import Noise
from idemcore.protocols import InversionSolver, Step
from idemcore_latent.config import IloConfig, LangevinConfig, PulseConfig
from idemcore_latent.ilo import IntermediateLayers
from idemcore_latent.langevin import Langevin
from idemcore_latent.pulse import Pulse

CONFIGS = {
    "pulse": (Pulse, PulseConfig),
    "pulse-cell": (Pulse, lambda **values: PulseConfig(constraint="cell", **values)),
    "ilo": (IntermediateLayers, IloConfig),
    "ilo-cell": (IntermediateLayers, lambda **values: IloConfig(constraint="cell", ball="l2", **values)),
    "langevin": (Langevin, LangevinConfig),
}
every_solver = pytest.mark.parametrize("name", CONFIGS)
SEEDS = [5, 6, 7]
STOPS = {"pulse": 6.0, "pulse-cell": 0.2, "ilo": 21.0, "ilo-cell": 0.5, "langevin": 0.8}
"""Near enough for some images and not for others."""


def build(name: str, **values: float) -> InversionSolver:
    solver, config = CONFIGS[name]
    return solver(config(**{"steps": 12, "stop": 0.0, **values}))


@every_solver
def test_a_seed_gives_one_image_and_another_seed_another(world: SimpleNamespace, name: str) -> None:
    cell, generator = world.BoxCell(world.image_on_sphere(world.linear(), [1, 2])), world.linear()
    first, again, other = (build(name).solve(cell, generator, Noise(s)).image for s in ([1, 2], [1, 2], [3, 4]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_solver
def test_an_image_does_not_depend_on_its_batch(world: SimpleNamespace, name: str) -> None:
    """Nor on whether the images beside it are done, which `stop` makes some of them."""
    images = world.image_on_sphere(world.linear(), [1, 2, 3])
    for values in ({}, {"stop": STOPS[name], "restarts": 2}):
        solver = build(name, **values)
        together = solver.solve(world.BoxCell(images), world.linear(), Noise(SEEDS))
        singles = [(world.BoxCell(images[b : b + 1]), Noise(SEEDS[b : b + 1])) for b in range(3)]
        alone = [solver.solve(cell, world.linear(), noise) for cell, noise in singles]
        torch.testing.assert_close(together.image, torch.cat([one.image for one in alone]), atol=1e-6, rtol=0)
        if values:
            assert len({one.nfe for one in alone}) > 1, [one.nfe for one in alone]


@every_solver
def test_each_pass_is_counted_and_told(world: SimpleNamespace, name: str) -> None:
    generator, told = world.linear(), list[Step]()
    cell = world.BoxCell(world.image_on_sphere(generator, [1, 2]))
    generator.given.clear()
    solution = build(name, restarts=1).solve(cell, generator, Noise([1, 2]), told.append)
    assert len(generator.given) == solution.nfe == solution.backwards == len(told) == 24
    assert [(s.index, s.nfe, s.total) for s in told] == [(i, i + 1, 24) for i in range(24)]
    for image in (solution.image, told[0].x0):
        assert image.shape == (2, *world.SHAPE)
        assert not image.requires_grad
        assert 0 <= image.min() <= image.max() <= 1
    cells = name.endswith("cell") or name == "langevin"
    for step in told[::5]:
        d = cell.excess(step.x0) if cells else cell.centre - cell.measure(step.x0)
        assert step.residual == pytest.approx(float(d.square().mean().sqrt()), rel=1e-4)
    # Noise is what langevin has: the deviation that the distances to the cell may have.
    assert {s.sigma for s in told} == {0.0} or (name == "langevin" and all(s.sigma >= 0.1 for s in told))


@every_solver
def test_an_exception_of_the_callback_cancels_and_passes_through(world: SimpleNamespace, name: str) -> None:
    def cancel(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    generator = world.linear()
    cell = world.BoxCell(world.image_on_sphere(generator, [1, 2]))
    generator.given.clear()
    with pytest.raises(KeyboardInterrupt):
        build(name).solve(cell, generator, Noise([1, 2]), cancel)
    assert len(generator.given) == 3


@every_solver
def test_global_state_is_left_alone(world: SimpleNamespace, name: str) -> None:
    before, threads, grad = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    build(name).solve(world.BoxCell(world.image_on_sphere(world.linear(), [1])), world.linear(), Noise([1]))
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


@every_solver
def test_a_caller_without_gradients_gets_the_same(world: SimpleNamespace, name: str) -> None:
    cell = world.BoxCell(world.image_on_sphere(world.linear(), [1]))
    with torch.no_grad():
        without = build(name).solve(cell, world.linear(), Noise([1])).image
    assert torch.equal(without, build(name).solve(cell, world.linear(), Noise([1])).image)


@every_solver
def test_one_step_is_enough_to_run(world: SimpleNamespace, name: str) -> None:
    cell = world.BoxCell(world.image_on_sphere(world.linear(), [1]))
    assert build(name, steps=1).solve(cell, world.linear(), Noise([1])).nfe == 1


@every_solver
def test_restarts_keep_the_best(world: SimpleNamespace, name: str) -> None:
    cell = world.BoxCell(world.image_on_sphere(world.linear(), [1]), world.COARSE / 4)
    told = list[Step]()
    found = build(name, restarts=3).solve(cell, world.linear(), Noise([3]), told.append)
    # A chain gives its last state, a descent its best.
    candidates = [told[i] for i in (11, 23, 35, 47)] if name == "langevin" else told
    best = min(candidates, key=lambda step: step.residual)
    assert torch.equal(found.image, best.x0)
    assert best.residual < min(step.residual for step in candidates[: len(candidates) // 4])


def test_an_attempt_is_the_same_whether_others_may_follow(world: SimpleNamespace) -> None:
    cell, told = world.BoxCell(world.image_on_sphere(world.linear(), [1])), ([], [])
    for restarts in (0, 2):
        build("pulse", restarts=restarts).solve(cell, world.linear(), Noise([3]), told[restarts // 2].append)
    assert [step.residual for step in told[0]] == [step.residual for step in told[1][:12]]


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "langevin"])
def test_a_descent_ends_early_when_all_images_are_near_enough(world: SimpleNamespace, name: str) -> None:
    generator, told = world.linear(), list[Step]()
    cell = world.BoxCell(world.image_on_sphere(generator, [1]))
    solution = build(name, steps=200, stop=0.5, restarts=2).solve(cell, generator, Noise([1]), told.append)
    unit = 1 if name.endswith("cell") else 0.01
    assert 1 < solution.nfe < 200
    assert told[-1].residual <= 0.5 * unit
    assert all(step.residual > 0.5 * unit for step in told[:-1])
    assert torch.equal(solution.image, told[-1].x0)


def test_a_chain_runs_to_its_end_and_another_only_if_that_is_too_far(world: SimpleNamespace) -> None:
    cell = world.BoxCell(world.image_on_sphere(world.linear(), [1]))
    near, far = (build("langevin", steps=60, stop=stop, restarts=1) for stop in (0.5, 0.0))
    assert near.solve(cell, world.linear(), Noise([1])).nfe == 60
    assert far.solve(cell, world.linear(), Noise([1])).nfe == 120


@pytest.mark.parametrize(
    ("config", "values"),
    [
        *((config, {key: value}) for config in (PulseConfig, IloConfig, LangevinConfig)
          for key, value in (("steps", 0), ("stop", -0.1), ("stop", float("nan")), ("restarts", -1))),
        *((config, {"constraint": "latent"}) for config in (PulseConfig, IloConfig)),
        (PulseConfig, {"rate": 0.0}),
        (IloConfig, {"ball": "l3"}),
        (IloConfig, {"shares": []}),
        (IloConfig, {"shares": [0.0, 1.0]}),
        (IloConfig, {"rates": [0.1, -0.1]}),
        (IloConfig, {"radii": [float("inf")]}),
        (LangevinConfig, {"tolerance": 0.0}),
        (LangevinConfig, {"burn_in": 1.1}),
        (LangevinConfig, {"burn_in": -0.1}),
        (LangevinConfig, {"step": 0.0}),
        (LangevinConfig, {"step": 2.1}),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(config: type, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        config(**values)
