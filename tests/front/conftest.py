"""A solver, a prior and a codec as a notebook defines them: no package, no Spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.plugins import objects
from idemcore.protocols import Cell, DiffusionGenerator, Encoder, InversionSolver, Solution, Step

STEP = 32


@dataclass
class MySolver(InversionSolver[Any]):
    """Denoise and project."""

    steps: int = 3
    needs = {"diffusion", "project"}

    def solve(self, cell: Any, generator: Any, noise: Noise, callback: Any = None) -> Solution:
        x0 = cell.centre
        for i in range(self.steps):
            sigma = (cell.distortion * (self.steps - i) / self.steps).clamp(min=generator.sigma_min)
            x = x0 + sigma[:, None, None, None] * noise.like(x0)
            x0 = cell.project(generator.denoise(x, sigma))
            if callback:
                callback(Step(i, self.steps, float(sigma.mean()), x0, 0.0, i + 1, x))
        return Solution(x0.clamp(0, 1), self.steps)


class Grey(DiffusionGenerator):
    """Every sample N(0.5, deviation^2)."""

    sigma_min, sigma_max = 1e-3, 10.0

    def __init__(self, deviation: float = 0.2) -> None:
        self.deviation = deviation

    def denoise(self, x: Tensor, sigma: Any) -> Tensor:
        level = torch.as_tensor(sigma).reshape(-1, 1, 1, 1)
        return 0.5 + self.deviation**2 / (self.deviation**2 + level**2) * (x - 0.5)


class Coarse(Encoder):
    """Every sample to a multiple of 32; the bytes are the symbols."""

    offers = {"project"}

    def __init__(self, height: int = 8) -> None:
        self.height = height

    def encode(self, image: Tensor) -> list[bytes]:
        symbols = ((image * 255).round() / STEP).round().to(torch.uint8)
        return [one.numpy().tobytes() for one in symbols]

    def decode(self, streams: Sequence[bytes], size: Any = None) -> Tensor:
        return (torch.stack([self._symbols(stream) for stream in streams]) * STEP / 255).clamp(0, 1)

    def cell(self, streams: Sequence[bytes], size: Any = None) -> Cell:
        return CoarseCell(self, list(streams))

    def _symbols(self, stream: bytes) -> Tensor:
        flat = torch.frombuffer(bytearray(stream), dtype=torch.uint8).float()
        return flat.reshape(3, self.height, -1)


class CoarseCell(Cell):
    def __init__(self, codec: Coarse, streams: list[bytes]) -> None:
        self.codec, self.streams = codec, streams
        self.centre = codec.decode(streams)
        self.distortion = torch.full((len(streams),), STEP / 255 / 12**0.5)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        again = self.codec.encode(byte_image.float() / 255)
        return torch.tensor([sum(a != b for a, b in zip(x, y, strict=True)) for x, y in zip(again, self.streams)])

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        symbols = torch.stack([self.codec._symbols(stream) for stream in self.streams])
        half = 0.5 - margin
        return x.clamp((symbols - half) * STEP / 255, (symbols + half) * STEP / 255).clamp(0, 1)


@pytest.fixture
def mine() -> SimpleNamespace:
    return SimpleNamespace(MySolver=MySolver, Grey=Grey, Coarse=Coarse)


@pytest.fixture
def image() -> Tensor:
    """Float32 [3,8,12]."""
    return torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Any:
    before = dict(objects._REGISTERED)
    yield
    objects._REGISTERED.clear()
    objects._REGISTERED.update(before)
