"""Noise that belongs to an image, not to a batch: one seeded CPU generator an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def image_seed(seed: int, *keys: str | int) -> int:
    """A 63-bit seed from a user's seed and whatever names the image (its bitstream's hash, the sample's number)."""
    digest = hashlib.sha256("\x1f".join(str(k) for k in (seed, *keys)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Noise:
    """Draws for a batch of B images: image b sees the stream of `seeds[b]`, whatever stands beside it."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @classmethod
    def of_images(cls, seeds: Sequence[int], names: Sequence[str], sample: int = 0) -> Noise:
        """Each image's own stream, from its seed and its name (its bitstream's hash); sample 1 is other than 0."""
        return cls([image_seed(seed, name, sample) for seed, name in zip(seeds, names, strict=True)])

    def __len__(self) -> int:
        return len(self.generators)

    def normal(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """[B, *shape] float32 standard normal."""
        drawn = torch.empty(len(self), *shape)
        for image, generator in zip(drawn, self.generators, strict=True):
            torch.randn(shape, generator=generator, out=image)
        return drawn.to(device)

    def like(self, x: Tensor) -> Tensor:
        """Standard normal noise of x's shape [B,...], on x's device."""
        return self.normal(*x.shape[1:], device=x.device).to(x.dtype)

    def uniform(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """[B, *shape] float32 in [0,1)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(device)
