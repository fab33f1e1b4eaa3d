"""Settings of the diffusion priors. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PhotoConfig:
    """Settings of `ddpm-photo`."""

    weights: str = "bundled"  # `bundled`, or the path of a weights.safetensors that `idem train ddpm` wrote


@dataclass
class AdmConfig:
    """Settings of a discrete DDPM with the ADM UNet; the network's shape is read from its weights."""

    weights: str = ""  # path of a .safetensors or .pt state dict
    schedule: str = "linear"  # noise schedule of the training: linear or cosine
    steps: int = 1000  # noise levels of the training


@dataclass
class FfhqConfig(AdmConfig):
    """Settings of `ddpm-ffhq`: faces, 256x256."""

    weights: str = "ddpm-ffhq"  # path of ffhq_10m.pt, released with DPS, or of a state dict of this layout


@dataclass
class ImagenetConfig(AdmConfig):
    """Settings of `ddpm-imagenet`: ImageNet, 256x256, unconditional."""

    weights: str = "ddpm-imagenet"  # path of 256x256_diffusion_uncond.pt, released with guided-diffusion


PUBLISHED = {
    "ddpm-ffhq": "ffhq_10m.pt, released with DPS (Chung et al., ICLR 2023)",
    "ddpm-imagenet": "256x256_diffusion_uncond.pt, released with guided-diffusion (Dhariwal & Nichol, NeurIPS 2021)",
}
"""Published checkpoints by the names that `weights` may hold, and where each comes from."""
