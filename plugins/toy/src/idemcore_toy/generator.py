"""The toy prior: the mixture source as a diffusion generator whose denoiser is exact."""

from __future__ import annotations

from torch import Tensor

from idemcore.errors import UsageError
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

from .config import ToyPriorConfig
from .source import MixtureSource


class ToyGenerator(DiffusionGenerator):
    """`source` with its closed-form denoiser, exact at every noise level."""

    sigma_min = 1e-3
    sigma_max = 50.0

    def __init__(self, config: ToyPriorConfig, runtime: Runtime) -> None:
        """Raises UsageError without components."""
        if config.components < 1:
            raise UsageError(f"A mixture of {config.components} components is empty.", "Use components=1 or more.")
        self.source = MixtureSource.drawn(config.components, config.seed)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.source.denoise(x, sigma)
