"""Where latents and activations may lie: spheres and balls, one an image. Tensors are [B,...]."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""Latents, or the activations of a layer."""


class Domain(Protocol):
    """Where a descent may go."""

    def project(self, state: State) -> State:
        """The nearest state of the domain."""

    def tangent(self, state: State, gradients: State) -> State:
        """The part of the gradients along which the domain goes on."""


class Sphere:
    """Each tensor on the sphere of radius sqrt(d), where N(0, I) in many dimensions d lies."""

    def project(self, state: State) -> State:
        return tuple(to_sphere(z) for z in state)

    def tangent(self, state: State, gradients: State) -> State:
        return tuple(g - z * mean(g * z) for g, z in zip(gradients, state, strict=True))


class Balls:
    """Each tensor at most `radius` from its centre, by the mean absolute (l1) or the rms (l2) of the differences."""

    def __init__(self, centre: State, radius: float, kind: str) -> None:
        self.centre, self.radius = centre, radius
        self.nearest = to_l1_ball if kind == "l1" else to_l2_ball

    def project(self, state: State) -> State:
        pairs = zip(state, self.centre, strict=True)
        return tuple(centre + self.nearest(a - centre, self.radius) for a, centre in pairs)

    def tangent(self, state: State, gradients: State) -> State:
        return gradients


def mean(x: Tensor) -> Tensor:
    """[B,1,..]: the mean of each image's numbers."""
    return x.flatten(1).mean(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def rms(x: Tensor) -> Tensor:
    """[B,1,..]: the root of their mean square."""
    return mean(x.square()).sqrt()


def to_sphere(z: Tensor) -> Tensor:
    """The nearest point of rms 1, which is at sqrt(d) from 0."""
    return z / rms(z).clamp(min=torch.finfo(z.dtype).tiny)


def to_l2_ball(x: Tensor, radius: float) -> Tensor:
    """The nearest point whose rms is at most `radius`."""
    return x * (radius / rms(x).clamp(min=torch.finfo(x.dtype).tiny)).clamp(max=1)


def to_l1_ball(x: Tensor, radius: float) -> Tensor:
    """The nearest point whose mean absolute value is at most `radius`: all shrink by one threshold, image by image.

    Duchi et al., ICML 2008, fig. 1: the threshold from the sorted absolute values.
    """
    size, count = x.flatten(1).abs(), x[0].numel()
    largest = size.sort(dim=1, descending=True).values
    thresholds = (largest.cumsum(dim=1) - radius * count) / torch.arange(1, count + 1, device=x.device)
    # Of those that stay above 0, the threshold that the most numbers share; the first stays whenever radius > 0.
    shared = (largest > thresholds).sum(dim=1, keepdim=True).clamp(min=1) - 1
    threshold = thresholds.gather(1, shared).clamp(min=0)
    return (x.flatten(1).sign() * (size - threshold).clamp(min=0)).reshape(x.shape)
