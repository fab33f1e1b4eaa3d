"""The theorems of idempotent perceptual compression (Xu et al., ICLR 2024), where everything is known exactly."""

from __future__ import annotations

import pytest
import torch

from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_toy.config import STEPS, ToyCodecConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyGenerator

SIDE = 128


@pytest.fixture(params=sorted(STEPS))
def quality(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def squared_errors(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """One number a pixel: pixels are independent, so their spread gives a confidence interval."""
    return (a.double() - b.double()).square().sum(dim=1).flatten()


def test_posterior_samples_are_idempotent(prior: ToyGenerator, runtime: Runtime, quality: int) -> None:
    toy = ToyEncoder(ToyCodecConfig(quality), runtime)
    cell = toy.cell(toy.encode(prior.source.sample(Noise([0, 1]), SIDE, SIDE)), (SIDE, SIDE))
    draw = prior.source.posterior(cell.lower, cell.upper).sample(Noise([2, 3]))
    assert cell.contains((draw * 255).round().byte()).all()


def test_posterior_samples_cost_twice_the_error_of_the_mean(
    prior: ToyGenerator, runtime: Runtime, quality: int
) -> None:
    """E||X - X^||^2 = 2 D, and E||X - (1-a) g - a X^||^2 = (1 + a^2) D on the same bitstream."""
    toy = ToyEncoder(ToyCodecConfig(quality), runtime)
    image = prior.source.sample(Noise([0]), 2 * SIDE, 2 * SIDE)
    cell = toy.cell(toy.encode(image), image.shape[-2:])
    posterior = prior.source.posterior(cell.lower, cell.upper)
    draw = posterior.sample(Noise([2]))
    for share, factor in ((0.0, 1.0), (0.5, 1.25), (1.0, 2.0)):
        error = squared_errors(image, (1 - share) * posterior.mean + share * draw)
        expected = factor * posterior.covariance.diagonal(dim1=1, dim2=2).sum(dim=-1).mean()
        assert abs(float(error.mean() - expected)) < 4 * float(error.std()) / error.numel() ** 0.5


def test_posterior_samples_have_the_law_of_the_source(prior: ToyGenerator, runtime: Runtime) -> None:
    """Perfect realism: the mean decode loses variance, the posterior sample does not."""
    toy = ToyEncoder(ToyCodecConfig(1), runtime)
    image = prior.source.sample(Noise([0]), 2 * SIDE, 2 * SIDE)
    cell = toy.cell(toy.encode(image), image.shape[-2:])
    posterior = prior.source.posterior(cell.lower, cell.upper)
    source, draw, mean = (
        torch.cov(x.double().flatten(2)[0]) for x in (image, posterior.sample(Noise([2])), posterior.mean)
    )
    torch.testing.assert_close(draw, source, atol=1.5e-4, rtol=0)
    assert (mean.diagonal() < 0.9 * source.diagonal()).all()


def test_no_decoder_beats_the_posterior_mean(prior: ToyGenerator, runtime: Runtime, quality: int) -> None:
    toy = ToyEncoder(ToyCodecConfig(quality), runtime)
    image = prior.source.sample(Noise([0]), 2 * SIDE, 2 * SIDE)
    cell = toy.cell(toy.encode(image), image.shape[-2:])
    mean = prior.source.posterior(cell.lower, cell.upper).mean
    assert squared_errors(image, mean).mean() < 1.001 * squared_errors(image, cell.centre).mean()
