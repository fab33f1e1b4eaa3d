"""Images to scaled latents and back, by the autoencoders of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(autoencoder: Any, images: Tensor) -> Tensor:
    """[B,3,H,W] in [0,1] -> float32 latents [B,C,h,w] at the scale of the denoiser: the posterior's mode."""
    found = autoencoder.encode((2 * images - 1).to(autoencoder.dtype))
    if hasattr(found, "latent_dist"):
        latents = found.latent_dist.mode()
    else:
        latents = found.latent if hasattr(found, "latent") else found.latents
    shift, scale = _scaling(autoencoder)
    return (latents.float() - shift) * scale


def decode(autoencoder: Any, latents: Tensor) -> Tensor:
    """The inverse of `encode`, not clamped: [B,3,H,W] in [0,1]."""
    shift, scale = _scaling(autoencoder)
    images = autoencoder.decode((latents / scale + shift).to(autoencoder.dtype)).sample
    return (images.float() + 1) / 2


def reduction(autoencoder: Any) -> int:
    """Pixels beside each other for one latent."""
    ratio = getattr(autoencoder, "spatial_compression_ratio", None)  # of those that say so, such as Sana's
    return int(ratio or 2 ** (len(autoencoder.config.block_out_channels) - 1))


def _scaling(autoencoder: Any) -> tuple[Tensor | float, Tensor | float]:
    """(shift, scale) of its latents, by channel [1,C,1,1] where it says so."""
    config = autoencoder.config
    scale = float(config.scaling_factor)
    mean, deviation = (getattr(config, f"latents_{name}", None) for name in ("mean", "std"))
    if mean is None or deviation is None:
        return float(getattr(config, "shift_factor", None) or 0.0), scale
    mean, deviation = (
        torch.tensor(values, device=autoencoder.device).view(1, -1, 1, 1) for values in (mean, deviation)
    )
    return mean, scale / deviation
