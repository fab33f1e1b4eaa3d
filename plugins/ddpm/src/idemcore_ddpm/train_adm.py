"""Recipe of `idem train adm`: a discrete DDPM with the ADM UNet from aligned images, on a CPU or a GPU, resumable."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from idemcore.errors import InputError, UsageError
from idemcore.io.files import atomic_write
from idemcore.io.image_sets import squares
from idemcore.io.images import to_bytes, write_png
from idemcore.networks.residual_unet import zero
from idemcore.runtime import finest
from idemcore.training.crops import held_out_indices
from idemcore.training.loop import Progress, autocast, process_settings
from idemcore.training.network import NetworkTraining, grid, learning_rate

from .adm import noise_schedule
from .adm_unet import AdmUNet, AdmUNetConfig, AttentionBlock, ResBlock
from .config import AdmConfig, AdmTrainConfig
from .weights import load_network

SAMPLES, COLUMNS, SAMPLE_STEPS = 16, 8, 25
"""Of the picture of samples."""
VALIDATED = 256
"""Images, at most, that a validation looks at."""
HALF_LEVEL = 1 / 255
"""Half of the distance between two 8-bit values, [-1,1] units."""


class Diffusion:
    """The forward process of a DDPM and the terms of its loss; images in [-1,1]. t is int64 [B] in 0..steps-1."""

    def __init__(self, schedule: str, steps: int, device: torch.device) -> None:
        """Raises UsageError if there is no such schedule."""
        self.steps = steps
        self.kept = (1 / (1 + 4 * noise_schedule(schedule, steps) ** 2)).to(device)
        """abar_t, float64 [steps]."""
        before = torch.cat([self.kept.new_ones(1), self.kept[:-1]])
        beta = 1 - self.kept / before
        posterior = beta * (1 - before) / (1 - self.kept)
        posterior[0] = posterior[1]  # that of t = 0 is 0, of which there is no logarithm
        self.log_variance = torch.stack([posterior.log(), beta.log()])
        """log beta~_t and log beta_t, between which the network's variance lies [2,steps]."""
        self.slope = beta / ((1 - self.kept) * (1 - beta)).sqrt()
        """What an error of the noise is in the posterior mean."""

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t [B,C,H,W] (Ho et al. 2020, eq. 4)."""
        return _wide(self.kept[t].sqrt()) * clean + _wide((1 - self.kept[t]).sqrt()) * noise

    def velocity(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v [B,C,H,W] (Salimans & Ho, ICLR 2022, appendix D)."""
        return _wide(self.kept[t].sqrt()) * noise - _wide((1 - self.kept[t]).sqrt()) * clean

    def noise_of(self, velocity: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise in x_t that v stands for."""
        return _wide(self.kept[t].sqrt()) * velocity + _wide((1 - self.kept[t]).sqrt()) * noisy

    def variance_bound(self, clean: Tensor, noise: Tensor, t: Tensor, predicted: Tensor, v: Tensor) -> Tensor:
        """Term t of the variational bound, bits a value [B] (Nichol & Dhariwal 2021, eq. 4 to 7 and 15).

        `predicted` noise and `v`, -1 for the lower and 1 for the upper log-variance, are [B,C,H,W].
        """
        low, high = (_wide(bound[t]) for bound in self.log_variance)
        log_variance = low + (v + 1) / 2 * (high - low)
        miss = _wide(self.slope[t]) * (noise - predicted)
        divergence = (log_variance - low + torch.exp(low - log_variance) + miss**2 * torch.exp(-log_variance) - 1) / 2
        likelihood = _log_likelihood(clean, miss, log_variance)
        nats = torch.where(t[:, None, None, None] == 0, -likelihood, divergence)
        return nats.mean(dim=(1, 2, 3)) / math.log(2)


def _wide(level: Tensor) -> Tensor:
    """Float64 [B] -> float32 [B,1,1,1]."""
    return level.float()[:, None, None, None]


def _log_likelihood(clean: Tensor, miss: Tensor, log_variance: Tensor) -> Tensor:
    """log of the probability that N(clean + miss, variance) gives `clean` once rounded to 8 bits; the ends are open."""
    scale = torch.exp(-log_variance / 2)
    above = torch.where(clean > 0.999, 1.0, torch.special.ndtr((HALF_LEVEL - miss) * scale))
    below = torch.where(clean < -0.999, 0.0, torch.special.ndtr((-HALF_LEVEL - miss) * scale))
    return (above - below).clamp(min=1e-12).log()


def zero_residuals(network: AdmUNet) -> None:
    """Starts the last layer of every block, and of the network, at 0, as ADM does: blocks start as the identity."""
    for module in network.modules():
        if isinstance(module, ResBlock):
            zero(module.out_layers["3"])
        elif isinstance(module, AttentionBlock):
            zero(module.proj_out)
    zero(network.out["2"])


class AdmTraining(NetworkTraining):
    """The hybrid loss of Nichol & Dhariwal (ICML 2021, eq. 16), by Adam, with averaged weights.

    Unlike theirs, a network predicts v = sqrt(abar_t) noise - sqrt(1 - abar_t) x_0 (Salimans & Ho, ICLR 2022) unless it
    is to predict the noise: where the image is a hundredth of x_t, what a small network leaves of the noise, about 1 %,
    is as large as the image.

    The timesteps of a batch are spread evenly from a random start, as in variational diffusion models (Kingma et al.,
    NeurIPS 2021, appendix I.1): each is uniform, so the loss is the same, and its estimate is less noisy.
    """

    def __init__(self, out: Path, config: AdmTrainConfig, device: torch.device, images: Tensor) -> None:
        """`images`: uint8 [N,C,side,side]; some are held out. Raises UsageError if there is no such schedule."""
        super().__init__(out, config.minutes, config.save_minutes, device, config.init)
        held_out = held_out_indices(len(images), config.held_out)
        trained_on = sorted(set(range(len(images))) - set(held_out))
        self.config, self.images = config, images[trained_on].to(device)
        self.held_out = images[held_out[:VALIDATED]].to(device)
        self.judge_by(list(self.held_out), config.validate_minutes, config.patience)
        self.diffusion = Diffusion(config.schedule, config.steps, device)
        self.shape = AdmUNetConfig(
            config.channels,
            tuple(config.multipliers),
            config.blocks,
            frozenset(config.attention),
            image_channels=images.shape[1],
            groups=config.groups,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = self._new_network()
        zero_residuals(network)
        self.prepare(network, config.learning_rate, torch.Generator(device).manual_seed(config.seed))

    def _new_network(self) -> AdmUNet:
        return AdmUNet(self.shape).to(self.device)

    def initial(self, weights: str) -> nn.Module:
        own = self.config
        try:
            given = load_network(AdmConfig(weights, own.schedule, own.steps, own.side))[0]
        except UsageError as error:
            raise InputError(
                error.message, "Give train.init weights of `idem train adm`, or a name of `idem models`."
            ) from error
        if given.config != self.shape:
            hint = (
                f"Add --set train.channels={given.config.channels} "
                f"--set 'train.multipliers={list(given.config.multipliers)}' --set train.blocks={given.config.blocks} "
                f"--set 'train.attention={sorted(given.config.attention)}' --set train.groups={given.config.groups}."
            )
            raise InputError(f"train.init={weights} is of another network than the settings.", hint)
        return given

    def update(self) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.learning_rate, self.step, self.progress)
        simple, bound = self._losses(self._batch())
        self.optimizer.zero_grad(set_to_none=True)
        # The bound is a sum over all timesteps; 0.001 of it is the paper's weight.
        (simple + 0.001 * self.diffusion.steps * bound).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.seen += self.config.batch
        return {"images": round(self.seen), "loss": float(simple.detach()), "bits": float(bound.detach())}

    def _batch(self) -> Tensor:
        """Images [B,C,side,side] in [-1,1], half of them mirrored."""
        count = self.config.batch
        index = torch.randint(len(self.images), (count,), generator=self.rng, device=self.device)
        images = self.images[index].float() / 127.5 - 1
        mirrored = torch.rand(count, generator=self.rng, device=self.device) < 0.5 * self.config.mirror
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)

    def _losses(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of what is predicted; bits a value and step of the bound, which trains only the variance."""
        t = self._timesteps(len(clean))
        noise = torch.randn(clean.shape, generator=self.rng, device=self.device)
        noisy = self.diffusion.noised(clean, noise, t)
        with autocast(self.device):
            predicted, v = self.network(noisy, t).chunk(2, dim=1)
        target, guess = noise, predicted
        if self.config.predicts == "v":
            target, guess = self.diffusion.velocity(clean, noise, t), self.diffusion.noise_of(predicted, noisy, t)
        bound = self.diffusion.variance_bound(clean, noise, t, guess.detach(), v)
        return F.mse_loss(predicted, target), bound.mean()

    def validate(self) -> dict[str, float]:
        """The losses of images that are held out, with the same noise and timesteps every time."""
        own, self.rng = self.rng, torch.Generator(self.device).manual_seed(self.config.seed)
        try:
            with self.averaged():
                parts = (2 * part.float() / 255 - 1 for part in self.held_out.split(self.config.batch))
                losses = torch.tensor([[len(part), *map(float, self._losses(part))] for part in parts])
        finally:
            self.rng = own
        simple, bits = ((losses[:, 0] * losses[:, k]).sum().item() / len(self.held_out) for k in (1, 2))
        return {"score": -simple, "held_out_bits": bits}

    def _timesteps(self, count: int) -> Tensor:
        start = torch.rand((), generator=self.rng, device=self.device, dtype=finest(self.device))
        places = (start + torch.arange(count, device=self.device)) / count
        return (self.diffusion.steps * places).long().clamp(max=self.diffusion.steps - 1)

    def _average(self) -> None:
        """Weights as they were over the last `ema` of the steps so far, wherever training stops."""
        self.average(1 / (1 + self.config.ema * self.step))

    def write_weights(self) -> Path:
        """`weights.safetensors`, averaged and in float16, which `ddpm-faces64` reads; `samples.png` of them."""
        note = {key: str(getattr(self.config, key)) for key in ("schedule", "steps", "side", "groups", "predicts")}
        note |= {"head_channels": str(self.shape.head_channels), "attention_order": self.shape.attention_order}
        note |= {"images": f"{self.seen:.0f}", "minutes": f"{self.elapsed / 60:.1f}"}
        tensors = {name: value.to("cpu", torch.float16).contiguous() for name, value in self.ema.items()}
        atomic_write(self.out / "weights.safetensors", save(tensors, metadata=note))
        images = (self._sample().expand(-1, 3, -1, -1) + 1) / 2
        write_png(to_bytes(grid(images.clamp(0, 1), COLUMNS)), self.out / "samples.png")
        return self.out / "weights.safetensors"

    @torch.no_grad()
    def _sample(self) -> Tensor:
        """Images [SAMPLES,C,side,side] in [-1,1], by DDIM without noise (Song et al., ICLR 2021, eq. 12)."""
        with torch.random.fork_rng(devices=[]):
            averaged = self._new_network()
        averaged.load_state_dict(self.ema)
        shape = (SAMPLES, *self.images.shape[1:])
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        kept, clean = self.diffusion.kept.tolist(), x
        ladder = torch.linspace(self.diffusion.steps - 1, 0, SAMPLE_STEPS).round().long().tolist()
        for t, below in zip(ladder, [*(kept[k] for k in ladder[1:]), 1.0], strict=True):
            times = torch.full((SAMPLES,), t, device=self.device)
            with autocast(self.device):
                noise = averaged(x, times).chunk(2, dim=1)[0]
            if self.config.predicts == "v":
                noise = self.diffusion.noise_of(noise, x, times)
            clean = ((x - (1 - kept[t]) ** 0.5 * noise) / kept[t] ** 0.5).clamp(-1, 1)
            x = below**0.5 * clean + ((1 - below) / (1 - kept[t])) ** 0.5 * (x - kept[t] ** 0.5 * clean)
        return clean


def train(data: Path, out: Path, config: AdmTrainConfig, device: torch.device, progress: Progress) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training; returns the weights' path.

    An interrupt is passed on after a last checkpoint. Raises InputError if `data` holds no usable image, or if the
    checkpoint or `config.init` does not fit; UsageError if there is no such schedule; IdemError if the loss diverges.
    """
    with process_settings(config.threads):
        return AdmTraining(out, config, device, squares(data, config.side)).run(progress)
