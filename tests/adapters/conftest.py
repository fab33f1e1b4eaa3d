"""A world where every answer is known: the toy source, small latent generators, and the least latent solver."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Cell, InversionSolver, LatentGenerator, Solution, Step
from idemcore.runtime import Runtime
from idemcore_toy.config import ToyCodecConfig, ToyPriorConfig
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.generator import ToyGenerator

CPU = Runtime(torch.device("cpu"), torch.float32)
SIZE = (12, 10)


class Linear(LatentGenerator):
    """G(z) = mean + deviation * (z spread over the image): every pixel of a tile is one of `latent_shape`'s numbers."""

    mean, deviation = 0.5, 0.1

    def __init__(self, config: object = None, runtime: object = None, size: tuple[int, int] = SIZE, tile: int = 2):
        self.size, self.tile = size, tile
        self.latent_shape = (3 * size[0] * size[1] // self.tile**2,)

    def sample(self, noise: Noise) -> Tensor:
        return noise.normal(*self.latent_shape)

    def synthesize(self, z: Tensor) -> Tensor:
        small = z.reshape(len(z), 3, self.size[0] // self.tile, self.size[1] // self.tile)
        return self.mean + self.deviation * small.repeat_interleave(self.tile, 2).repeat_interleave(self.tile, 3)


class Bent(Linear):
    """A curved G."""

    def synthesize(self, z: Tensor) -> Tensor:
        return 0.5 + 0.4 * torch.sin(4 * super().synthesize(z) - 2) + 0.02 * z.mean(dim=1)[:, None, None, None]


class Descent(InversionSolver[LatentGenerator]):
    """The least latent solver: gradient descent on the excess."""

    def __init__(self, config: object = None, steps: int = 12) -> None:
        self.steps = steps

    def solve(self, cell: Cell, generator: LatentGenerator, noise: Noise, callback=None) -> Solution:  # type: ignore[no-untyped-def]
        z = generator.sample(noise)
        for i in range(self.steps):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                image = generator.synthesize(z)
                excess = cell.excess(image).square().sum(dim=1)
                (gradient,) = torch.autograd.grad(excess.sum(), z)
            if callback:
                callback(Step(i, self.steps, 0.0, image.detach(), float(excess.detach().mean()), i + 1))
            length = excess.detach() / gradient.square().flatten(1).sum(dim=1).clamp(min=1e-30)
            z = z.detach() - length[:, None, None, None] * gradient
        with torch.no_grad():
            return Solution(generator.synthesize(z).clamp(0, 1), self.steps + 1, self.steps)


def toy(components: int = 5) -> ToyGenerator:
    return ToyGenerator(ToyPriorConfig(components), CPU)


def toy_cell(image: Tensor, quality: int = 3) -> Cell:
    codec = ToyEncoder(ToyCodecConfig(quality), CPU)
    return codec.cell(codec.encode(image), tuple(image.shape[-2:]))


def numeric(function, z: Tensor, direction: Tensor, step: float = 1e-5) -> Tensor:  # type: ignore[no-untyped-def]
    return (function(z + step * direction) - function(z - step * direction)) / (2 * step)


@pytest.fixture
def world() -> SimpleNamespace:
    return SimpleNamespace(
        **{f.__name__: f for f in (Linear, Bent, Descent, toy, toy_cell, numeric)}, CPU=CPU, SIZE=SIZE
    )
