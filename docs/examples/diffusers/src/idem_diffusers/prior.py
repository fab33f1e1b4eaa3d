"""A UNet of diffusers behind idem's border: images in [0,1] and noise levels in, estimates of x0 out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from idemcore.errors import MissingError, UsageError
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

from .plugin import DiffusersConfig


class DiffusersPrior(DiffusionGenerator):
    """The network sees z = sqrt(abar_t) (2 x0 - 1) + sqrt(1 - abar_t) n, at the timestep t whose level is nearest."""

    def __init__(self, config: DiffusersConfig, runtime: Runtime) -> None:
        """Raises MissingError for a model that is not here, UsageError for one that is no denoiser of RGB images."""
        network, scheduler = _load(UNet2DModel, "unet", config), _load(DDPMScheduler, "scheduler", config)
        if network.config.in_channels != 3 or network.config.num_class_embeds:
            raise UsageError(f"{config.model} is not an unconditional network of RGB images.", "Choose another one.")
        self.network = network.to(runtime.device, runtime.dtype).eval().requires_grad_(False)
        self.multiple = 2 ** (len(network.config.block_out_channels) - 1)
        self.predicts: str = scheduler.config.prediction_type
        abar: Tensor = scheduler.alphas_cumprod.double()
        self.levels = ((1 - abar) / abar).sqrt() / 2
        self.sigmas, self.sigma_min, self.sigma_max = self.levels, float(self.levels[0]), float(self.levels[-1])

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=torch.float64, device="cpu").expand(len(x))
        t = (level[:, None].log() - self.levels.log()).abs().argmin(dim=1)
        # The input is scaled for the level as it is; only the network takes it for that of the timestep.
        signal = (1 / (1 + 4 * level.square())).sqrt().to(x)[:, None, None, None]
        noise = (1 - signal.square()).sqrt()
        z = signal * (2 * x - 1)
        found = self._run(z, t.to(x.device))
        x0 = {
            "epsilon": lambda: (z - noise * found) / signal,
            "sample": lambda: found,
            "v_prediction": lambda: signal * z - noise * found,
        }[self.predicts]()
        return (x0 + 1) / 2

    def _run(self, z: Tensor, t: Tensor) -> Tensor:
        """The network, image by image: on a CPU, convolutions round differently with the size of the batch."""
        height, width = z.shape[-2:]
        grown = F.pad(z, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        inputs = zip(grown.to(self.network.dtype).split(1), t.split(1), strict=True)
        return torch.cat([self.network(*one).sample for one in inputs])[..., :height, :width].float()


def _load(part: Any, kind: str, config: DiffusersConfig) -> Any:
    """UNet or scheduler, from the subfolder `kind` of a folder or repository, or from its root."""
    for where in (kind, ""):
        try:
            return part.from_pretrained(config.model, subfolder=where, local_files_only=not config.download)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
    hint = "Give a folder, or let a repository be fetched: --set generator.download=true."
    raise MissingError(f"{config.model} has no {part.__name__} that is here: {reason}", hint)
