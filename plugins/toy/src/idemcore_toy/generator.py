"""The toy priors: the mixture source as a diffusion generator, whose denoiser is exact, and as a restorer."""

from __future__ import annotations

from torch import Tensor

from idemcore.errors import UsageError
from idemcore.noise import Noise
from idemcore.protocols import DiffusionGenerator, RestorerGenerator
from idemcore.runtime import Runtime

from .config import ToyPriorConfig
from .source import MixtureSource


class ToyGenerator(DiffusionGenerator):
    """`source` with its closed-form denoiser, exact at every noise level."""

    sigma_min = 1e-3
    sigma_max = 50.0

    def __init__(self, config: ToyPriorConfig, runtime: Runtime) -> None:
        """Raises UsageError without components."""
        self.source = _source(config)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.source.denoise(x, sigma)


class ToyRestorer(RestorerGenerator):
    """Draws from `source` given an image with Gaussian noise of the level, exactly."""

    def __init__(self, config: ToyPriorConfig, runtime: Runtime) -> None:
        """Raises UsageError without components."""
        self.source = _source(config)

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        return self.source.restore(x, sigma, noise)


def _source(config: ToyPriorConfig) -> MixtureSource:
    if config.components < 1:
        raise UsageError(f"A mixture of {config.components} components is empty.", "Use components=1 or more.")
    return MixtureSource.drawn(config.components, config.seed)
