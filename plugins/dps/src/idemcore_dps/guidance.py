"""Guidance terms: how far an estimate is from the bitstream, and where it is less. Images here are in [-1,1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idemcore.protocols import Constraint, DiffusionGenerator

from .vp import Timestep, estimate, unsigned


def violation(cell: Constraint, x0: Tensor, constraint: str) -> Tensor:
    """[B,N]: how x0 [B,3,H,W] misses the bitstream y, 0 where it does not; differentiable.

    image    g(y) - g(f(x0))                in [-1,1] units, straight through the quantiser; the paper's x-domain
    latent   f(x0) - y                      in quantiser steps, straight through the quantiser; the paper's y-domain
    cell     way of f(x0) to the box of y   in quantiser steps, before the quantiser
    """
    image = unsigned(x0)
    if constraint == "image":
        return 2 * (cell.target - cell.measure(image)).flatten(1)
    if constraint == "latent":
        position = cell.position(image)
        return position + (position.round() - position).detach()
    return cell.excess(image)


def rms(missed: Tensor, constraint: str) -> float:
    """Root mean square of a violation as `Step.residual` wants it: in [0,1] units, or in quantiser steps."""
    root = float(missed.detach().square().mean().sqrt())
    return root / 2 if constraint == "image" else root


@dataclass(frozen=True)
class Guidance:
    """What `through_denoiser` found at x_t, without a graph."""

    x0: Tensor
    share: Tensor | None
    """Of the learned variance; see `vp.estimate`."""
    missed: Tensor
    """The violation of x0, [B,N]."""
    gradient: Tensor
    """[B,3,H,W] with respect to x_t."""


def through_denoiser(
    cell: Constraint, generator: DiffusionGenerator, x_t: Tensor, t: Timestep, constraint: str
) -> Guidance:
    """The gradient of ||violation(x0(x_t))||_2, not squared, image by image (Chung et al., ICLR 2023, alg. 1)."""
    with torch.enable_grad():
        x_t = x_t.detach().requires_grad_()
        x0, share = estimate(generator, x_t, t)
        missed = violation(cell, x0, constraint)
        (gradient,) = torch.autograd.grad(missed.norm(dim=1).sum(), x_t)
    return Guidance(x0.detach(), None if share is None else share.detach(), missed.detach(), gradient)


def descent(cell: Constraint, x0: Tensor, constraint: str) -> tuple[Tensor, Tensor]:
    """The step [B,3,H,W] from x0 that would end the violation, and the violation [B,N]; the denoiser is not asked.

    It goes down the gradient d of half the squared norm by Polyak's length (1969), ||violation||^2 / ||d||^2, so that
    it needs no scale: where g(f(.)) is an orthogonal projection, that is 1 and the step g(y) - g(f(x0)).
    """
    with torch.enable_grad():
        x0 = x0.detach().requires_grad_()
        missed = violation(cell, x0, constraint)
        squared = missed.square().sum(dim=1)
        (gradient,) = torch.autograd.grad(squared.sum() / 2, x0)
    length = squared.detach() / gradient.square().flatten(1).sum(dim=1).clamp(min=1e-30)
    return -length[:, None, None, None] * gradient, missed.detach()


def on_sphere(step: Tensor, gradient: Tensor, deviation: Tensor, rate: float) -> Tensor:
    """The noise `step` [B,3,H,W] turned from its own direction towards -gradient by `rate` in 0..1, at its mean length.

    Yang et al., ICML 2024: d* = -r gradient / ||gradient||, d = step + rate (d* - step), and r d / ||d||, where
    r = sqrt(n) deviation is the radius on which noise of n samples an image concentrates.
    """
    radius = step[0].numel() ** 0.5 * deviation
    mixed = step + rate * (-radius * _unit(gradient) - step)
    return radius * _unit(mixed)


def _unit(x: Tensor) -> Tensor:
    """Each image [B,...] at length 1; 0 stays 0."""
    return x / x.flatten(1).norm(dim=1).clamp(min=1e-8)[:, None, None, None]
