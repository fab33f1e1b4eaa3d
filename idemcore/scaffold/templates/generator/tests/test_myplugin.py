"""The prior: every law of idem's conformance kit, then what is special about it."""

from __future__ import annotations

from typing import Any

import torch

from idemcore.runtime import Runtime
from idemcore.testing import parametrize_with_checks

from myplugin.config import PriorConfig
from myplugin.prior import GaussianPrior

CPU = Runtime(torch.device("cpu"), torch.float32)


@parametrize_with_checks("my-plugin")
def test_conformance(check: Any) -> None:
    check()


def test_without_a_spectrum_each_pixel_is_denoised_alone() -> None:
    prior = GaussianPrior(PriorConfig(contrast=0.2, exponent=0.0), CPU)
    x = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(prior.denoise(x, 0.1), 0.5 + 0.8 * (x - 0.5))


def test_noise_of_high_frequency_is_removed_and_a_smooth_image_kept() -> None:
    prior = GaussianPrior(PriorConfig(), CPU)
    smooth = 0.5 + 0.3 * torch.sin(torch.arange(64) * torch.pi / 32).expand(1, 3, 64, 64)
    noisy = smooth + 0.1 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    assert (prior.denoise(noisy, 0.1) - smooth).std() < 0.7 * (noisy - smooth).std()
