"""A UNet of diffusers behind idem's border: images in [0,1] and noise levels in, estimates of x0 out."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMScheduler, UNet2DModel

from idemcore.errors import MissingError, UsageError
from idemcore.networks.predictions import Prediction, TimestepDenoiser
from idemcore.runtime import Runtime

from .plugin import DiffusersConfig

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x"}
"""From the scheduler's word."""


class DiffusersPrior(TimestepDenoiser):
    """The network sees z = sqrt(abar_t) (2 x0 - 1) + sqrt(1 - abar_t) n, at the timestep t whose level is nearest."""

    def __init__(self, config: DiffusersConfig, runtime: Runtime) -> None:
        """Raises MissingError for a model that is not here, UsageError for one that is no denoiser of RGB images."""
        network, scheduler = _load(UNet2DModel, "unet", config), _load(DDPMScheduler, "scheduler", config)
        if network.config.in_channels != 3 or network.config.num_class_embeds:
            raise UsageError(f"{config.model} is not an unconditional network of RGB images.", "Choose another one.")
        unet = network.to(runtime.device, runtime.dtype).eval().requires_grad_(False)
        super().__init__(
            lambda z, t: unet(z, t).sample,
            scheduler.alphas_cumprod,
            PREDICTIONS[scheduler.config.prediction_type],
            multiple=2 ** (len(network.config.block_out_channels) - 1),
            dtype=runtime.dtype,
        )


def _load(part: Any, kind: str, config: DiffusersConfig) -> Any:
    """UNet or scheduler, from the subfolder `kind` of a folder or repository, or from its root."""
    for where in (kind, ""):
        try:
            return part.from_pretrained(config.model, subfolder=where, local_files_only=not config.download)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
    hint = "Give a folder, or let a repository be fetched: --set generator.download=true."
    raise MissingError(f"{config.model} has no {part.__name__} that is here: {reason}", hint)
