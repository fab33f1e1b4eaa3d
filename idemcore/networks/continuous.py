"""Denoisers made of networks that know any noise level: flow matching, and EDM's preconditioning.

z = (1 - t) (2 x - 1)             flow matching: x = x0 + sigma n, t = s / (1 + s) in 0..1, where s = 2 sigma
z = (2 x - 1) / sqrt(s^2 + d^2)   EDM, where d is the deviation of its data (Karras et al., NeurIPS 2022, table 1)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..protocols import DiffusionGenerator
from .border import image_by_image, noise_levels, pad_to_multiple
from .predictions import Network

FlowPrediction = Literal["velocity", "to-image", "x", "eps"]
"""velocity: n - (2 x0 - 1), as most; to-image: its negative, of networks whose time runs from noise to image."""
T_MAX = 0.995
"""Of a flow: beyond it, noise is 200 times the image."""


class FlowDenoiser(DiffusionGenerator):
    """E[x0 | x] by a network of flow matching (Lipman et al., ICLR 2023; Liu et al., ICLR 2023).

    velocity  2 x0 - 1 = z - t out        x    2 x0 - 1 = out
    to-image  2 x0 - 1 = z + t out        eps  2 x0 - 1 = (z - t out) / (1 - t)
    """

    sigma_min, sigma_max = 1e-3, T_MAX / (1 - T_MAX) / 2

    def __init__(
        self, network: Network, predicts: FlowPrediction = "velocity", time: Callable[[Tensor], Tensor] = lambda t: t,
        multiple: int = 1, size: tuple[int, int] | None = None, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        """`time` turns t [B], 1 for pure noise, into what the network is given, e.g. `lambda t: 1000 * t`.

        The network takes sides that are multiples of `multiple`, or images of `size` (H, W) alone, in `dtype`.
        """
        self.network, self.predicts, self.time = network, predicts, time
        self.multiple, self.size, self.dtype = multiple, size, dtype

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """See `DiffusionGenerator.denoise`."""
        return image_by_image(self._denoise, x, noise_levels(sigma, x))

    def _denoise(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        t = 2 * level / (1 + 2 * level)
        share = t.to(x)[:, None, None, None]
        z = (1 - share) * (2 * x - 1)
        output = self.network(pad_to_multiple(z, self.multiple).to(self.dtype), self.time(t))
        return (self._image(z, output[:, :3, :height, :width].to(x), share) + 1) / 2

    def _image(self, z: Tensor, output: Tensor, t: Tensor) -> Tensor:
        if self.predicts == "x":
            return output
        if self.predicts == "eps":
            return (z - t * output) / (1 - t)
        return z - t * output if self.predicts == "velocity" else z + t * output


class EdmDenoiser(DiffusionGenerator):
    """E[x0 | x] by a network F in EDM's preconditioning, for images in [-1,1] and noise s = 2 sigma.

    2 x0 - 1 = c_skip (2 x - 1) + c_out F(c_in (2 x - 1), ln(s) / 4)
    c_skip = d^2 / (s^2 + d^2)      c_out = s d / sqrt(s^2 + d^2)      c_in = 1 / sqrt(s^2 + d^2)
    """

    def __init__(
        self, network: Network, deviation: float = 0.5, sigma_min: float = 0.001, sigma_max: float = 40.0,
        multiple: int = 1, size: tuple[int, int] | None = None, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        """`deviation`: d, EDM's sigma_data. `sigma_min` and `sigma_max` in [0,1] units: half of EDM's own.

        The network takes sides that are multiples of `multiple`, or images of `size` (H, W) alone, in `dtype`.
        """
        self.network, self.deviation, self.sigma_min, self.sigma_max = network, deviation, sigma_min, sigma_max
        self.multiple, self.size, self.dtype = multiple, size, dtype

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """See `DiffusionGenerator.denoise`."""
        return image_by_image(self._denoise, x, noise_levels(sigma, x))

    def _denoise(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        s, d = (2 * level).to(x)[:, None, None, None], self.deviation
        norm = (s.square() + d**2).sqrt()
        z = (2 * x - 1) / norm
        output = self.network(pad_to_multiple(z, self.multiple).to(self.dtype), (2 * level).log() / 4)
        image = d**2 / norm.square() * (2 * x - 1) + s * d / norm * output[:, :3, :height, :width].to(x)
        return (image + 1) / 2
