"""All solvers with a real codec and the bundled network, for a few steps of a small picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.runtime import Runtime

EXAMPLE = Path(__file__).parents[3] / "examples" / "photo.png"
CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def photo() -> SimpleNamespace:
    """A textured 64x64 part of the example, the cell of its JPEG of quality 10, and the network."""
    image = read_image(EXAMPLE)[:, :, 100:164, 100:164]
    cell = Codec.load("jpeg", CPU, quality=10).encode(image).cell
    return SimpleNamespace(image=image, cell=cell, generator=Decoder.load("ddpm-photo", "cell", CPU).generator)


# Settings, and the share of the first step's residual that may be left at the last.
CASES = [
    ("cell", {"steps": 3}, 0.5),
    ("mcg", {"steps": 4}, 0.5),
    ("diffpir", {"steps": 6}, 0.3),
    ("mpgd", {"steps": 6}, 0.3),
    ("backproj", {"steps": 6}, 0.5),
]


@pytest.mark.parametrize(("name", "settings", "left"), CASES, ids=[case[0] for case in CASES])
def test_a_photograph_comes_to_its_jpeg(photo: SimpleNamespace, name: str, settings, left: float) -> None:  # type: ignore[no-untyped-def]
    solver = Decoder.load("ddpm-photo", name, CPU, {"solver": settings}).solver
    residuals: list[float] = []
    found = solver.solve(photo.cell, photo.generator, Noise([1]), lambda step: residuals.append(step.residual))
    assert residuals[-1] < left * residuals[0]
    assert certify(photo.cell, found.image).exact == [True]


@pytest.mark.parametrize(("name", "strength", "values"), [("dps", "zeta", (0, 6)), ("dsg", "guidance_rate", (0, 1))])
def test_guidance_reaches_through_codec_and_network(photo: SimpleNamespace, name: str, strength: str, values) -> None:  # type: ignore[no-untyped-def]
    """A few steps do not come far, but farther than without."""
    errors = []
    for value in values:
        solver = Decoder.load("ddpm-photo", name, CPU, {"solver": {"steps": 8, strength: value}}).solver
        found = solver.solve(photo.cell, photo.generator, Noise([1])).image
        errors.append(float((photo.cell.measure(found) - photo.cell.target).square().mean()))
    assert errors[1] < 0.9 * errors[0], errors
