"""Recipes of one network: its optimiser, averaged weights and checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .loop import Training

WARM_UP = 500
"""Steps."""
DECAY = 0.4
"""Last share of a training."""


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear from 0 to `peak` in WARM_UP steps, then constant, then linear to 0 over DECAY; progress 0..1."""
    return peak * min(1.0, (step + 1) / WARM_UP) * min(1.0, max(0.0, (1 - progress) / DECAY))


def psnr(found: Tensor, wanted: Tensor) -> float:
    """dB, at most 100, of images in [-1,1]; those found are clamped first."""
    return float(-10 * ((found.clamp(-1, 1) - wanted) / 2).square().mean().add(1e-10).log10())


def grid(images: Tensor, columns: int = 4) -> Tensor:
    """[B,3,H,W] as one picture [1,3,rows*H,columns*W], row by row."""
    rows = [torch.cat(list(images[i : i + columns]), dim=2) for i in range(0, len(images), columns)]
    return torch.cat(rows, dim=1)[None].cpu()


class NetworkTraining(Training):
    """A network, Adam and averaged weights: what such a training saves, goes on from and starts from."""

    network: nn.Module
    ema: dict[str, Tensor]
    """Averaged weights, by name."""

    def __init__(self, out: Path, minutes: float, save_minutes: float, device: torch.device, init: str) -> None:
        """`init`: weights to start from where there is no checkpoint; empty for none."""
        super().__init__(out, minutes, save_minutes)
        self.device, self.init = device, init
        self.seen = 0.0
        """Images, or crops of 64x64, trained on."""

    def prepare(self, network: nn.Module, learning_rate: float, rng: torch.Generator) -> None:
        """Once the network is there: its optimizer, averages, and the noise and order of its training."""
        self.network, self.rng = network, rng
        fused = self.device.type == "cuda"
        self.optimizer = torch.optim.Adam(network.parameters(), learning_rate, (0.9, 0.99), fused=fused)
        self.noise = rng if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(rng.initial_seed())
        """Of noise that is made on the device."""
        self.ema = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    @abstractmethod
    def initial(self, weights: str) -> nn.Module:
        """The network of a weights.safetensors. Raises MissingError or InputError if there is none that fits."""

    def resume(self) -> bool:
        """As in the base class; without a checkpoint, starts from the weights `init` if there are any."""
        resumed = super().resume()
        if not resumed and self.init:
            self.network.load_state_dict(self.initial(self.init).state_dict())
            self.ema = self._copy()
        if self.noise is not self.rng:  # noise that was seen before the interrupt does not come again
            self.noise.manual_seed(self.rng.initial_seed() + self.step)
        return resumed

    @torch.no_grad()
    def average(self, share: float) -> None:
        """Moves the averaged weights by `share` of the way to those of now."""
        now = self.network.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [now[name] for name in self.ema], share)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise of that shape, made on its device."""
        return torch.randn(like.shape, generator=self.noise, device=like.device)

    @cached_property
    def compiled(self) -> nn.Module:
        """The network as updates run it: compiled on a GPU, where that pays."""
        return cast(nn.Module, torch.compile(self.network)) if self.device.type == "cuda" else self.network

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The network with the averaged weights for a while, and without gradients."""
        current = self._copy()
        self.network.load_state_dict(self.ema)
        try:
            with torch.no_grad():
                yield self.network
        finally:
            self.network.load_state_dict(current)

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "seen": self.seen,
            "rng": self.rng.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.seen = state["seen"]
        self.rng.set_state(state["rng"])
