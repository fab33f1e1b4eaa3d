"""Closed forms of the mixture against autograd, sampling and limits."""

from __future__ import annotations

import pytest
import torch

from idemcore.errors import UsageError
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_toy import truncated
from idemcore_toy.config import ToyPriorConfig
from idemcore_toy.generator import ToyGenerator
from idemcore_toy.source import MixtureSource

SOURCE = MixtureSource.drawn(components=4, seed=3)


def plane(pixel: list[float]) -> torch.Tensor:
    return torch.tensor(pixel, dtype=torch.float64).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.3, 2.0])
def test_denoiser_is_tweedies_formula_of_the_log_density(sigma: float) -> None:
    clean = SOURCE.sample(Noise([0, 1]), 8, 8).double()
    x = (clean + sigma * Noise([2, 3]).normal(3, 8, 8).double()).requires_grad_()
    (score,) = torch.autograd.grad(SOURCE.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(SOURCE.denoise(x, sigma), x + sigma**2 * score)


@pytest.mark.parametrize("sigma", [0.02, 0.06, 0.2])
def test_denoiser_is_the_mean_of_importance_sampled_posteriors(sigma: float) -> None:
    x = plane([0.45, 0.5, 0.48])
    candidates = SOURCE.sample(Noise([5]), 700, 700).double()
    weight = (-((candidates - x) ** 2).sum(dim=1, keepdim=True) / (2 * sigma**2)).flatten(2).softmax(dim=2)
    error = candidates.flatten(2) - SOURCE.denoise(x, sigma).flatten(2)
    mean, deviation = (weight * error).sum(dim=2), (weight**2 * error**2).sum(dim=2).sqrt()
    assert (mean.abs() < 4 * deviation).all()
    assert (deviation < 0.002).all()


def test_log_density_integrates_to_one() -> None:
    draws = torch.rand(1, 3, 900, 900, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    density = SOURCE.log_density(draws, sigma=0.05).exp()
    assert abs(float(density.mean()) - 1) < 4 * float(density.std()) / 900


def test_small_noise_keeps_the_image_and_large_noise_leaves_the_mean() -> None:
    x = SOURCE.sample(Noise([0]), 16, 16).double()
    torch.testing.assert_close(SOURCE.denoise(x, 1e-6), x, atol=1e-8, rtol=0)
    mean = (SOURCE.weights[:, None] * SOURCE.means).sum(dim=0)[None, :, None, None]
    torch.testing.assert_close(SOURCE.denoise(x, 1e4), mean.expand_as(x), atol=1e-6, rtol=0)


def test_sigma_may_be_a_number_or_one_an_image() -> None:
    x = SOURCE.sample(Noise([0, 1]), 4, 4)
    together = SOURCE.denoise(x, torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(together[:1], SOURCE.denoise(x[:1], 0.1))
    torch.testing.assert_close(together[1:], SOURCE.denoise(x[1:], 0.3))


def test_samples_have_the_mean_and_covariance_of_the_mixture() -> None:
    x = SOURCE.sample(Noise([9]), 500, 500).double().flatten(2)[0]
    mean = SOURCE.weights @ SOURCE.means
    between = torch.einsum("k,kc,kd->cd", SOURCE.weights, SOURCE.means - mean, SOURCE.means - mean)
    covariance = between + torch.diag(SOURCE.weights @ SOURCE.deviations**2)
    torch.testing.assert_close(x.mean(dim=1), mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(x), covariance, atol=2e-4, rtol=0)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1


def test_box_posterior_agrees_with_rejection_sampling() -> None:
    lower, upper = plane([0.40, 0.38, 0.42]), plane([0.50, 0.52, 0.55])
    posterior = SOURCE.posterior(lower, upper)
    pixels = SOURCE.sample(Noise([11]), 1200, 1200).double()
    inside = ((pixels >= lower) & (pixels <= upper)).all(dim=1).flatten()
    accepted = pixels.flatten(2)[0][:, inside]
    count, probability = accepted.shape[1], float(posterior.log_probability.exp())
    assert count > 10_000
    assert abs(float(inside.double().mean()) - probability) < 4 * (probability / inside.numel()) ** 0.5
    spread = posterior.covariance[0, :, :, 0, 0].diagonal().sqrt()
    assert ((accepted.mean(dim=1) - posterior.mean[0, :, 0, 0]).abs() < 4 * spread / count**0.5).all()
    torch.testing.assert_close(torch.cov(accepted), posterior.covariance[0, :, :, 0, 0], atol=2e-5, rtol=0)


def test_posterior_sampler_has_the_posterior_mean_and_covariance() -> None:
    shape = (1, 3, 400, 400)
    lower, upper = plane([0.40, 0.38, 0.42]).expand(shape), plane([0.50, 0.52, 0.55]).expand(shape)
    posterior = SOURCE.posterior(lower, upper)
    draws = posterior.sample(Noise([13]))
    assert ((draws >= lower) & (draws <= upper)).all()
    pixels = draws.flatten(2)[0]
    torch.testing.assert_close(pixels.mean(dim=1), posterior.mean[0, :, 0, 0], atol=4e-4, rtol=0)
    torch.testing.assert_close(torch.cov(pixels), posterior.covariance[0, :, :, 0, 0], atol=2e-5, rtol=0)


def test_law_of_total_expectation_over_all_boxes() -> None:
    edges = torch.linspace(0, 1, 9, dtype=torch.float64)
    lower = torch.stack(torch.meshgrid(edges[:-1], edges[:-1], edges[:-1], indexing="ij")).reshape(1, 3, 1, -1)
    posterior = SOURCE.posterior(lower, lower + 1 / 8)
    probability = posterior.log_probability.exp()
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))
    mean = (probability[:, None] * posterior.mean).sum(dim=(0, 2, 3))
    torch.testing.assert_close(mean, SOURCE.weights @ SOURCE.means)


@pytest.mark.parametrize("low", [-30.0, -8.0, -0.5, 0.2, 7.0, 29.0])
def test_truncated_normals_stay_accurate_in_the_tails(low: float) -> None:
    a = torch.tensor(low, dtype=torch.float64)
    b = a + 0.3
    grid = torch.linspace(low, low + 0.3, 200_001, dtype=torch.float64)
    offset = grid.abs().min() ** 2 / 2
    weight = (offset - grid**2 / 2).exp()
    mean = torch.trapezoid(weight * grid, grid) / torch.trapezoid(weight, grid)
    variance = torch.trapezoid(weight * (grid - mean) ** 2, grid) / torch.trapezoid(weight, grid)
    log_mass = torch.trapezoid(weight, grid).log() - offset - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(truncated.log_mass(a, b), log_mass, rtol=1e-7, atol=1e-7)
    found_mean, found_variance = truncated.moments(a, b)
    torch.testing.assert_close(found_mean, mean, rtol=1e-7, atol=0)
    torch.testing.assert_close(found_variance, variance, rtol=1e-5, atol=0)
    u = torch.tensor([0.0, 0.1, 0.5, 0.9], dtype=torch.float64)
    reached = truncated.log_mass(a, truncated.quantile(u, a, b)[1:]) - truncated.log_mass(a, b)
    torch.testing.assert_close(reached.exp(), u[1:], rtol=1e-6, atol=0)


def test_an_empty_mixture_is_refused(runtime: Runtime) -> None:
    with pytest.raises(UsageError, match="components"):
        ToyGenerator(ToyPriorConfig(components=0), runtime)


def test_the_seed_chooses_the_mixture(runtime: Runtime) -> None:
    means = [ToyGenerator(ToyPriorConfig(seed=seed), runtime).source.means for seed in (0, 0, 1)]
    assert means[0].equal(means[1])
    assert not means[0].equal(means[2])


@pytest.mark.parametrize("sigma", [0.02, 0.1, 1.0])
def test_restoring_draws_from_the_posterior_of_a_noisy_image(sigma: float) -> None:
    """An image of the source, noised and restored, is an image of the source again, of the same mean as `denoise`."""
    clean = SOURCE.sample(Noise([0]), 300, 300)
    x = clean + sigma * Noise([1]).like(clean)
    drawn = SOURCE.restore(x, sigma, Noise([2]))
    for found, wanted in ((drawn.mean(), clean.mean()), (drawn.std(), clean.std())):
        assert float(found) == pytest.approx(float(wanted), abs=1e-3)
    mean = SOURCE.denoise(x, sigma)
    least = (mean - clean).square().mean()
    assert float((drawn - clean).square().mean() / least) == pytest.approx(2, abs=0.05)
    assert float(((drawn - mean) * (mean - clean)).mean() / least) == pytest.approx(0, abs=0.05)
