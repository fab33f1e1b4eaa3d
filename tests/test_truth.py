"""Solvers on the toy source, beside its posterior: what they find is spread over the cell as the posterior is."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from idemcore.noise import Noise
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore_toy.truth import Figures, Truth

COUNT, SIDE = 32, 16
NEAR = {"bias": (0, 0.6), "spread": (0.6, 1.7), "sliced": (0, 4), "inside": (0.98, 1), "occupancy": (0, 0.12)}
"""What all samplers keep to. Tighter bounds for each would only tell that its settings were changed."""

SAMPLERS: dict[str, dict[str, Any]] = {"cell": {}, "diffpir": {}, "backproj": {}, "dps": {"steps": 500}}


@pytest.fixture(scope="module")
def scene() -> SimpleNamespace:
    prior = Decoder.load("toy", "cell").generator
    codec = Codec.load("toy", quality=3).encoder
    original = prior.source.sample(Noise(range(COUNT)), SIDE, SIDE)
    cell = codec.cell(codec.encode(original), (SIDE, SIDE))
    return SimpleNamespace(prior=prior, original=original, cell=cell, truth=Truth(cell, prior.source))


def solved(scene: SimpleNamespace, name: str, settings: dict[str, Any]) -> Figures:
    decoder = Decoder.load("toy", name, settings={"solver": settings})
    image = decoder.solver.solve(scene.cell, decoder.generator, Noise(range(100, 100 + COUNT))).image
    return figures(scene, image)


def figures(scene: SimpleNamespace, image: Any) -> Figures:
    return scene.truth.figures(image, scene.original, Noise(range(200, 200 + COUNT)))


def missed(found: Figures) -> set[str]:
    """Names of the figures that are out of bounds."""
    return {key for key, (least, most) in NEAR.items() if not least <= asdict(found)[key] <= most}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_are_near_the_posterior(scene: SimpleNamespace, name: str) -> None:
    found = solved(scene, name, SAMPLERS[name])
    assert not missed(found), found


def test_cell_does_not_pile_up_on_faces_as_plain_projection_does(scene: SimpleNamespace) -> None:
    steps = {"steps": 12, "eta": 1.0}
    default = solved(scene, "cell", steps)
    plain = solved(scene, "cell", {**steps, "relaxation": 1.0, "jitter": 0.0})
    tuned = solved(scene, "cell", {**steps, "jitter": 0.5})
    assert tuned.occupancy < 0.03 < 0.05 < plain.occupancy
    assert default.occupancy < 0.7 * plain.occupancy
    assert abs(tuned.spread - 1) < abs(default.spread - 1) < abs(plain.spread - 1)


def test_exact_draws_are_nearer_still(scene: SimpleNamespace) -> None:
    draws = figures(scene, scene.truth.sample(Noise(range(100, 100 + COUNT))))
    assert not missed(draws), draws
    for name in ("cell", "diffpir"):
        found = solved(scene, name, {})
        assert draws.sliced < found.sliced
        assert draws.occupancy < found.occupancy


def test_decoders_that_do_not_sample_are_told_from_those_that_do(scene: SimpleNamespace) -> None:
    """The centre, the mean, a sample of the prior that ignores the bitstream, and one of the cell without a prior."""
    posterior = scene.prior.source.posterior(scene.cell.lower, scene.cell.upper)
    width, noise = scene.cell.upper - scene.cell.lower, Noise(range(100, 100 + COUNT))
    assert missed(solved(scene, "mse", {})) >= {"bias", "spread", "sliced", "occupancy"}
    assert missed(figures(scene, posterior.mean)) == {"spread", "sliced", "occupancy"}
    assert missed(figures(scene, scene.prior.source.sample(noise, SIDE, SIDE))) >= {"spread", "sliced", "inside"}
    assert missed(figures(scene, scene.cell.lower + width * noise.uniform(3, SIDE, SIDE))) >= {"bias", "sliced"}
