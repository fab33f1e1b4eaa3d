"""After training: scales of the latents as rounding, not noise, leaves them, and how far off the decoded images are."""

from __future__ import annotations

import torch
from torch import Tensor

from .coding import rounder, walk
from .model import LatentModel, bounded, gaussian_likelihood, padded

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


@torch.no_grad()
def error_ratio(model: LatentModel, crops: Tensor) -> float:
    """Rms error of g(y), over `crops` [B,3,H,W], in units of rms(g_s(y_hat + u) - g(y)), u uniform in the cell.

    Above 1 at high rates, as a codec also loses what no latent holds; below where most symbols are 0, which lie nearer
    the middle than u. A decoder, which knows the second error, so learns of the first.
    """
    lost = within = 0.0
    for x in crops.split(16):
        y_hat = _gaussians(model, x)[0]
        decoded = _decoded(model, y_hat, x)
        lost += float((x - decoded).square().sum())
        within += float((_decoded(model, y_hat + rounding_noise(y_hat), x) - decoded).square().sum())
    return (lost / max(within, 1e-12)) ** 0.5


def _decoded(model: LatentModel, y_hat: Tensor, like: Tensor) -> Tensor:
    return model.g_s(y_hat)[..., : like.shape[-2], : like.shape[-1]].clamp(0, 1)


def rounding_noise(y_hat: Tensor) -> Tensor:
    """Uniform in (-1/2, 1/2), of one image's shape, and the same whenever asked."""
    noise = torch.rand(y_hat.shape[1:], generator=torch.Generator().manual_seed(0)) - 0.5
    return noise.to(y_hat)


def _gaussians(model: LatentModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y_hat as it is coded, and its means and scales, [B,M,h,w] each."""
    y = model.g_a(padded(x))
    medians = model.entropy_bottleneck.medians
    z_hat = (model.hyper_latents(y) - medians).round() + medians
    y_hat = walk(model, z_hat, y.shape[-2:], rounder(y)).y_hat
    return y_hat, *model.gaussians(model.hyper_synthesis(z_hat, y.shape[-2:]), y_hat)


def _bits(y_hat: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """[M]: of each channel."""
    return -bounded(gaussian_likelihood(y_hat, means, bounded(scales)), 1e-9).log2().sum(dim=(0, 2, 3))
