"""All solvers on the toy source, whose denoiser and posterior are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.pipeline.decoder import Decoder
from idemcore.runtime import Runtime
from idemcore_toy.cell import ToyCell
from idemcore_toy.config import ToyCodecConfig
from idemcore_toy.encoder import ToyEncoder

CPU = Runtime(torch.device("cpu"), torch.float32)
SIZE = (20, 20)
SEEDS = range(4)

# Solver, settings, most mean excess in quantiser steps (a sample of the prior has 0.34), least share of symbols inside.
CASES = [
    ("cell", {}, 0.0, 1.0),
    ("dps", {"steps": 100, "zeta": 3.0}, 0.03, 0.95),
    ("dps", {"steps": 100, "constraint": "latent"}, 0.03, 0.95),
    ("dps", {"steps": 100, "constraint": "cell"}, 0.01, 0.95),
    ("mcg", {"steps": 100}, 1e-5, 0.999),
    ("dsg", {"guidance_rate": 0.5}, 0.01, 0.95),
    ("dsg", {"guidance_rate": 0.5, "constraint": "latent"}, 0.03, 0.9),
    ("dsg", {"guidance_rate": 0.5, "constraint": "cell"}, 0.03, 0.8),
    ("diffpir", {"steps": 20}, 1e-5, 0.999),
    ("diffpir", {"steps": 20, "constraint": "latent"}, 0.01, 0.95),
    ("diffpir", {"steps": 20, "constraint": "cell", "inner_steps": 3}, 0.001, 0.5),
    ("mpgd", {"steps": 20}, 1e-5, 0.999),
    ("mpgd", {"steps": 20, "constraint": "latent"}, 0.01, 0.95),
    ("mpgd", {"steps": 20, "constraint": "cell"}, 0.001, 0.5),
    ("backproj", {}, 0.001, 0.99),
    ("ddnm", {}, 1e-5, 0.999),
    ("ddnm", {"steps": 20, "travel_length": 2, "travel_repeat": 2}, 0.001, 0.99),
    ("daps", {"steps": 50, "langevin_steps": 20}, 0.01, 0.95),
    ("fast", {}, 0.05, 0.8),
    ("dcic", {}, 1e-5, 0.999),
    ("dcic", {"k_d": 0.0}, 1e-5, 0.999),
]


def decoder(name: str, settings: dict[str, Any]) -> Decoder:
    return Decoder.load("toy", name, CPU, {"solver": settings})


@pytest.fixture(scope="module")
def image() -> Tensor:
    return decoder("cell", {}).generator.source.sample(Noise(SEEDS), *SIZE)


@pytest.fixture(scope="module")
def cell(image: Tensor) -> ToyCell:
    codec = ToyEncoder(ToyCodecConfig(3), CPU)
    return codec.cell(codec.encode(image), SIZE)


@pytest.mark.parametrize(("name", "settings", "most", "inside"), CASES, ids=str)
def test_each_solver_comes_to_the_cell_and_near_the_image(
    image: Tensor, cell: ToyCell, name: str, settings: dict[str, Any], most: float, inside: float
) -> None:
    """A posterior sample has twice the least squared error; an unguided sample of the prior has 15 times it."""
    chosen = decoder(name, settings)
    found = chosen.solver.solve(cell, chosen.generator, Noise(range(10, 14)))
    excess = cell.excess(found.image)
    assert float(excess.mean()) <= most
    assert float((excess == 0).float().mean()) >= inside
    assert certify(cell, found.image).exact == [True] * 4
    least = (chosen.generator.source.posterior(cell.lower, cell.upper).mean - image).square().mean()
    assert 1.0 < float((found.image - image).square().mean() / least) < 4.0


STRONGER = {"dps": {"constraint": "latent", "zeta": 3.0}, "dsg": {"guidance_rate": 0.5}, "daps": {"langevin_steps": 20}}


@pytest.mark.parametrize("name", ["cell", "dps", "mcg", "dsg", "diffpir", "mpgd", "backproj", "ddnm", "daps", "dcic"])
def test_a_residual_falls_on_the_way(cell: ToyCell, name: str) -> None:
    chosen, residuals = decoder(name, {"steps": 20, **STRONGER.get(name, {})}), list[float]()
    chosen.solver.solve(cell, chosen.generator, Noise(SEEDS), lambda step: residuals.append(step.residual))
    assert residuals[-1] < 0.7 * residuals[0]
