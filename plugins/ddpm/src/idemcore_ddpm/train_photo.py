"""Recipe of `idem train ddpm`: a photograph prior from a folder of images, on a CPU or a GPU, resumable."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from idemcore.errors import InputError
from idemcore.io.files import atomic_write
from idemcore.io.images import to_bytes, write_png
from idemcore.networks.residual_unet import SIGMA_DATA, ResidualUNet, denoise
from idemcore.noise import Noise
from idemcore.training.crops import Crops, middle
from idemcore.training.loop import Progress, autocast, process_settings
from idemcore.training.network import NetworkTraining, grid, learning_rate, psnr

from .config import TrainConfig
from .photo import load_network

VALIDATION_LEVELS = (0.02, 0.05, 0.1)
"""Standard deviations of noise, [0,1] units, such as warm starts and the steps after them have."""
VALIDATION_SIDE = 256
INIT_HINT = "Give --set train.init=bundled, or the path of a weights.safetensors that `idem train ddpm` wrote."


def draw_sigma(count: int, config: TrainConfig, rng: torch.Generator) -> Tensor:
    """[count] noise levels, units of [-1,1] images: mostly those that a warm-started decoder visits."""
    log_sigma = math.log(config.sigma_median) + config.sigma_spread * torch.randn(count, generator=rng)
    tail = math.log(0.5) + math.log(40.0) * torch.rand(count, generator=rng)
    return torch.where(torch.rand(count, generator=rng) < config.tail, tail, log_sigma).exp().clamp(0.003, 20.0)


@torch.no_grad()
def sample(network: torch.nn.Module, count: int, side: int, seed: int, device: torch.device, steps: int = 40) -> Tensor:
    """Unconditional samples [count,3,side,side] in [0,1]: Euler steps of the probability-flow ODE (EDM, rho = 7)."""
    rng = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, steps)
    sigmas = (20.0 ** (1 / 7) + ramp * (0.005 ** (1 / 7) - 20.0 ** (1 / 7))) ** 7
    x = (torch.randn(count, 3, side, side, generator=rng) * sigmas[0]).to(device)
    for sigma, lower in zip(sigmas, [*sigmas[1:].tolist(), 0.0], strict=True):
        with autocast(device):
            x0 = denoise(network, x, sigma.to(device).expand(count))
        x = x0 + (x - x0) * (lower / float(sigma))
    return (x.clamp(-1, 1) + 1) / 2


def weights_file(state: dict[str, Tensor], config: TrainConfig, note: dict[str, str]) -> bytes:
    """Averaged weights as bfloat16 safetensors; the network's shape travels in the metadata."""
    shape = {"channels": json.dumps(config.channels), "blocks": str(config.blocks)}
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}
    return save(tensors, metadata={**shape, **note})


class PhotoTraining(NetworkTraining):
    """Denoising of crops at every noise level at once, by Adam, with averaged weights (EDM, Karras et al. 2022)."""

    def __init__(self, out: Path, config: TrainConfig, device: torch.device, crops: Crops) -> None:
        super().__init__(out, config.minutes, config.save_minutes, device, config.init)
        self.config, self.crops = config, crops
        self.judge_by(crops.held_out, config.validate_minutes, config.patience)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = self._new_network()
        self.prepare(network, config.learning_rate, torch.Generator().manual_seed(config.seed))

    def _new_network(self) -> ResidualUNet:
        network = ResidualUNet(self.config.channels, self.config.blocks)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def initial(self, weights: str) -> nn.Module:
        given = load_network(weights, INIT_HINT)
        if (given.channels, given.blocks) != (tuple(self.config.channels), self.config.blocks):
            hint = f"Add --set 'train.channels={list(given.channels)}' --set train.blocks={given.blocks}."
            raise InputError(f"train.init={weights} is of another network than the settings.", hint)
        return given

    def update(self) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config.learning_rate, self.step, self.progress)
        side = config.crops[int(torch.randint(len(config.crops), (), generator=self.rng))]
        count = max(1, config.pixels // side**2)
        losses = self._losses(2 * self.crops.batch(count, side, self.rng) - 1)
        # A rare extreme noise level must not rule the step.
        objective = (losses / (1 + losses.detach() / 4)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average(1 - min(config.ema, (1 + self.step) / (10 + self.step)))
        self.seen += count * side**2 / 4096
        return {"crops": round(self.seen), "loss": float(losses.detach().mean().clamp(max=10))}

    def _losses(self, clean: Tensor) -> Tensor:
        """[B] squared errors of the denoised crops, weighted so that every noise level counts the same (EDM)."""
        sigma = draw_sigma(len(clean), self.config, self.rng).to(self.device)
        noisy = clean + sigma[:, None, None, None] * self.normal(clean)
        with autocast(self.device):
            error = denoise(self.compiled, noisy.contiguous(memory_format=torch.channels_last), sigma) - clean
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        return weight * error.square().mean(dim=(1, 2, 3))

    def validate(self) -> dict[str, float]:
        """PSNR, dB, of the middles of photographs that are held out, denoised at VALIDATION_LEVELS."""
        decibels = {level: list[float]() for level in VALIDATION_LEVELS}
        with self.averaged() as network:
            for number, image in enumerate(self.crops.held_out):
                clean = 2 * middle(image, VALIDATION_SIDE)[None].to(self.device).float() / 255 - 1
                noise = Noise([number]).like(clean)
                for level, found in decibels.items():
                    noisy = (clean + 2 * level * noise).contiguous(memory_format=torch.channels_last)
                    with autocast(self.device):
                        denoised = denoise(network, noisy, torch.full((1,), 2 * level, device=self.device))
                    found.append(psnr(denoised, clean))
        means = {f"psnr_{level:g}": sum(found) / len(found) for level, found in decibels.items()}
        return {"score": sum(means.values()) / len(means), **means}

    def write_weights(self) -> Path:
        """`weights.safetensors`, which `ddpm-photo` reads, and `samples.png`, a grid of its samples."""
        note = {"crops": f"{self.seen:.0f}", "minutes": f"{self.elapsed / 60:.1f}"}
        atomic_write(self.out / "weights.safetensors", weights_file(self.ema, self.config, note))
        with torch.random.fork_rng(devices=[]):
            averaged = self._new_network()
        averaged.load_state_dict(self.ema)
        write_png(to_bytes(grid(sample(averaged, 8, 96, 0, self.device))), self.out / "samples.png")
        return self.out / "weights.safetensors"


def train(data: Path, out: Path, config: TrainConfig, device: torch.device, progress: Progress) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training; returns the weights' path.

    An interrupt is passed on after a last checkpoint. Raises InputError if `data` holds no usable image, or if the
    checkpoint or `config.init` does not fit; IdemError if the loss diverges.
    """
    with process_settings(config.threads):
        crops = Crops(data, max(config.crops), config.scales, config.held_out, device)
        return PhotoTraining(out, config, device, crops).run(progress)
