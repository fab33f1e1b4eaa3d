"""Flow matching and EDM against the closed form of the toy source: networks that predict exactly give its denoiser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from idemcore.networks.continuous import EdmDenoiser, FlowDenoiser, FlowPrediction
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime
from idemcore_dps.cell import ProjectAndRenoise
from idemcore_dps.config import CellConfig, DiffPIRConfig, DPSConfig
from idemcore_dps.diffpir import DiffPIR
from idemcore_dps.dps import DPS
from idemcore_toy.config import ToyCodecConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.source import MixtureSource

SOURCE = MixtureSource.drawn(4, 3)
LEVELS = (0.002, 0.05, 0.3, 2.0, 30.0)


def wide(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def flow_network(predicts: FlowPrediction) -> Callable[[Tensor, Tensor], Tensor]:
    """What a perfect network predicts of z at t."""

    def network(z: Tensor, t: Tensor) -> Tensor:
        sigma = t / (1 - t) / 2
        image = 2 * SOURCE.denoise((z / (1 - wide(t).to(z)) + 1) / 2, sigma) - 1
        noise = (z - (1 - wide(t).to(z)) * image) / wide(t).to(z)
        return {"velocity": noise - image, "to-image": image - noise, "x": image, "eps": noise}[predicts]

    return network


def edm_network(d: float) -> Callable[[Tensor, Tensor], Tensor]:
    def network(z: Tensor, c_noise: Tensor) -> Tensor:
        s = (4 * c_noise).exp()
        norm = (wide(s).to(z).square() + d**2).sqrt()
        noisy = z * norm
        image = 2 * SOURCE.denoise((noisy + 1) / 2, s / 2) - 1
        return (image - d**2 / norm.square() * noisy) / (wide(s).to(z) * d / norm)

    return network


KINDS: dict[str, Callable[[], DiffusionGenerator]] = {
    "velocity": lambda: FlowDenoiser(flow_network("velocity"), dtype=torch.float64),
    "to-image": lambda: FlowDenoiser(flow_network("to-image"), "to-image", dtype=torch.float64),
    "x": lambda: FlowDenoiser(flow_network("x"), "x", dtype=torch.float64),
    "eps": lambda: FlowDenoiser(flow_network("eps"), "eps", dtype=torch.float64),
    "edm": lambda: EdmDenoiser(edm_network(0.5), dtype=torch.float64),
    "edm, another deviation": lambda: EdmDenoiser(edm_network(0.25), 0.25, dtype=torch.float64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_network_of_any_prediction_is_the_exact_denoiser(kind: str) -> None:
    denoiser, clean = KINDS[kind](), SOURCE.sample(Noise([0, 1]), 6, 5).double()
    for sigma in LEVELS:
        x = clean + sigma * Noise([2, 3]).like(clean)
        level = torch.tensor([sigma, sigma], dtype=torch.float32)
        wanted = SOURCE.denoise(x, level.double())
        # t and ln(s) are float32, as networks take them: their last digit moves z / (1 - t) in proportion to x.
        torch.testing.assert_close(denoiser.denoise(x, level), wanted, rtol=0, atol=1e-6 * max(1.0, sigma))


@pytest.mark.parametrize("kind", ["velocity", "edm"])
def test_levels_padding_and_precision_are_taken_care_of(kind: str) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def network(z: Tensor, t: Tensor) -> Tensor:
        seen.append((z, t))
        return torch.zeros_like(z)

    made: DiffusionGenerator = (
        FlowDenoiser(network, time=lambda t: 1000 * t, multiple=8, dtype=torch.bfloat16)
        if kind == "velocity"
        else EdmDenoiser(network, multiple=8, dtype=torch.bfloat16)
    )
    x = Noise([0, 1]).uniform(3, 5, 9)
    found = made.denoise(x, torch.tensor([0.5, 1.5]))
    assert found.shape == x.shape
    assert found.dtype == torch.float32
    assert {tuple(z.shape[1:]) for z, _ in seen} == {(3, 8, 16)}
    assert {z.dtype for z, _ in seen} == {torch.bfloat16}
    times = torch.cat([t for _, t in seen])
    wanted = [500.0, 750.0] if kind == "velocity" else [0.0, torch.tensor(3.0).log() / 4]
    torch.testing.assert_close(times, torch.tensor(wanted))


@pytest.mark.parametrize("kind", ["velocity", "edm"])
@pytest.mark.parametrize(
    "solver", [ProjectAndRenoise(CellConfig()), DPS(DPSConfig(steps=50, zeta=3.0)), DiffPIR(DiffPIRConfig(steps=20))],
    ids=["cell", "dps", "diffpir"],
)  # fmt: skip
def test_solvers_run_on_them_as_on_the_source_itself(kind: str, solver: object) -> None:
    image = SOURCE.sample(Noise([0, 1]), 16, 16)
    codec = ToyEncoder(ToyCodecConfig(3), Runtime(torch.device("cpu"), torch.float32))
    cell = codec.cell(codec.encode(image), (16, 16))
    denoiser = KINDS[kind]()
    found = solver.solve(cell, denoiser, Noise([5, 6])).image  # type: ignore[attr-defined]
    assert certify(cell, found).exact == [True, True]
    least = (SOURCE.posterior(cell.lower, cell.upper).mean - image).square().mean()
    assert 1.0 < float((found - image).square().mean() / least) < 4.0
