"""The bundled prior for photographs as a diffusion generator."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.networks.border import image_by_image, noise_levels, pad_to_multiple
from idemcore.networks.residual_unet import ResidualUNet, denoise
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import fill, read_safetensors

from .config import PhotoConfig

BUNDLED = Path(__file__).parent / "weights" / "ddpm-photo.safetensors"
WEIGHTS_HINT = "Train one with `idem train ddpm FOLDER`, or leave generator.weights out for the bundled one."


class PhotoGenerator(DiffusionGenerator):
    """Denoises photographs of any size: the network is fully convolutional and sees absolute noise levels."""

    sigma_min = 0.001
    sigma_max = 10.0
    warm_start = 1.0
    """It knows textures: measured in docs/solvers.md."""
    halo = 24
    """What lies beyond moves a pixel by at most 0.02 of 255 levels at sigma 0.1, and by 0.5 at sigma 2."""

    def __init__(self, config: PhotoConfig, runtime: Runtime) -> None:
        """Raises MissingError if the weights are not there, InputError if they are damaged or fit another network."""
        self.runtime = runtime
        network = load_network(config.weights)
        self.multiple = network.multiple
        self.network = network.to(runtime.device).to(memory_format=torch.channels_last)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Noise below `sigma_min` is taken for `sigma_min`, the least that the network was trained on."""
        return image_by_image(self._denoise, x, noise_levels(sigma, x).clamp(min=self.sigma_min))

    def _denoise(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = pad_to_multiple(2 * x - 1, self.multiple).contiguous(memory_format=torch.channels_last)
        dtype = self.runtime.dtype
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
            # The network knows images in [-1,1], where noise is twice as large.
            x0 = denoise(self.network, padded, 2 * level)
        return (x0[..., :height, :width].contiguous() + 1) / 2


def load_network(weights: str, hint: str = WEIGHTS_HINT) -> ResidualUNet:
    """The network of a `weights.safetensors` (`bundled`: the one inside the package), frozen, float32, on the CPU.

    Raises MissingError if the file is not there, InputError if it cannot be read; `hint` says what to give instead.
    """
    bundled = weights == "bundled"
    path = BUNDLED if bundled else Path(weights)
    hint = "Reinstall the plugin with `pip install --force-reinstall idemcore-ddpm`." if bundled else hint
    state, metadata = read_safetensors(path, hint)
    try:
        channels, blocks = json.loads(metadata["channels"]), int(metadata["blocks"])
        with torch.random.fork_rng(devices=[]):
            network = ResidualUNet(channels, blocks)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} does not say `channels` and `blocks` of a photograph prior.", hint) from error
    fill(network, state, path, hint)
    return network
