"""Distances between feature sets: known values, invariances, and the features behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from idemcore.io.images import to_bytes
from idemcore.metrics.distance import frechet, kernel
from idemcore.metrics.features import extractor, patches


def gaussian(count: int, dim: int, mean: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dim))


def test_frechet_of_a_set_with_itself_is_zero() -> None:
    a = gaussian(50, 80)
    assert frechet(a, a) == pytest.approx(0, abs=1e-8)


def test_frechet_is_the_closed_form_of_gaussians() -> None:
    """For N(0, I) and N(m, s^2 I) in D dimensions: D m^2 + D (1 - s)^2."""
    a, b = gaussian(200_000, 3), gaussian(200_000, 3, mean=0.5, scale=2.0, seed=1)
    assert frechet(a, b) == pytest.approx(3 * 0.25 + 3 * 1.0, rel=0.02)


@pytest.mark.parametrize("count", [20, 200])
def test_frechet_agrees_with_the_root_of_the_covariances(count: int) -> None:
    """Against the definition by eigenvalues, with fewer and with more rows than columns."""
    a, b = gaussian(count, 40) @ np.diag(np.linspace(0.5, 2, 40)), gaussian(count + 7, 40, 0.1, seed=2)
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(product).real.clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.cov(a.T).trace() + np.cov(b.T).trace() - 2 * root
    assert frechet(a, b) == pytest.approx(expected, rel=1e-5)


def test_kernel_is_unbiased_and_grows_with_a_shift() -> None:
    same = [kernel(gaussian(60, 8, seed=k), gaussian(60, 8, seed=100 + k)) for k in range(200)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(len(same))
    near, far = (kernel(gaussian(300, 8), gaussian(300, 8, mean=m, seed=5)) for m in (0.3, 1.0))
    assert 0 < near < far


def test_kernel_is_the_mean_over_pairs() -> None:
    a, b = gaussian(4, 5), gaussian(3, 5, seed=9)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    pairs_a = [k(a[i], a[j]) for i in range(4) for j in range(4) if i != j]
    pairs_b = [k(b[i], b[j]) for i in range(3) for j in range(3) if i != j]
    within = np.mean(pairs_a) + np.mean(pairs_b)
    assert kernel(a, b) == pytest.approx(within - 2 * np.mean([[k(x, y) for y in b] for x in a]))


def test_patches_tile_the_image_and_drop_the_rest() -> None:
    image = torch.arange(2 * 3 * 130 * 70).reshape(2, 3, 130, 70).float()
    cut = patches(image, 64)
    assert cut.shape == (4, 3, 64, 64)
    assert torch.equal(cut[1], image[0, :, 64:128, :64])
    assert torch.equal(cut[2], image[1, :, :64, :64])


def test_efficientnet_features_tell_textures_apart() -> None:
    rng = torch.Generator().manual_seed(0)
    smooth = torch.rand(3, 1, 6, generator=rng).repeat_interleave(64, 2).expand(3, 64, -1)
    rough = torch.rand(3, 64, 6 * 64, generator=rng)
    extract = extractor("efficientnet-lite0", "cpu")
    features = [extract(to_bytes(image), 64).double().numpy() for image in (smooth, smooth.flip(2), rough)]
    assert features[0].shape == (6, 1280)
    np.testing.assert_allclose(features[0], features[1][::-1], atol=1e-5)
    assert kernel(features[0], features[2]) > 10 * abs(kernel(features[0], features[1]))
