"""Latent diffusion and flow models of diffusers as restorers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from idemcore.networks.border import noise_levels, pad_to_multiple
from idemcore.networks.predictions import Prediction, image_of
from idemcore.noise import Noise
from idemcore.protocols import RestorerGenerator
from idemcore.runtime import Runtime

from .autoencoders import decode, encode, reduction
from .config import LatentConfig
from .levels import Moment
from .pipelines import load
from .quiet import quiet

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x"}
"""From the scheduler's word."""
LEAST_WINDOW = 512
CALLED = 32
"""Sides that every pipeline's `__call__` takes are multiples of this."""


class LatentRestorer(RestorerGenerator):
    """One step of a latent model (LATINO: Spagnoletti et al., ICCV 2025, arXiv 2503.12615, its inner step).

        z  = E(x)
        s  = strength rms(E(x + sigma n) - z)      what an error of sigma does to this latent
        z' = z and noise of level s, as the model's training mixes them
        x  = D(one step of the model from z' to no noise)

    `sigma` is an error of pixels; how far it moves a latent depends on the autoencoder and on the image, so it is tried
    on the image itself, for one more pass of the encoder. LATINO takes fixed timesteps in its place. Noise n belongs to
    the image. The pipeline's own `__call__` makes the step, with the scheduler of LCM for models of discrete timesteps,
    whose one step of any other network ends at its estimate. The autoencoder alone loses detail: solvers project after.
    """

    halo = 64

    def __init__(self, config: LatentConfig, runtime: Runtime) -> None:
        """Raises MissingError if the model or a library is not here, InputError or UsageError for what fits not."""
        self.config, self.loaded = config, load(config, runtime)
        pixels = reduction(self.loaded.autoencoder)
        self.multiple = math.lcm(pixels * units(self.loaded.network), CALLED if self.loaded.arguments else 1)
        sample_size = getattr(self.loaded.network.config, "sample_size", None)
        self.window = max(LEAST_WINDOW, pixels * sample_size if isinstance(sample_size, int) else 1024)

    @torch.no_grad()
    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """See `RestorerGenerator.restore`; one image after the other."""
        drawn, levels = noise.like(x), noise_levels(sigma, x)
        padded = pad_to_multiple(x, self.multiple)
        latents = torch.cat([self._encode(image) for image in padded.split(1)])
        moved = torch.cat([self._encode(image) for image in self._noisy(x, drawn, levels).split(1)]) - latents
        errors = moved.square().flatten(1).mean(dim=1).sqrt() * self.config.strength
        fresh = noise.like(latents)
        restored = [self._restore(*one) for one in zip(latents[:, None], errors.tolist(), fresh[:, None], strict=True)]
        return torch.cat(restored)[..., : x.shape[-2], : x.shape[-1]].to(x)

    def _noisy(self, x: Tensor, drawn: Tensor, levels: Tensor) -> Tensor:
        return pad_to_multiple(x + levels[:, None, None, None] * drawn, self.multiple)

    def _encode(self, image: Tensor) -> Tensor:
        return encode(self.loaded.autoencoder, image)

    def _restore(self, latent: Tensor, level: float, drawn: Tensor) -> Tensor:
        """An image [1,3,H,W] of a latent [1,C,h,w]."""
        moment = self.loaded.levels.nearest(level)
        return decode(self.loaded.autoencoder, self._step(moment.signal * latent + moment.noise * drawn, moment))

    def _step(self, latent: Tensor, moment: Moment) -> Tensor:
        """A latent without noise of one [1,C,h,w] with that of `moment`."""
        pipeline = self.loaded.pipeline
        if not hasattr(pipeline, "encode_prompt"):
            return self._estimate(latent, moment)
        height, width = (side * reduction(self.loaded.autoencoder) for side in latent.shape[-2:])
        named = {**self.loaded.arguments, **moment.named, "height": height, "width": width}
        packed = hasattr(pipeline, "_pack_latents")
        given = pipeline._pack_latents(latent, *latent.shape) if packed else latent
        with torch.random.fork_rng(devices=_devices(latent)), quiet():
            found = pipeline(
                latents=given.to(self.loaded.network.dtype), output_type="latent", return_dict=False, **named
            )[0]
        if packed:
            found = pipeline._unpack_latents(found, height, width, reduction(self.loaded.autoencoder))
        return found.float()

    def _estimate(self, latent: Tensor, moment: Moment) -> Tensor:
        """The estimate of a network without a prompt, whose pipeline starts at pure noise only."""
        network, predicts = self.loaded.network, self.loaded.pipeline.scheduler.config.prediction_type
        (t,) = moment.named["timesteps"]
        output = network(latent.to(network.dtype), torch.full((1,), t, device=latent.device)).sample.float()
        return image_of(PREDICTIONS[predicts], latent, output, torch.tensor(moment.signal**2, dtype=torch.float64))


def units(network: Any) -> int:
    """The unit of the sides of a latent that a network takes: as often as a UNet halves it, or patches of 2 or more."""
    widths = getattr(network.config, "block_out_channels", None)
    if widths:
        return 2 ** (len(widths) - 1)
    return max(2, int(network.config.patch_size))


def _devices(x: Tensor) -> list[torch.device]:
    return [x.device] if x.device.type == "cuda" else []
