"""The training. `Training` stops in time, resumes, logs and draws curves; what is trained, and how, is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from idemcore.training.crops import Crops
from idemcore.training.loop import Progress, Training

from . import TrainingConfig


def train(data: Path, out: Path, config: TrainingConfig, device: torch.device, progress: Progress) -> Path:
    """See `protocols.Recipe`. Raises InputError for images that are missing or too small."""
    return Denoising(data, out, config, device).run(progress)


def network(channels: int) -> nn.Module:
    """From a noisy image [B,3,H,W] to the noise in it."""
    layers = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 3, 3, padding=1)]
    return nn.Sequential(*layers)


class Denoising(Training):
    """The mean squared error of the noise, by Adam."""

    def __init__(self, data: Path, out: Path, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(out, config.minutes, save_minutes=1.0)
        self.config, self.device = config, device
        self.crops, self.rng = Crops(data, config.crop, device=device), torch.Generator().manual_seed(config.seed)
        self.network = network(config.channels).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), config.learning_rate)

    def update(self) -> dict[str, float]:
        """One step."""
        clean = self.crops.batch(self.config.batch, self.config.crop, self.rng)
        noise = torch.randn(clean.shape, generator=self.rng).to(self.device)
        loss = (self.network(clean + self.config.sigma * noise) - noise).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": float(loss)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        return {**parts, "rng": self.rng.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.set_state(state["rng"])

    def write_weights(self) -> Path:
        """What the training is for."""
        path = self.out / "weights.safetensors"
        save_file({name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}, path)
        return path
