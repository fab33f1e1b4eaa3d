"""Figures of images against the posterior: of exact draws, and of images made wrong on purpose."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_toy.cell import ToyCell
from idemcore_toy.config import ToyCodecConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyGenerator
from idemcore_toy.source import MixtureSource
from idemcore_toy.truth import POSITIONS, Truth

COUNT, SIDE = 32, 32
SEEDS, OTHERS = range(100, 100 + COUNT), range(200, 200 + COUNT)
SURE = 2.2
"""Kolmogorov-Smirnov: chance passes SURE / sqrt(n), or SURE sqrt(1/n + 1/m), once in 8,000 tests."""


@pytest.fixture
def original(prior: ToyGenerator) -> Tensor:
    return prior.source.sample(Noise(range(COUNT)), SIDE, SIDE)


@pytest.fixture
def cell(runtime: Runtime, original: Tensor) -> ToyCell:
    toy = ToyEncoder(ToyCodecConfig(quality=3), runtime)
    return toy.cell(toy.encode(original), (SIDE, SIDE))


@pytest.fixture
def truth(prior: ToyGenerator, cell: ToyCell) -> Truth:
    return Truth(cell, prior.source)


def most_frequent_cell(source: MixtureSource, runtime: Runtime) -> tuple[Tensor, Tensor, Tensor]:
    """Edges [3] of the cell that most pixels of a large image fall into, and these pixels [n,3]."""
    toy, image = ToyEncoder(ToyCodecConfig(quality=3), runtime), source.sample(Noise([0]), 700, 700)
    pixels = image.double().flatten(2)[0].T
    symbols = toy.quantise(image).flatten(2)[0].T
    kinds, kind = torch.unique(symbols, dim=0, return_inverse=True)
    frequent = kind.bincount().argmax()
    lower, upper = toy.box(kinds[frequent])
    return lower.double(), upper.double(), pixels[kind == frequent]


def kolmogorov(a: Tensor, b: Tensor) -> float:
    """Largest difference of two empirical distribution functions."""
    places = torch.cat([a, b])
    shares = [torch.searchsorted(x.sort().values, places, right=True) / len(x) for x in (a, b)]
    return float((shares[0] - shares[1]).abs().max())


def test_samples_of_the_prior_inside_the_cell_follow_the_posterior(prior: ToyGenerator, runtime: Runtime) -> None:
    """Theorem 2 of Xu et al., by which an unconditional prior is enough; in many directions of colour."""
    lower, upper, accepted = most_frequent_cell(prior.source, runtime)
    count = len(accepted)
    edges = [edge[None, :, None, None].expand(1, 3, 1, count) for edge in (lower, upper)]
    draws = prior.source.posterior(*edges).sample(Noise([1]))[0, :, 0].T
    uniform = lower + (upper - lower) * torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    directions = torch.cat([torch.eye(3), torch.randn(9, 3, generator=torch.Generator().manual_seed(3))]).double()
    bound = SURE * math.sqrt(2 / count)
    assert count > 20_000
    assert max(kolmogorov(accepted @ d, draws @ d) for d in directions) < bound
    assert min(kolmogorov(accepted @ d, uniform @ d) for d in directions) > 3 * bound, "a wrong law must show"


def test_occupancy_in_closed_form_is_that_of_samples_of_the_prior(prior: ToyGenerator, runtime: Runtime) -> None:
    lower, upper, accepted = most_frequent_cell(prior.source, runtime)
    wanted = prior.source.posterior(*(edge[None, :, None, None] for edge in (lower, upper))).occupancy(POSITIONS)
    position = ((accepted - lower) / (upper - lower) - 0.5).T.contiguous().sort(dim=1).values
    found = torch.searchsorted(position, POSITIONS.expand(3, -1).contiguous(), right=True) / len(accepted)
    assert float((found - wanted[:, 0, :, 0, 0].T).abs().max()) < SURE / math.sqrt(len(accepted))
    torch.testing.assert_close(wanted[[0, -1], 0, :, 0, 0], torch.tensor([[0.0] * 3, [1.0] * 3]).double())


def test_positions_of_the_originals_are_occupied_as_the_posterior_says(truth: Truth, original: Tensor) -> None:
    """And of posterior samples, which have the law of the originals; the centres and the posterior mean do not."""
    bound = SURE / math.sqrt(3 * COUNT * SIDE**2)
    mean = truth.source.posterior(truth.cell.lower, truth.cell.upper).mean
    for image in (original, truth.sample(Noise(SEEDS))):
        assert truth.figures(image, original, Noise(OTHERS)).occupancy < bound
    for image in (truth.cell.centre, mean):
        assert truth.figures(image, original, Noise(OTHERS)).occupancy > 10 * bound


def test_figures_of_exact_draws_are_those_of_a_sampler(truth: Truth, original: Tensor) -> None:
    found = truth.figures(truth.sample(Noise(SEEDS)), original, Noise(OTHERS))
    groups, pixels = len(truth.count), COUNT * SIDE**2
    # A group's mean of n draws misses by the n-th part of its variance.
    assert found.bias**2 == pytest.approx(groups / pixels, rel=0.75)
    assert found.spread == pytest.approx(1, abs=0.02)
    assert found.covariance < 0.02
    assert found.sliced < 0.35
    assert found.inside == 1
    assert found.error == pytest.approx(2, abs=0.04)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_the_trade_off_is_seen_as_spread_and_as_error(truth: Truth, original: Tensor, share: float) -> None:
    """(1 - a) mean + a draw: spread a^2 and error 1 + a^2."""
    mean = truth.source.posterior(truth.cell.lower, truth.cell.upper).mean
    image = (1 - share) * mean + share * truth.sample(Noise(SEEDS))
    found = truth.figures(image, original, Noise(OTHERS))
    assert found.spread == pytest.approx(share**2, abs=0.02 * max(1, share**2))
    assert found.error == pytest.approx(1 + share**2, abs=0.04)
    assert found.bias < 0.06 * max(1, share)


@pytest.mark.parametrize("kind", ["centre", "draws", "uniform"])
def test_the_error_is_made_of_spread_and_bias(truth: Truth, original: Tensor, kind: str) -> None:
    """E||X - X^||^2 = D (1 + spread + bias^2) for any decoder: given the bitstream, X and X^ are independent."""
    lower, upper = truth.cell.lower, truth.cell.upper
    images = {
        "centre": truth.cell.centre,
        "draws": truth.sample(Noise(SEEDS)) + 0.01,
        "uniform": lower + (upper - lower) * Noise(SEEDS).uniform(3, SIDE, SIDE),
    }
    found = truth.figures(images[kind], original, Noise(OTHERS))
    errors = (images[kind] - original).double().square().sum(dim=1) / truth.distortion
    uncertain = float(errors.std()) / errors.numel() ** 0.5
    assert found.error == pytest.approx(1 + found.spread + found.bias**2, abs=4 * uncertain)
    assert found.bias > 0.1


def test_sliced_distance_is_how_far_pixels_are_to_move(truth: Truth, original: Tensor) -> None:
    draws = truth.sample(Noise(SEEDS))
    assert truth.figures(draws, original, Noise(SEEDS)).sliced == pytest.approx(0, abs=1e-4)
    for levels in (1, 3):
        moved = truth.figures(draws + levels / 255, original, Noise(SEEDS)).sliced
        # Along a random direction u, (1,1,1) moves by |u_1 + u_2 + u_3|, on average sqrt(3) / 2.
        assert moved == pytest.approx(levels * 3**0.5 / 2, rel=0.25)


def test_what_is_outside_or_on_a_face_shows(truth: Truth, original: Tensor) -> None:
    draws, width = truth.sample(Noise(SEEDS)), truth.cell.upper - truth.cell.lower
    beyond = truth.figures(draws + width / 2, original, Noise(OTHERS))
    assert beyond.inside == pytest.approx(float(truth.occupancy(torch.zeros(1))), abs=0.01)
    lower, upper = truth.cell.lower + 0.2 * width, truth.cell.upper - 0.2 * width
    piled = torch.where(draws < lower, truth.cell.lower, torch.where(draws > upper, truth.cell.upper, draws))
    on_faces = truth.figures(piled, original, Noise(OTHERS))
    assert on_faces.inside == 1
    ends = truth.occupancy(torch.tensor([-0.3, 0.3]))
    assert on_faces.occupancy == pytest.approx(max(float(ends[0]), 1 - float(ends[1])), abs=0.01)
