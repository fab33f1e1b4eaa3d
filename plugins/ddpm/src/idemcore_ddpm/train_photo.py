"""Recipe of `idem train ddpm`: a photograph prior from a folder of images, on a CPU or a GPU, resumable."""

from __future__ import annotations

import io
import json
import math
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from idemcore.errors import IdemError, InputError
from idemcore.files import atomic_write
from idemcore.imageio import read_bytes, to_bytes, write_png

from .config import TrainConfig
from .photo_unet import SIGMA_DATA, PhotoUNet, denoise

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class Crops:
    """Endless random crops of a folder of photographs, flipped left to right half of the time."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(f"{folder} holds no images.", f"Expected are {', '.join(sorted(IMAGE_SUFFIXES))} files.")
        self.images: list[Tensor] = []
        for path in paths:
            try:
                rgb = Image.fromarray(read_bytes(path, (255, 255, 255))[0].permute(1, 2, 0).numpy())
            except InputError as error:
                warnings.warn(f"left out: {error.message}", stacklevel=2)
                continue
            for scale in config.scales:
                size = (round(rgb.width * scale), round(rgb.height * scale))
                if min(size) >= max(config.crops):
                    resized = rgb.resize(size, Image.Resampling.LANCZOS) if scale != 1 else rgb
                    self.images.append(torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous())
        if not self.images:
            raise InputError(
                f"Every image under {folder} is smaller than the largest crop, {max(config.crops)} pixels.",
                "Bring larger images, or smaller crops: --set 'train.crops=[32]'.",
            )
        areas = torch.tensor([float(i.shape[1] * i.shape[2]) for i in self.images])
        self.weights = areas.sqrt()

    def batch(self, count: int, side: int, rng: torch.Generator) -> Tensor:
        """[count,3,side,side] float32 in [-1,1]."""
        out = torch.empty(count, 3, side, side, dtype=torch.uint8)
        for k, index in enumerate(torch.multinomial(self.weights, count, replacement=True, generator=rng).tolist()):
            image = self.images[index]
            u, v, flip = torch.rand(3, generator=rng).tolist()
            top, left = int(u * (image.shape[1] - side + 1)), int(v * (image.shape[2] - side + 1))
            crop = image[:, top : top + side, left : left + side]
            out[k] = crop.flip(2) if flip < 0.5 else crop
        return out.float() / 127.5 - 1


def draw_sigma(count: int, config: TrainConfig, rng: torch.Generator) -> Tensor:
    """[count] noise levels, units of [-1,1] images: mostly those that a warm-started decoder visits."""
    log_sigma = math.log(config.sigma_median) + config.sigma_spread * torch.randn(count, generator=rng)
    tail = math.log(0.5) + math.log(40.0) * torch.rand(count, generator=rng)
    return torch.where(torch.rand(count, generator=rng) < config.tail, tail, log_sigma).exp().clamp(0.003, 20.0)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    return config.learning_rate * min(1.0, (step + 1) / 500) * min(1.0, max(0.0, (1 - progress) / 0.4))


@torch.no_grad()
def sample(network: torch.nn.Module, count: int, side: int, seed: int, device: torch.device, steps: int = 40) -> Tensor:
    """Unconditional samples [count,3,side,side] in [0,1]: Euler steps of the probability-flow ODE (EDM, rho = 7)."""
    rng = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, steps)
    sigmas = (20.0 ** (1 / 7) + ramp * (0.005 ** (1 / 7) - 20.0 ** (1 / 7))) ** 7
    x = (torch.randn(count, 3, side, side, generator=rng) * sigmas[0]).to(device)
    for sigma, lower in zip(sigmas, [*sigmas[1:].tolist(), 0.0], strict=True):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            x0 = denoise(network, x, sigma.to(device).expand(count))
        x = x0 + (x - x0) * (lower / float(sigma))
    return (x.clamp(-1, 1) + 1) / 2


def grid(images: Tensor, columns: int = 4) -> Tensor:
    """[B,3,H,W] as one picture [1,3,rows*H,columns*W], row by row."""
    rows = [torch.cat(list(images[i : i + columns]), dim=2) for i in range(0, len(images), columns)]
    return torch.cat(rows, dim=1)[None].cpu()


def weights_file(state: dict[str, Tensor], config: TrainConfig, note: dict[str, str]) -> bytes:
    """Averaged weights as bfloat16 safetensors; the network's shape travels in the metadata."""
    shape = {"channels": json.dumps(config.channels), "blocks": str(config.blocks)}
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}
    return save(tensors, metadata={**shape, **note})


@contextmanager
def process_settings(threads: int) -> Iterator[None]:
    """`threads` of PyTorch (0: as they are) and denormals flushed to zero: zero-started layers train faster so."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


class Training:
    """Network, optimiser and averaged weights of one run, in step with `checkpoint.pt` of its folder."""

    def __init__(self, out: Path, config: TrainConfig, device: torch.device) -> None:
        self.out, self.config, self.device = out, config, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = self._new_network()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        self.ema = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.rng = torch.Generator().manual_seed(config.seed)
        self.step, self.seen, self.elapsed = 0, 0.0, 0.0

    def resume(self) -> None:
        """Goes on from the checkpoint. Raises InputError if it is unreadable or of another network."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        try:
            saved = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.rng.set_state(saved["rng"].cpu())
            self.ema, self.step, self.seen = saved["ema"], saved["step"], saved["seen"]
            self.elapsed = saved["elapsed"]
        except (OSError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} cannot be resumed: {reason}", "Use the settings it was begun with, or another --out."
            ) from error

    @property
    def progress(self) -> float:
        """0..1 of the time that the schedule has."""
        return self.elapsed / (60 * self.config.minutes)

    def update(self, crops: Crops) -> float:
        """One step of Adam and of the average; returns the loss of the batch."""
        begin, config = time.monotonic(), self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step, self.progress)
        side = config.crops[int(torch.randint(len(config.crops), (), generator=self.rng))]
        count = max(1, config.pixels // side**2)
        losses = self._losses(crops.batch(count, side, self.rng))
        # A rare extreme noise level must not rule the step.
        objective = (losses / (1 + losses.detach() / 4)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step, self.seen = self.step + 1, self.seen + count * side**2 / 4096
        self.elapsed += time.monotonic() - begin
        return float(losses.detach().mean().clamp(max=10))

    def save(self) -> Path:
        """Checkpoint, weights and a grid of samples, each written whole or not at all."""
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "step": self.step,
            "seen": self.seen,
            "elapsed": self.elapsed,
            "rng": self.rng.get_state(),
            "config": asdict(self.config),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        atomic_write(self.out / "checkpoint.pt", buffer.getvalue())
        note = {"crops": f"{self.seen:.0f}", "minutes": f"{self.elapsed / 60:.1f}"}
        atomic_write(self.out / "weights.safetensors", weights_file(self.ema, self.config, note))
        with torch.random.fork_rng(devices=[]):
            averaged = self._new_network()
        averaged.load_state_dict(self.ema)
        write_png(to_bytes(grid(sample(averaged, 8, 96, 0, self.device))), self.out / "samples.png")
        return self.out / "weights.safetensors"

    def _new_network(self) -> PhotoUNet:
        network = PhotoUNet(self.config.channels, self.config.blocks)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def _losses(self, clean: Tensor) -> Tensor:
        """[B] squared errors of the denoised crops, weighted so that every noise level counts the same (EDM)."""
        sigma = draw_sigma(len(clean), self.config, self.rng)
        noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, generator=self.rng)
        clean, noisy, sigma = (x.to(self.device) for x in (clean, noisy, sigma))
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            error = denoise(self.network, noisy.contiguous(memory_format=torch.channels_last), sigma) - clean
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        return weight * error.square().mean(dim=(1, 2, 3))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.ema[name].lerp_(value, 1 - decay)


def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training; returns the weights' path.

    An interrupt is passed on after a last checkpoint. Raises InputError if `data` holds no usable image, IdemError if
    the loss diverges.
    """
    with process_settings(config.threads):
        crops = Crops(data, config)
        out.mkdir(parents=True, exist_ok=True)
        training = Training(out, config, device)
        training.resume()
        try:
            _run(training, crops, progress)
        except KeyboardInterrupt:
            training.save()
            raise
        return training.save()


def _run(training: Training, crops: Crops, progress: Callable[[dict[str, float]], None]) -> None:
    """Updates until the time is up, with a log line every 20 and at the end, and a checkpoint every few minutes."""
    saved, loss = training.elapsed, math.nan
    with (training.out / "log.jsonl").open("a", encoding="utf-8") as log:
        while training.progress < 1:
            value = training.update(crops)
            if not math.isfinite(value):
                hint = "Go on from its last checkpoint: --set train.learning_rate=5e-4"
                raise IdemError("The training diverged.", hint)
            loss = value if math.isnan(loss) else 0.99 * loss + 0.01 * value
            if training.step % 20 == 0 or training.progress >= 1:
                minutes = training.elapsed / 60
                record = {"step": training.step, "crops": training.seen, "minutes": minutes, "loss": loss}
                log.write(json.dumps(record) + "\n")
                log.flush()
                progress(record)
            if training.elapsed - saved > training.config.save_minutes * 60:
                training.save()
                saved = training.elapsed
