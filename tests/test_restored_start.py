"""Solvers that start at what a restorer makes of g(y): what is chosen, what is refused, and what the solver sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from idemcore.errors import UnsupportedCombination, UsageError
from idemcore.hookspecs import EncoderSpec, GeneratorSpec
from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.restored_start import LEVEL, StartingAtRestored
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import Part, choose, combine, select
from idemcore.protocols import Constraint, InversionSolver, RestorerGenerator, Solution, Step
from idemcore.runtime import Runtime
from idemcore_toy.config import ToyCodecConfig, ToyPriorConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyGenerator

CPU = Runtime(torch.device("cpu"), torch.float32)
SIZE = (12, 10)


class Inverting(RestorerGenerator):
    """Turns white to black, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[torch.Tensor, Any]] = []

    def restore(self, x: torch.Tensor, sigma: Any, noise: Noise) -> torch.Tensor:
        self.asked.append((x, sigma))
        return 1 - x


class Starter(InversionSolver[Any]):
    """Returns where it starts, and asks all else that a cell offers."""

    def solve(self, cell: Constraint, generator: Any, noise: Noise, callback: Any = None) -> Solution:
        start = cell.estimate
        assert cell.estimate is start, "restored once"
        for ask in (cell.measure, cell.position, cell.excess, cell.project):
            ask(start)
        assert torch.equal(cell.estimate_error, cell.distortion)
        if callback:
            callback(Step(0, 1, 0.0, start, 0.0, 5))
        return Solution(start, nfe=5)


@pytest.fixture
def cell() -> Any:
    codec, prior = ToyEncoder(ToyCodecConfig(3), CPU), ToyGenerator(ToyPriorConfig(), CPU)
    return codec.cell(codec.encode(prior.source.sample(Noise([0, 1]), *SIZE)), SIZE)


def test_the_solver_sees_the_restored_image_projected_and_its_pass_is_counted(cell: Any) -> None:
    restorer, told = Inverting(), list[Step]()
    found = StartingAtRestored(Starter(), restorer).solve(cell, None, Noise([1, 2]), told.append)  # type: ignore[arg-type]
    torch.testing.assert_close(found.image, cell.project(1 - cell.centre))
    ((x, sigma),) = restorer.asked
    assert torch.equal(x, cell.centre)
    torch.testing.assert_close(sigma, LEVEL * cell.distortion)
    assert (found.nfe, told[0].nfe) == (6, 6)


def test_a_denoiser_restores_the_image_as_it_is(cell: Any) -> None:
    prior = ToyGenerator(ToyPriorConfig(), CPU)
    found = StartingAtRestored(Starter(), prior).solve(cell, None, Noise([1, 2]))  # type: ignore[arg-type]
    torch.testing.assert_close(found.image, cell.project(prior.denoise(cell.centre, LEVEL * cell.distortion)))


@pytest.mark.parametrize("solver", ["cell", "backproj", "once", "latino"])
def test_a_solver_starts_at_a_restorer_by_its_name_with_settings_of_its_own(solver: str, photo) -> None:
    bitstream = Codec.load("toy", CPU, quality=2).encode(read_image(photo))
    generator = "toy" if solver in ("cell", "backproj") else "toy-restorer"
    settings = {"solver": {"start_at": "toy-restorer"}, "restorer": {"components": 2, "seed": 7}}
    decoder = Decoder.load(generator, solver, CPU, settings)
    result = decoder.reconstruct(bitstream, seed=1)
    assert result.exact
    plain = Decoder.load(generator, solver, CPU, {"solver": {"start_at": "centre"}}).reconstruct(bitstream, seed=1)
    assert result.nfe == plain.nfe + 1
    assert not torch.equal(result.image, plain.image)
    assert torch.equal(result.image, decoder.reconstruct(bitstream, seed=1).image)
    found = certificate(bitstream, result, picture_facts(result.image, b""), decoder).restorer
    assert (found.name, found.settings) == ("toy-restorer", {"components": 2, "seed": 7})
    assert "restorer" in decoder.parts.used


REFUSED: list[tuple[str, str, dict[str, dict[str, Any]], str]] = [
    ("toy", "cell", {"solver": {"start_at": "ncnm"}}, "There is no generator named 'ncnm'"),
    ("toy", "cell", {"solver": {"start_at": "stylegan2-faces64"}}, "restores no images"),
    ("toy", "cell", {"restorer": {"seed": 1}}, "restorer.seed has no effect"),
    ("toy", "dps", {"restorer": {"seed": 1}}, "restorer.seed has no effect"),
    ("toy", "cell", {"solver": {"start_at": "toy-restorer"}, "restorer": {"sed": 1}}, "restorer.sed"),
    ("stylegan2-faces64", "cell", {"solver": {"start_at": "toy-restorer"}}, "starts at a latent"),
]


@pytest.mark.parametrize(("generator", "solver", "settings", "message"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    generator: str, solver: str, settings: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        select(load_catalogue(), "jpeg", generator, solver, settings)


def test_a_codec_without_a_projection_is_refused() -> None:
    blind = Part(EncoderSpec("blind", "a:B", "", offers=frozenset({"measure"})), "idemcore-toy", None)
    prior = Part(GeneratorSpec("g", "a:B", "", offers=frozenset({"diffusion"})), "idemcore-toy", None)
    solver = choose(load_catalogue(), "solver", "backproj", {"start_at": "toy-restorer"})
    with pytest.raises(UnsupportedCombination, match="does not offer 'project'"):
        combine(load_catalogue(), blind, prior, solver)


def test_it_is_chosen_on_the_command_line_and_in_sweeps(idem, photo, tmp_path) -> None:
    shared = ("--set", "solver.start_at=toy-restorer", "--set", "restorer.seed=3")
    common = ("--codec", "toy", "--generator", "toy", "--set", "solver.steps=2", *shared)
    ran = idem("run", photo, *common, "--out", tmp_path / "run", "--json")
    assert ran.exit_code == 0, ran.stderr
    (written,) = tmp_path.glob("run/*/certificate.json")
    assert json.loads(written.read_text())["restorer"]["settings"]["seed"] == 3
    refused = idem("run", photo, "--codec", "toy", "--generator", "toy", "--set", "restorer.seed=3")
    assert refused.exit_code == 2
    assert "restorer.seed has no effect" in refused.stderr
    point: dict[str, Any] = {"codec": "toy", "generator": "toy", "solver.start_at": "toy-restorer", "restorer.seed": 3}
    facts, used = _resolved(point)
    assert facts.facts.restorer == {"name": "toy-restorer", "components": 5, "seed": 3}
    assert {"solver.start_at", "restorer.seed"} <= used
    assert "--set restorer.seed=3" in facts.command("a.png", 0)
    assert facts.key != _resolved({**point, "restorer.seed": 4})[0].key


def _resolved(point: dict[str, Any]) -> Any:
    from idemcore.sweeps.combinations import resolve

    return resolve(load_catalogue(), point)


def test_bench_measures_it(idem, photo) -> None:
    options = ("--codec", "toy", "--generator", "toy", "--solver", "cell", "--steps", "1", "--size", "16", "--json")
    found = idem("bench", photo, *options, "--set", "cell.start_at=toy-restorer", "--set", "restorer.seed=2")
    assert found.exit_code == 0, found.stderr
    (row,) = json.loads(found.stdout)["solvers"]
    assert row["passes"] == 2
    refused = idem("bench", photo, *options, "--set", "restorer.seed=2")
    assert refused.exit_code == 2
    assert "no effect" in refused.stderr
