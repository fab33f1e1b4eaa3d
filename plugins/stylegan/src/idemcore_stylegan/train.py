"""Recipe of `idem train stylegan`: a small StyleGAN2 from aligned images, on a CPU or a GPU, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from idemcore.io.files import atomic_write
from idemcore.io.image_sets import squares
from idemcore.io.images import to_bytes, write_png
from idemcore.runtime import Runtime
from idemcore.training.loop import Progress, Training, process_settings

from .augment import augment
from .config import TrainConfig
from .discriminator import Discriminator
from .network import StyleGan, StyleGanConfig, mean_w

ADAPT_STEPS = 4
"""Between changes of the share of augmented images."""
SAMPLES, COLUMNS = 32, 8
"""Of the picture of samples."""

Network = TypeVar("Network", bound=torch.nn.Module)


class StyleGanTraining(Training):
    """Generator against discriminator, each step one update of both on one batch of generated images.

    Non-saturating logistic loss (Goodfellow et al. 2014); R1 penalty every `r1_every` steps (Mescheder et al. 2018;
    Karras et al. 2020, appendix B); adaptive augmentation (Karras et al., NeurIPS 2020); averaged weights.
    """

    def __init__(self, out: Path, config: TrainConfig, device: torch.device, images: Tensor) -> None:
        """`images`: uint8 [N,C,side,side]."""
        super().__init__(out, config.minutes, config.save_minutes)
        self.config, self.device, self.images = config, device, images.to(device)
        self.shape = StyleGanConfig(
            config.widths, config.latent, config.latent, config.mapping_layers, colours=images.shape[1]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = self._new_generator()
            self.discriminator = self._placed(Discriminator(config.widths, images.shape[1]))
        self.optimizers = (self._adam(self.generator), self._adam(self.discriminator, config.r1_every))
        self.ema = {name: value.clone() for name, value in self.generator.state_dict().items()}
        self.rng = torch.Generator(device).manual_seed(config.seed)
        self.dtype = Runtime.choose(str(device)).dtype
        self.seen = 0
        """Real images trained on."""
        self.share, self.sign = 0.0, 0.0
        """Of augmented images; sum of the signs of real logits since the share was last adapted."""

    def _new_generator(self) -> StyleGan:
        return self._placed(StyleGan(self.shape))

    def _placed(self, network: Network) -> Network:
        return network.to(self.device).to(memory_format=torch.channels_last)

    def _adam(self, network: torch.nn.Module, penalty_every: int = 0) -> torch.optim.Adam:
        """Slowed down where a penalty takes further steps, so that as many of the whole take as long as before."""
        share = penalty_every / (penalty_every + 1) if penalty_every else 1.0
        return torch.optim.Adam(network.parameters(), self.config.learning_rate * share, (0.0, 0.99**share), 1e-8)

    def update(self) -> dict[str, float]:
        z, noise = (self._normal(size) for size in (self.shape.z, self.generator.synthesis.noise))
        generated = self.generator(z, noise, self.dtype)
        real = self._batch()
        discriminator_loss = self._update_discriminator(real, generated.detach())
        if self.step % self.config.r1_every == 0:
            self._penalise(real)
        loss = self._update_generator(generated)
        self.seen += len(real)
        self._adapt()
        self._average()
        return {"images": self.seen, "loss": loss, "discriminator": discriminator_loss, "augmented": self.share}

    def _normal(self, size: int) -> Tensor:
        return torch.randn(self.config.batch, size, generator=self.rng, device=self.device)

    def _batch(self) -> Tensor:
        """Real images [B,C,R,R] in [-1,1], half of them mirrored."""
        count = self.config.batch
        index = torch.randint(len(self.images), (count,), generator=self.rng, device=self.device)
        images = self.images[index].float() / 127.5 - 1
        mirrored = torch.rand(count, generator=self.rng, device=self.device) < 0.5 * self.config.mirror
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)

    def _update_discriminator(self, real: Tensor, generated: Tensor) -> float:
        real_logits = self._logits(real)
        self.sign += float(real_logits.detach().sign().mean())
        loss = F.softplus(-real_logits).mean() + F.softplus(self._logits(generated)).mean()
        self._step(self.discriminator, loss)
        return float(loss.detach())

    def _penalise(self, real: Tensor) -> None:
        """R1, of the augmented images, as sampling them by a grid can be differentiated only once."""
        shown = augment(real, self.share, self.rng).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(shown).sum(), shown, create_graph=True)
        penalty = slope.square().sum(dim=(1, 2, 3)).mean()
        self._step(self.discriminator, self.config.r1_every * self.config.r1 / 2 * penalty)

    def _update_generator(self, generated: Tensor) -> float:
        self.discriminator.requires_grad_(False)
        loss = F.softplus(-self._logits(generated)).mean()
        self._step(self.generator, loss)
        self.discriminator.requires_grad_(True)
        return float(loss.detach())

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(augment(images, self.share, self.rng), self.dtype)
        return logits

    def _step(self, network: torch.nn.Module, loss: Tensor) -> None:
        optimizer = self.optimizers[network is self.discriminator]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def _adapt(self) -> None:
        """More augmentation where the discriminator tells the real images too surely, less where it does not."""
        if (self.step + 1) % ADAPT_STEPS:
            return
        sure = self.sign / ADAPT_STEPS > self.config.augment_target
        change = ADAPT_STEPS * self.config.batch / self.config.augment_images
        self.share, self.sign = min(1.0, max(0.0, self.share + (change if sure else -change))), 0.0

    @torch.no_grad()
    def _average(self) -> None:
        half_life = min(self.config.ema_images, 0.05 * self.seen)
        decay = 0.5 ** (self.config.batch / half_life)
        for name, value in self.generator.state_dict().items():
            self.ema[name].lerp_(value, 1 - decay)

    def state(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema,
            "seen": self.seen,
            "share": self.share,
            "sign": self.sign,
            "rng": self.rng.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.ema = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.seen, self.share, self.sign = state["seen"], state["share"], state["sign"]
        self.rng.set_state(state["rng"])

    @torch.no_grad()
    def write_weights(self) -> Path:
        """`weights.safetensors`, averaged and in float16, which `stylegan2-faces64` reads; `samples.png` of them."""
        with torch.random.fork_rng(devices=[]):
            averaged = self._new_generator()
        averaged.load_state_dict(self.ema)
        averaged.mapping.w_avg.copy_(mean_w(averaged.mapping))
        note = {"images": str(self.seen), "minutes": f"{self.elapsed / 60:.1f}"}
        tensors = {name: value.to("cpu", torch.float16).contiguous() for name, value in averaged.state_dict().items()}
        atomic_write(self.out / "weights.safetensors", save(tensors, metadata=note))
        z = torch.randn(SAMPLES, self.shape.z, generator=torch.Generator().manual_seed(0)).to(self.device)
        images = averaged(z, averaged.synthesis.constant_noise()).cpu().expand(-1, 3, -1, -1)
        write_png(to_bytes((_grid(images) + 1) / 2), self.out / "samples.png")
        return self.out / "weights.safetensors"


def _grid(images: Tensor) -> Tensor:
    """[B,3,H,W] as one picture [3,rows*H,COLUMNS*W], row by row."""
    rows = images.unflatten(0, (-1, COLUMNS))
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def train(data: Path, out: Path, config: TrainConfig, device: torch.device, progress: Progress) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training; returns the weights' path.

    An interrupt is passed on after a last checkpoint. Raises InputError if `data` holds no usable image, or if the
    checkpoint does not fit; IdemError if the loss diverges.
    """
    with process_settings(config.threads):
        return StyleGanTraining(out, config, device, squares(data, config.side)).run(progress)
