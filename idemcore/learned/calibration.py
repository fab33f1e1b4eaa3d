"""After training: scales of the latents as rounding, not noise, leaves them."""

from __future__ import annotations

import torch
from torch import Tensor

from .coding import rounder, walk
from .model import LatentModel, bounded, gaussian_likelihood

GAINS = torch.linspace(-0.5, 1.2, 35).exp()
"""From 0.6 to 3.3, 5 % apart."""


@torch.no_grad()
def calibrate(model: LatentModel, crops: Tensor) -> None:
    """Multiplies the scales of each latent channel by the gain under which `crops` [B,3,H,W] cost the fewest bits.

    In training the entropy model sees latents with uniform noise for rounding, also as context; with rounded ones it is
    surer, or less sure, than it should be. No cell changes: means stay what they were.
    """
    parts = [_gaussians(model, some) for some in crops.split(16)]
    y_hat, means, scales = (torch.cat(part) for part in zip(*parts, strict=True))
    bits = torch.stack([_bits(y_hat, means, gain * scales) for gain in GAINS.to(scales)])
    model.widen(GAINS.to(scales)[bits.argmin(dim=0)])


def _gaussians(model: LatentModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y_hat as it is coded, and its means and scales, [B,M,h,w] each."""
    y = model.g_a(x)
    medians = model.entropy_bottleneck.medians
    z_hat = (model.hyper_analysis(y) - medians).round() + medians
    y_hat = walk(model, z_hat, rounder(y)).y_hat
    return y_hat, *model.gaussians(model.h_s(z_hat), y_hat)


def _bits(y_hat: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """[M]: of each channel."""
    return -bounded(gaussian_likelihood(y_hat, means, bounded(scales)), 1e-9).log2().sum(dim=(0, 2, 3))
