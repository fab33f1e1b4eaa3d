"""What the solvers share: looking at an image, keeping the best one, restarts, and telling the callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, Solution, Step
from idemcore.runtime import finest

from .config import SearchConfig
from .geometry import State


@dataclass(frozen=True)
class Look:
    """An image that the generator made, and where the cell wants it to go."""

    image: Tensor
    """[B,3,H,W] in [0,1]."""
    energy: Tensor
    """[B], as exact as the device can: E = 1/2 sum_k d_k^2, d the distances to the cell in the constraint's unit."""
    residual: Tensor
    """[B], float32: the root mean square of d."""
    state: State
    """What the image was made of: a latent, or activations."""
    gradients: State
    """dE / d(state)."""

    def replaced(self, other: Look, mask: Tensor) -> Look:
        """`other`'s images where the mask [B] is true."""

        def mixed(new: State, old: State) -> State:
            return tuple(where(mask, *pair) for pair in zip(new, old, strict=True))

        return Look(
            where(mask, other.image, self.image),
            where(mask, other.energy, self.energy),
            where(mask, other.residual, self.residual),
            mixed(other.state, self.state),
            mixed(other.gradients, self.gradients),
        )


class Measure:
    """Distances d [B,K] of images to a cell, in a unit [B] that suits every codec.

        image   d = (g(y) - g(f(x))) / e          K pixels; e is the rms error that the codec expects of g(y)
        cell    d = excess(x)                     K symbols, quantiser steps outside their intervals
    """  # fmt: skip

    def __init__(self, cell: Constraint, kind: str) -> None:
        self.cell, self.kind = cell, kind
        self.unit = cell.distortion.clamp(min=1e-6) if kind == "image" else torch.ones_like(cell.distortion)

    def distances(self, image: Tensor) -> Tensor:
        """d of images in [0,1]."""
        if self.kind == "cell":
            return self.cell.excess(image)
        return (self.cell.target - self.cell.measure(image)).flatten(1) / self.unit[:, None]


class Search:
    """One solve: counts passes, tells the callback of each, and keeps the best image of each bitstream."""

    def __init__(self, cell: Constraint, constraint: str, config: SearchConfig, callback: Callback | None) -> None:
        self.measure, self.callback, self.passes = Measure(cell, constraint), callback, 0
        self.stop, self.restarts, self.total = config.stop, config.restarts, (1 + config.restarts) * config.steps
        self.image = cell.centre
        self.residual = torch.full_like(cell.distortion, torch.inf)
        """[B]: that of `image`, the best so far."""

    @property
    def done(self) -> Tensor:
        """Bool [B]: images that are near enough. They are kept as they are, whatever becomes of the others."""
        return self.residual <= self.stop

    def attempts(self, noise: Noise) -> Iterator[Noise]:
        """A noise of its own for each attempt, while some image is not done."""
        for branch in branches(noise, 1 + self.restarts):
            yield branch
            if self.done.all():
                return

    def look(self, make: Callable[..., Tensor], state: State) -> Look:
        """make(*state), one pass forwards and one backwards.

        Values are clamped to [0,1], as those of an image are, but a gradient passes: it still brings them back.
        """
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in state]
            made = make(*leaves)
            image = made + (made.clamp(0, 1) - made).detach()
            distances = self.measure.distances(image)
            energy = distances.to(finest(distances.device)).square().sum(dim=1) / 2
            gradients = torch.autograd.grad(energy.sum(), leaves, materialize_grads=True)
        self.passes += 1
        residual = (2 * energy.detach() / distances.shape[1]).sqrt().float()
        return Look(image.detach().clamp(0, 1), energy.detach(), residual, tuple(state), gradients)

    def tell(self, look: Look, deviation: Tensor | None = None) -> None:
        """Calls the callback; `deviation` [B] is that of noise in the distances, in their unit."""
        if self.callback:
            unit = self.measure.unit
            sigma = 0.0 if deviation is None else float((deviation * unit).mean())
            residual = float((look.residual * unit).square().mean().sqrt())
            x, gradient = look.state[0].detach(), look.gradients[0]
            self.callback(Step(self.passes - 1, self.total, sigma, look.image, residual, self.passes, x, gradient))

    def offer(self, look: Look) -> None:
        """Keeps images that are better than the best, except where that is good enough."""
        better = (look.residual < self.residual) & ~self.done
        self.image = where(better, look.image, self.image)
        self.residual = where(better, look.residual, self.residual)

    def solution(self) -> Solution:
        return Solution(self.image, nfe=self.passes, backwards=self.passes)


def branches(noise: Noise, count: int) -> list[Noise]:
    """Independent noises. One attempt's draws then do not depend on how long the attempts before it went on."""
    draws = (noise.uniform(count, 2).double() * 2**24).long()
    seeds = draws[..., 0] * 2**24 + draws[..., 1]
    return [Noise(column.tolist()) for column in seeds.unbind(dim=1)]


def where(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new`'s images where the mask [B] is true."""
    return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)
