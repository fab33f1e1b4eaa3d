"""`once` and `latino` keep the laws of solvers, come to the cell, and are near draws of the toy source's posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.pipeline.decoder import Decoder
from idemcore.protocols import RestorerGenerator, Step
from idemcore.runtime import Runtime
from idemcore.testing import Subject, parametrize_with_checks
from idemcore_restore.config import LatinoConfig, OnceConfig
from idemcore_restore.latino import Latino
from idemcore_restore.once import RestoreOnce
from idemcore_toy.cell import ToyCell
from idemcore_toy.config import ToyCodecConfig, ToyPriorConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyRestorer
from idemcore_toy.truth import Truth

CPU = Runtime(torch.device("cpu"), torch.float32)
SIZE = (24, 24)
SEEDS = range(4)
TOY = ToyRestorer(ToyPriorConfig(), CPU)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return TOY.source.sample(Noise(SEEDS), *SIZE)


@pytest.fixture(scope="module")
def cell(image: Tensor) -> ToyCell:
    codec = ToyEncoder(ToyCodecConfig(3), CPU)
    return codec.cell(codec.encode(image), SIZE)


@parametrize_with_checks([Subject.installed("solver", name) for name in ("once", "latino")])
def test_the_solvers_keep_the_laws(check: Callable[[], object]) -> None:
    check()


class Spy(RestorerGenerator):
    """A restorer that takes no level and draws nothing; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, Tensor]] = []

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        self.asked.append((x.clone(), torch.as_tensor(sigma).clone()))
        return 1 - x


def test_once_restores_the_plain_decode_at_a_multiple_of_its_error_and_projects(cell: ToyCell) -> None:
    spy, told = Spy(), list[Step]()
    found = RestoreOnce(OnceConfig(level=2.0, margin=0.1)).solve(cell, spy, Noise(SEEDS), told.append)
    ((x, sigma),) = spy.asked
    assert torch.equal(x, cell.centre)
    assert torch.equal(sigma, 2 * cell.distortion)
    torch.testing.assert_close(found.image, cell.project(1 - cell.centre, 0.1).clamp(0, 1))
    assert (found.nfe, found.backwards, told[0].index, told[0].total) == (1, 0, 0, 1)
    assert certify(cell, found.image).exact == [True] * 4


def test_latino_restores_its_own_projected_result_at_falling_levels(cell: ToyCell) -> None:
    spy = Spy()
    found = Latino(LatinoConfig(steps=4, start=2.0, sigma_min=0.01)).solve(cell, spy, Noise(SEEDS))
    assert found.nfe == 4
    torch.testing.assert_close(spy.asked[0][1], 2 * cell.distortion)
    torch.testing.assert_close(spy.asked[-1][1], torch.full((4,), 0.01))
    levels = torch.stack([sigma for _, sigma in spy.asked])
    assert bool((levels.diff(dim=0) < 0).all())
    for (before, _), (after, _) in zip(spy.asked, spy.asked[1:], strict=False):
        torch.testing.assert_close(after, cell.project(1 - before))


class Estimating(ToyCell):
    """Knows an estimate."""

    @property
    def estimate(self) -> Tensor:
        return self.centre + 0.01

    @property
    def estimate_error(self) -> Tensor:
        return self.distortion / 2


def test_a_start_is_the_estimate_or_the_centre_with_its_own_error(image: Tensor) -> None:
    codec = ToyEncoder(ToyCodecConfig(3), CPU)
    cell = codec.cell(codec.encode(image), SIZE)
    cell.__class__ = Estimating
    for solver in (RestoreOnce(OnceConfig(level=2.0, start_at="estimate")), Latino(LatinoConfig(steps=2, start=2.0))):
        solver.solve(cell, spy := Spy(), Noise(SEEDS))
        assert torch.equal(spy.asked[0][0], cell.estimate)
        torch.testing.assert_close(spy.asked[0][1], cell.distortion)
    Latino(LatinoConfig(steps=2, start_at="centre")).solve(cell, spy := Spy(), Noise(SEEDS))
    assert torch.equal(spy.asked[0][0], cell.centre)


def test_one_step_of_latino_is_at_its_first_level(cell: ToyCell) -> None:
    spy = Spy()
    Latino(LatinoConfig(steps=1, start=3.0)).solve(cell, spy, Noise(SEEDS))
    torch.testing.assert_close(spy.asked[0][1], 3 * cell.distortion)


@pytest.mark.parametrize(("solver", "generator"), [("once", "toy-restorer"), ("latino", "toy-restorer"),
                                                  ("once", "toy"), ("latino", "toy")])  # fmt: skip
def test_draws_are_exact_and_spread_about_the_posterior_mean(
    image: Tensor, cell: ToyCell, solver: str, generator: str
) -> None:
    """A draw of the posterior has twice the least error and the posterior's spread; one that ignores y, 15 times it."""
    decoder = Decoder.load(generator, solver, CPU)
    found = decoder.solver.solve(cell, decoder.generator, Noise(range(10, 14)))
    assert certify(cell, found.image).exact == [True] * 4
    figures = Truth(cell, TOY.source).figures(found.image, image, Noise([9] * 4))
    assert figures.inside == 1
    assert 1 < figures.error < 4, figures
    assert figures.spread > 0.2, figures


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (OnceConfig, {"level": -1.0}, "level"),
    (OnceConfig, {"level": float("nan")}, "level"),
    (OnceConfig, {"margin": 0.6}, "margin"),
    (OnceConfig, {"start_at": " "}, "start_at"),
    (LatinoConfig, {"start_at": ""}, "start_at"),
    (LatinoConfig, {"steps": 0}, "steps"),
    (LatinoConfig, {"start": -1.0}, "start"),
    (LatinoConfig, {"sigma_min": 0.0}, "sigma_min"),
    (LatinoConfig, {"rho": 0.5}, "rho"),
    (LatinoConfig, {"margin": -0.1}, "margin"),
]


@pytest.mark.parametrize(("config", "settings", "key"), WRONG)
def test_settings_out_of_range_are_refused_by_name(config: Any, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        config(**settings)
