"""A world where every answer is known: linear generators, and scalar quantisers of every sample."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Cell, LatentGenerator

SHAPE = (3, 2, 2)
COARSE, FINE = 32 / 255, 1e-4
"""Quantiser steps; what the fine one leaves of an image is the image."""


class BoxCell(Cell):
    """A scalar quantiser of every sample."""

    def __init__(self, image: Tensor, step: float = COARSE) -> None:
        self.step, self.symbols = step, (image / step).round()
        self.centre = self.symbols * step
        self.distortion = torch.full((len(image),), 0.01)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return ((byte_image / 255 / self.step).round() != self.symbols).flatten(1).sum(1)

    def measure(self, x: Tensor) -> Tensor:
        return x + ((x / self.step).round() * self.step - x).detach()

    def excess(self, x: Tensor) -> Tensor:
        return ((x / self.step - self.symbols).abs() - 0.5).clamp(min=0).flatten(1)


class PointCell(BoxCell):
    """Intervals of no width: with the soft edge of `langevin`, a Gaussian likelihood."""

    def excess(self, x: Tensor) -> Tensor:
        return (x / self.step - self.symbols).abs().flatten(1)


class Linear(LatentGenerator):
    """G(z) = 1/2 + A z, in two layers: A z and the rest. Counts its passes and keeps the activations it was given."""

    layers = 2

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.latent_shape = matrix, (matrix.shape[1],)
        self.given: list[tuple[int, Tensor]] = []

    def sample(self, noise: Noise) -> Tensor:
        return noise.normal(*self.latent_shape)

    def synthesize(self, z: Tensor) -> Tensor:
        return self.synthesize_from((z,), 0)

    def advance(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, ...]:
        # Number by number: a matrix product may round differently with the batch size.
        return activations if layer == to else ((self.matrix * activations[0][:, None]).sum(dim=2),)

    def synthesize_from(self, activations: tuple[Tensor, ...], layer: int) -> Tensor:
        self.given.append((layer, activations[0].detach()))
        (flat,) = self.advance(activations, layer, 1)
        return 0.5 + flat.reshape(-1, *SHAPE)

    def latents(self, image: Tensor) -> Tensor:
        """z of images [B,3,2,2] that G made, float64."""
        return (image.double().flatten(1) - 0.5) @ torch.linalg.pinv(self.matrix.double()).T


def linear(dimensions: int = 4, scale: float = 0.1, seed: int = 0) -> Linear:
    rng = torch.Generator().manual_seed(seed)
    return Linear(scale * torch.randn(12, dimensions, generator=rng))


def image_on_sphere(generator: Linear, seeds: list[int]) -> Tensor:
    """G of latents of rms 1."""
    z = generator.sample(Noise(seeds))
    return generator.synthesize(z / z.square().mean(dim=1, keepdim=True).sqrt())


@pytest.fixture
def world() -> SimpleNamespace:
    things = (BoxCell, PointCell, Linear, linear, image_on_sphere)
    return SimpleNamespace(**{thing.__name__: thing for thing in things}, SHAPE=SHAPE, COARSE=COARSE, FINE=FINE)
