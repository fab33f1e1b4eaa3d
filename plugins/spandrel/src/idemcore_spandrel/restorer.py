"""Any restoration or super-resolution network that spandrel knows, as a restorer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from spandrel import ModelTiling
from torch import Tensor

from idemcore.errors import InputError
from idemcore.noise import Noise
from idemcore.pipeline.tiles import mirrored
from idemcore.protocols import RestorerGenerator
from idemcore.runtime import Runtime

from .config import RestorerConfig
from .levels import LevelNetwork, takes_level
from .networks import Network, load

SMALLEST = 64
"""Smaller sides are mirrored up to this: attention in windows and networks of many resolutions need some room."""
WINDOWS = {ModelTiling.SUPPORTED: 512, ModelTiling.DISCOURAGED: 1024, ModelTiling.INTERNAL: 1 << 16}
"""Side of the tiles, in pixels, by what spandrel says of cutting; one that cuts by itself sees the whole image."""


class SpandrelRestorer(RestorerGenerator):
    """RGB in [0,1] to RGB in [0,1], in one pass; a network of grey images sees each colour by itself.

    One that enlarges by s is averaged down: each pixel is the mean of s x s. One that is given a noise level, such as
    DRUNet, gets `sigma`; all others ignore it. Tiles are 512 pixels, or 256 for networks that enlarge, and 1024 or the
    whole image for networks that spandrel says look far, unless the user asks for others.
    """

    def __init__(self, config: RestorerConfig, runtime: Runtime) -> None:
        """Raises MissingError if the file is not there, InputError if it is no such network."""
        self.runtime, self.shrink = runtime, config.shrink
        network = load(config.model)
        if network.scale % self.shrink:
            raise InputError(
                f"{config.model} enlarges by {network.scale}, so it cannot see images reduced by {self.shrink}.",
                "Leave generator.shrink out.",
            )
        self.network = network.to(runtime.device)
        self.multiple = network.size_requirements.multiple_of * self.shrink
        self.window = window_of(network)

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """See `RestorerGenerator.restore`; one image after the other."""
        if takes_level(self.network):
            with torch.no_grad():
                return LevelNetwork(self.network, self.runtime).denoise(x, sigma)
        images = zip(x.detach().split(1), noise.generators, strict=True)
        return torch.cat([self._restore(image, random.initial_seed()) for image, random in images])

    def _restore(self, x: Tensor, seed: int) -> Tensor:
        height, width = x.shape[-2:]
        least = max(SMALLEST, self.network.size_requirements.minimum) * self.shrink
        whole = mirrored(x.clamp(0, 1), (_up(max(height, least), self.multiple), _up(max(width, least), self.multiple)))
        found = self._run(F.avg_pool2d(whole, self.shrink), seed)
        return F.avg_pool2d(found, self.network.scale // self.shrink)[..., :height, :width]

    def _run(self, x: Tensor, seed: int) -> Tensor:
        """[1,3,H,W] -> [1,3,sH,sW]. Some networks draw: the random numbers are the image's own."""
        planes, dtype = x.reshape(-1, self.network.input_channels, *x.shape[-2:]), self.runtime.dtype
        half = dtype != torch.float32 and self.network.supports_bfloat16
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.autocast(x.device.type, dtype=dtype, enabled=half):
            torch.manual_seed(seed)
            found = torch.cat([self.network(plane.contiguous()) for plane in planes.split(1)])
        return found.float().reshape(1, 3, *found.shape[-2:])


def window_of(network: Network) -> int:
    """Side of the tiles that it is shown, in pixels."""
    side = WINDOWS[network.tiling]
    return 256 if network.scale > 1 and side == WINDOWS[ModelTiling.SUPPORTED] else side


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
