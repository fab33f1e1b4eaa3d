"""The quantisation cell of a learned codec's bitstream: a box in latent space, reached through g_a and h_a only.

    f(x) = y   <=>   |g_a(x) - y_hat| < 1/2  and  |h_a(g_a(x)) - z_hat| < 1/2, elementwise

With y_hat given, every mean that the entropy model would predict is a constant, so it is never in the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..io.images import to_bytes
from ..protocols import Cell
from .calibration import rounding_noise

if TYPE_CHECKING:
    from .encoder import LearnedEncoder

TOLERANCE = 0.05
"""`project` stops when every symbol is this near to its interval, in quantiser steps; its steps aim twice as deep.

Only symbols outside are moved: those in the rim between may stay, as a real image's do.
"""
SNAP_STEPS = 100
SNAP_MARGINS = (0.02, 0.04, 0.08)
"""Quantiser steps inside the cell that `snap` aims at in turn. What re-encodes with room to spare does so anywhere."""
SAFE = 1e-3
"""`snap` wants every symbol this far inside, in quantiser steps: more than float noise moves it."""


class LatentCell(Cell):
    """{x : f(x) = y} of streams of one image size."""

    def __init__(self, encoder: LearnedEncoder, streams: Sequence[bytes], size: tuple[int, int]) -> None:
        """Raises BitstreamError if a stream is damaged."""
        self.encoder, self.streams, self.size = encoder, streams, size
        latents = encoder.latents(streams, size)
        self.y_hat = latents.y_hat.to(encoder.device, torch.float32)
        self.z_hat = latents.z_hat.to(encoder.device, torch.float32)
        self.centre = self._decoded(self.y_hat)
        within = self._decoded(self.y_hat + rounding_noise(self.y_hat)) - self.centre
        # The codec also loses what no latent holds, in a share that its training measured.
        self.distortion = encoder.error_ratio * within.square().mean(dim=(1, 2, 3)).sqrt().clamp(min=1e-4)

    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: the real encoder gives the same bytes."""
        found = self.encoder.encode(byte_image.float() / 255)
        same = [new == old for new, old in zip(found, self.streams, strict=True)]
        return torch.tensor(same, device=self.centre.device)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: latents and hyper-latents that are outside their intervals, given y's own means."""
        with torch.no_grad():
            return (self.position(byte_image.to(self.centre.device).float() / 255).abs() > 0.5).sum(dim=1)

    def position(self, x: Tensor) -> Tensor:
        """[B,K]: where each symbol of x stands in its interval (-1/2, 1/2), in quantiser steps; differentiable."""
        y, z = self.encoder.analyse(x)
        return torch.cat([(y - self.y_hat).flatten(1), (z - self.z_hat).flatten(1)], dim=1)

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), rounding passed straight through: the gradient of y_hat with respect to y is the identity."""
        y, z = self.encoder.analyse(x)
        quantised = self.encoder.quantise(y.detach(), z.detach())
        return self._decoded(y + (quantised - y).detach())

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """A near-nearest point of the cell and of [0,1], `margin` quantiser steps inside, within 0.05 steps.

        Each step goes along the gradient of the summed squared excess by Polyak's length (1969), the projection on the
        half-space that the excess, linearised, leaves: it comes nearer to every point of the cell at once, so that
        the way to it stays short.
        """
        x, edge = x.clamp(0, 1), 0.5 - margin
        for _ in range(self.encoder.config.project_steps):
            position, step = self._step(x, edge, max(edge - 2 * TOLERANCE, 0.0))
            outside = position.abs().amax(dim=1) > edge + TOLERANCE
            if not outside.any():
                break
            x = torch.where(_wide(outside), x + step, x).clamp(0, 1)
        return x

    def snap(self, x: Tensor) -> Tensor:
        """Uint8 [B,3,H,W]: the steps of `project`, evaluated at the image rounded to 8 bits, until all is inside.

        The unrounded image goes on moving while a pixel is not yet worth another level, so nothing moves by more
        than it must. Margins grow only if the least is not enough.
        """
        best, least = to_bytes(x), torch.full((len(x),), torch.inf, device=x.device)
        for margin in SNAP_MARGINS:
            found, outside = self._snap(x.clamp(0, 1), 0.5 - margin)
            best = torch.where(_wide(outside < least), found, best)
            least = torch.minimum(outside, least)
            if not least.any():
                break
        return best

    def _snap(self, x: Tensor, reach: float) -> tuple[Tensor, Tensor]:
        """The best byte images on the way to |position| <= reach, and how many symbols each leaves outside, [B]."""
        best, least = to_bytes(x), torch.full((len(x),), torch.inf, device=x.device)
        for _ in range(SNAP_STEPS):
            rounded = to_bytes(x)
            position, step = self._step(rounded.float() / 255, reach, reach)
            outside = (position.abs() > 0.5 - SAFE).sum(dim=1)
            best = torch.where(_wide(outside < least), rounded, best)
            least = torch.minimum(outside, least)
            if not least.any():
                break
            x = torch.where(_wide(least > 0), x + step, x).clamp(0, 1)
        return best, least

    def _step(self, x: Tensor, edge: float, reach: float) -> tuple[Tensor, Tensor]:
        """Position [B,K] of x, and the step [B,3,H,W] that takes symbols beyond `edge` towards |position| <= reach."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            position = self.position(x)
            found = position.detach()
            excess = (position - found.clamp(-reach, reach)) * (found.abs() > edge)
            energy = excess.square().sum(dim=1)
            (gradient,) = torch.autograd.grad(energy.sum() / 2, x)
        length = energy.detach() / gradient.square().sum(dim=(1, 2, 3)).clamp(min=1e-30)
        return found, -_wide(length) * gradient

    def _decoded(self, y_hat: Tensor) -> Tensor:
        return self.encoder.synthesise(y_hat)[..., : self.size[0], : self.size[1]]


def _wide(x: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return x[:, None, None, None]
