"""Recipe of `idem train ddpm`: a photograph prior from a folder of images, on a CPU or a GPU, resumable."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from idemcore.errors import InputError

from .photo_unet import SIGMA_DATA, PhotoUNet, denoise

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass
class TrainConfig:
    """Settings of the recipe; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 100.0  # training time of the whole schedule, minutes; a resumed run goes on to this total
    learning_rate: float = 1e-3  # Adam, after 500 steps of warm-up; constant, then linear to 0 over the last 40 %
    pixels: int = 32768  # pixels of a batch, e.g. 8 crops of 64x64
    crops: tuple[int, ...] = (64, 64, 96, 128)  # crop sides, drawn uniformly, pixels
    scales: tuple[float, ...] = (1.0, 0.7, 0.5)  # each photograph is trained on at these sizes
    sigma_median: float = 0.12  # training noise: log-normal, units of [-1,1] images
    sigma_spread: float = 1.0  # standard deviation of log(sigma)
    tail: float = 0.06  # share of crops with sigma log-uniform in 0.5..20 instead
    ema: float = 0.999  # decay of the averaged weights, a step
    channels: tuple[int, ...] = (32, 64, 128, 192)
    blocks: int = 2
    seed: int = 0
    threads: int = 0  # 0: as many as PyTorch chooses
    save_minutes: float = 4.0  # minutes between checkpoints


class Crops:
    """Endless random crops of a folder of photographs, flipped left to right half of the time."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(f"{folder} holds no images.", f"Expected are {', '.join(sorted(IMAGE_SUFFIXES))} files.")
        self.images: list[Tensor] = []
        for path in paths:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
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


def save_grid(images: Tensor, path: Path, columns: int = 4) -> None:
    """Writes [B,3,H,W] in [0,1] as one PNG, row by row."""
    rows = [torch.cat(list(images[i : i + columns]), dim=2) for i in range(0, len(images), columns)]
    grid = (torch.cat(rows, dim=1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    temporary = path.with_suffix(".tmp")
    Image.fromarray(grid).save(temporary, format="PNG")
    os.replace(temporary, path)


def save_weights(state: dict[str, Tensor], config: TrainConfig, path: Path, note: dict[str, str]) -> None:
    """Averaged weights as bfloat16 safetensors; the network's shape travels in the metadata."""
    shape = {"channels": json.dumps(config.channels), "blocks": str(config.blocks)}
    temporary = path.with_suffix(".tmp")
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in state.items()}, temporary, metadata={**shape, **note})
    os.replace(temporary, path)


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


@contextmanager
def state_of_its_own() -> Iterator[None]:
    """Denormals are flushed while training; that, the number of threads and PyTorch's own generator are restored."""
    threads = torch.get_num_threads()
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


@state_of_its_own()
def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    device: torch.device,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> Path:
    """Trains, or resumes from `out/checkpoint.pt`, until `config.minutes` of training.

    Returns `out/weights.safetensors`. Raises InputError for a folder without images to train on.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    crops = Crops(data, config)
    out.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    network = PhotoUNet(config.channels, config.blocks).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    ema = {k: v.clone() for k, v in network.state_dict().items()}
    step, seen, elapsed = 0, 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        ema, step, seen, elapsed = saved["ema"], saved["step"], saved["seen"], saved["elapsed"]
        rng.set_state(saved["rng"].cpu())

    def save() -> None:
        content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step,
                   "seen": seen, "elapsed": elapsed, "rng": rng.get_state(), "config": asdict(config)}  # fmt: skip
        save_checkpoint(content, checkpoint)
        save_weights(ema, config, out / "weights.safetensors", {"crops": str(seen), "minutes": f"{elapsed / 60:.1f}"})
        averaged = PhotoUNet(config.channels, config.blocks).to(device, memory_format=torch.channels_last)
        averaged.load_state_dict(ema)
        save_grid(sample(averaged, 8, 96, 0, device), out / "samples.png")

    last_save, running = elapsed, math.nan
    with (out / "log.jsonl").open("a") as log:
        while elapsed < config.minutes * 60:
            begin = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, elapsed / (config.minutes * 60))
            side = config.crops[int(torch.randint(len(config.crops), (), generator=rng))]
            count = max(1, config.pixels // side**2)
            clean = crops.batch(count, side, rng).to(device, memory_format=torch.channels_last)
            sigma = draw_sigma(count, config, rng).to(device)
            noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, generator=rng).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                error = denoise(network, noisy, sigma) - clean
            weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
            losses = weight * error.square().mean(dim=(1, 2, 3))
            loss = (losses / (1 + losses.detach() / 4)).mean()  # a rare extreme noise level must not rule the step
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                decay = min(config.ema, (1 + step) / (10 + step))
                for name, value in network.state_dict().items():
                    ema[name].lerp_(value, 1 - decay)
            step, seen = step + 1, seen + count * side * side // 4096
            elapsed += time.monotonic() - begin
            value = float(losses.detach().mean().clamp(max=10))
            running = value if math.isnan(running) else 0.99 * running + 0.01 * value
            if step % 20 == 0:
                record = {"step": step, "crops": seen, "minutes": elapsed / 60, "loss": running}
                log.write(json.dumps(record) + "\n")
                log.flush()
                progress(record)
            if elapsed - last_save > config.save_minutes * 60:
                save()
                last_save = elapsed
    save()
    return out / "weights.safetensors"


def epochs(records: Iterator[str]) -> list[dict[str, float]]:
    """The lines of `log.jsonl`, parsed."""
    return [json.loads(line) for line in records]
