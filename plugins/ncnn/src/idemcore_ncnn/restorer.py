"""A network in ncnn format as a restorer."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from idemcore.errors import InputError
from idemcore.noise import Noise
from idemcore.protocols import RestorerGenerator
from idemcore.runtime import Runtime

from .config import NcnnConfig
from .files import files_of

PROBES = (64, 80)
"""Sides of the two squares that show what a network does to the size of an image."""


class NcnnRestorer(RestorerGenerator):
    """Runs a network of one image input (RGB in [0,1]) and one image output on the CPU, in float32 or bfloat16.

        image -> reduced by `shrink` -> mirrored at its edges -> network -> averaged down to the image's size

    A network that enlarges by s gives s x s pixels for each, whose mean is taken: so a super-resolution network, which
    is trained on images with JPEG artefacts, restores at the size that the image has. A network without padding of its
    own, such as waifu2x, gets the mirrored edge that it cuts off. What the network does to the size is tried when it is
    loaded. There is no dial for the level: `sigma` is ignored, and nothing is drawn.
    """

    halo = 16
    window = 256
    """Real-ESRGAN on 256x256 pixels holds about 1 GB."""

    def __init__(self, config: NcnnConfig, runtime: Runtime) -> None:
        """Raises MissingError if the files are not there, InputError if they are no such network."""
        param, weights = files_of(config.model)
        self.net = load(param, weights, runtime.dtype == torch.bfloat16)
        self.scale, self.edge = geometry(self.net, param)
        self.shrink = config.shrink
        self.multiple = 4 * self.shrink
        if self.scale % self.shrink:
            raise InputError(
                f"{param} enlarges by {self.scale}, so it cannot see images reduced by {self.shrink}.",
                "Leave generator.shrink out.",
            )

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """See `RestorerGenerator.restore`; one image after the other."""
        return torch.cat([self._restore(image) for image in x.split(1)]).to(x)

    def _restore(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        whole = mirrored(x.detach().float().cpu(), 0, -height % self.multiple, -width % self.multiple)
        seen = mirrored(F.avg_pool2d(whole, self.shrink), self.edge)
        found = torch.from_numpy(run(self.net, seen[0].numpy()))[None]
        return F.avg_pool2d(found, self.scale // self.shrink)[..., :height, :width]


def load(param: Path, weights: Path, bf16: bool) -> ncnn.Net:
    """The network of two files. Raises InputError if ncnn cannot read them."""
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_bf16_storage = bf16
    net.opt.num_threads = torch.get_num_threads()
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise InputError(f"ncnn cannot read {param} and {weights.name}.", "Fetch both files again.")
    if len(net.input_names()) != 1 or len(net.output_names()) != 1:
        raise InputError(f"{param} does not have one input and one output.", "Bring a network from image to image.")
    return net


def run(net: ncnn.Net, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [3,H,W] -> float32 [3,H',W']. Raises InputError if the network fails on it."""
    image = np.ascontiguousarray(image)  # ncnn reads it where it lies, until the output is there
    extractor = net.create_extractor()
    extractor.input(net.input_names()[0], ncnn.Mat(image))
    failed, output = extractor.extract(net.output_names()[0])
    found = np.array(output, dtype=np.float32)
    if failed or found.ndim != 3 or found.shape[0] != 3:
        raise InputError("The network in ncnn format makes no image of an image.", "Bring one from RGB to RGB.")
    return found


def geometry(net: ncnn.Net, param: Path) -> tuple[int, int]:
    """(s, e): of a square of a pixels the network makes one of s (a - 2 e). Raises InputError if it does not."""
    small, large = (run(net, np.full((3, side, side), 0.5, np.float32)).shape[1] for side in PROBES)
    scale = (large - small) // (PROBES[1] - PROBES[0])
    edge = (PROBES[0] * scale - small) // (2 * scale) if scale else 0
    if scale < 1 or edge < 0 or [scale * (side - 2 * edge) for side in PROBES] != [small, large]:
        raise InputError(
            f"{param} makes squares of {small} and {large} pixels from squares of {PROBES[0]} and {PROBES[1]}.",
            "Bring a network that keeps the size of an image or enlarges it by a whole number.",
        )
    return scale, edge


def mirrored(x: Tensor, edge: int, below: int = 0, beside: int = 0) -> Tensor:
    """[B,C,H,W] grown by `edge` on all sides, and by more at the bottom and right, mirrored as often as that takes."""
    for axis, after in ((-2, edge + below), (-1, edge + beside)):
        length = x.shape[axis]
        place = torch.arange(-edge, length + after) % max(2 * length - 2, 1)
        x = x.index_select(axis, torch.minimum(place, 2 * length - 2 - place))
    return x
