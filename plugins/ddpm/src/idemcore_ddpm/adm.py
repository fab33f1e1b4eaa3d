"""Discrete DDPMs with the ADM UNet as diffusion generators: the priors of the published experiments."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from idemcore.errors import UsageError, nearest
from idemcore.networks.border import image_by_image, noise_levels, pad_to_multiple
from idemcore.networks.predictions import cosine_abar, linear_abar, noise_level_of
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime, finest

from .adm_unet import AdmUNet
from .config import SCHEDULES, AdmConfig
from .weights import load_network


def noise_schedule(name: str, steps: int) -> Tensor:
    """sigma_t of images in [0,1], float64 [steps], ascending: sqrt((1 - abar_t) / abar_t) / 2, abar_t = prod(1 - beta).

    linear: beta from 0.1/steps to 20/steps (Ho et al. 2020, scaled to `steps`); cosine: Nichol & Dhariwal 2021, eq. 17.
    """
    if steps < 2:
        raise UsageError(
            f"A noise schedule has at least 2 steps, not {steps}.", "Use those of the training, often 1000."
        )
    if name not in SCHEDULES:
        raise UsageError(f"There is no noise schedule {name!r}.", nearest(name, list(SCHEDULES)))
    return noise_level_of(linear_abar(steps) if name == "linear" else cosine_abar(steps))


class AdmGenerator(DiffusionGenerator):
    """Variance preserving inside, variance exploding outside:

        x, sigma -> t with sigma_t = sigma -> network((2x - 1) sqrt(abar), t) -> eps, variance -> x0 = x - sigma eps

    A network that predicts v = sqrt(abar) eps - sqrt(1 - abar) (2 x0 - 1) instead gives x0 straight away.

    A network of grey images is a prior of colour images with three equal channels. Given such an image with noise, all
    that says something of it is the mean over the channels, where the noise is sigma / sqrt(3); the two differences
    between channels are noise alone. So E[x0 | x] is exactly the grey denoiser of that mean, shown three times, and the
    levels in `sigmas` are sqrt(3) times those of the grey schedule. Between one level and the next the mean over the
    channels then moves as the grey process does. The variance that a grey network has learned is that of the mean.
    """  # fmt: skip

    sigmas: Tensor
    warm_start = 7.0  # measured on ddpm-faces64: docs/solvers.md

    def __init__(self, config: AdmConfig, runtime: Runtime) -> None:
        """Raises MissingError if the weights are not there, InputError if they are damaged or not an ADM UNet's.

        UsageError if the weights need settings that are not given, or do not fit those that are.
        """
        self.runtime = runtime
        network, said = load_network(config)
        self.size = (said.side, said.side) if said.side > 0 else None
        self.grey, self.predicts_v = network.config.image_channels == 1, said.predicts == "v"
        self.sigmas = noise_schedule(said.schedule, said.steps)
        if self.grey:
            self.sigmas = self.sigmas * math.sqrt(3)
            self.warm_start = self.warm_start * math.sqrt(3)
        self.sigma_min, self.sigma_max = float(self.sigmas[0]), float(self.sigmas[-1])
        self.multiple, self.learned_variance = network.multiple, network.config.learn_sigma
        if runtime.dtype != torch.float32:
            _narrow(network, runtime.dtype)
        self.network = network.to(runtime.device)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.denoise_and_variance(x, sigma)[0]

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        output = image_by_image(self._predict, x, noise_levels(sigma, x))
        return output[:, :3], (output[:, 3:] + 1) / 2 if self.learned_variance else None

    def timestep(self, sigma: Tensor) -> Tensor:
        """The t of each noise level [B]: exact on the training's levels, interpolated in log sigma between them."""
        exact = finest(sigma.device)
        known = self.sigmas.log().to(sigma.device, exact)
        wanted = sigma.to(exact).log().clamp(known[0], known[-1])
        upper = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
        t = upper - (known[upper] - wanted) / (known[upper] - known[upper - 1])
        # A level that came as float32 misses its own timestep by about 1e-5.
        return torch.where((t - t.round()).abs() < 1e-3, t.round(), t).float()

    def _predict(self, x: Tensor, level: Tensor) -> Tensor:
        """x0 and, if it is learned, the network's v of the variance, -1..1: float32 [B,3 or 6,H,W]."""
        height, width = x.shape[-2:]
        seen = x.mean(dim=1, keepdim=True) if self.grey else x
        noise = (level / math.sqrt(3) if self.grey else level)[:, None, None, None]
        kept = (1 + 4 * noise**2).rsqrt()  # sqrt(abar)
        padded = pad_to_multiple((2 * seen - 1) * kept, self.multiple)
        dtype = self.runtime.dtype
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
            output: Tensor = self.network(padded, self.timestep(level))
        predicted, *v = output[..., :height, :width].split(seen.shape[1], dim=1)
        if self.predicts_v:
            x0 = (kept**2 * (2 * seen - 1) - 2 * noise * kept * predicted + 1) / 2
        else:
            x0 = seen - noise * predicted
        return torch.cat([part.expand(-1, 3, -1, -1) for part in (x0, *v)], dim=1)


def _narrow(network: AdmUNet, dtype: torch.dtype) -> None:
    """Stores the convolutions in the type that autocast would turn them into on every pass: half the memory.

    All but the first and the last, which compute in float32.
    """
    for part in (network.input_blocks[1:], network.middle_block, network.output_blocks):
        for module in part.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                module.to(dtype)
