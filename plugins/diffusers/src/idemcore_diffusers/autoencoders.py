"""Images to scaled latents and back, by the autoencoders of diffusers."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def encode(autoencoder: Any, images: Tensor) -> Tensor:
    """[B,3,H,W] in [0,1] -> float32 latents [B,C,h,w] at the scale of the denoiser: the posterior's mode."""
    found = autoencoder.encode((2 * images - 1).to(autoencoder.dtype))
    latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latent
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


def _scaling(autoencoder: Any) -> tuple[float, float]:
    """(shift, scale) of its latents."""
    config = autoencoder.config
    return float(getattr(config, "shift_factor", None) or 0.0), float(config.scaling_factor)
