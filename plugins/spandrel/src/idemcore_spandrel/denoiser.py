"""DRUNet, and other networks that are given a map of the noise level, as diffusion generators."""

from __future__ import annotations

from torch import Tensor

from idemcore.errors import InputError
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

from .config import DenoiserConfig
from .levels import LEAST, LevelNetwork, takes_level
from .networks import load


class LevelDenoiser(DiffusionGenerator):
    """E[x0 | x] by a network that sees x beside a plane of sigma, both in [0,1] units.

    DRUNet: Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", TPAMI 2021, trained for noise of
    0 to 50/255. It knows no more noise than that: it restores textures, and draws no picture from noise alone.
    """

    sigma_min = LEAST
    window = 768

    def __init__(self, config: DenoiserConfig, runtime: Runtime) -> None:
        """Raises MissingError if the file is not there, InputError if it is no such network."""
        network = load(config.model)
        if not takes_level(network):
            raise InputError(
                f"{config.model} ({network.architecture.name}) takes no noise level, so it is not a denoiser.",
                f"Use it as a restorer: --generator spandrel --set generator.model={config.model}.",
            )
        self.network = LevelNetwork(network.to(runtime.device), runtime)
        self.sigma_max, self.multiple = self.network.most, self.network.multiple

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """See `LevelNetwork.denoise`."""
        return self.network.denoise(x, sigma)
