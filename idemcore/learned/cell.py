"""The quantisation cell of a learned codec's bitstream: a box in latent space, reached through g_a and h_a only.

    f(x) = y   <=>   |g_a(x) - y_hat| < 1/2  and  |h_a(g_a(x)) - z_hat| < 1/2, elementwise

With y_hat given, every mean that the entropy model would predict is a constant, so it is never in the loop.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..io.images import to_bytes
from ..protocols import Cell
from .calibration import rounding_noise
from .flips import flip

if TYPE_CHECKING:
    from .encoder import LearnedEncoder

TOLERANCE = 0.05
"""`project` stops when every symbol is this near to its interval, in quantiser steps; its steps aim twice as deep.

Only symbols outside are moved: those in the rim between may stay, as a real image's do.
"""
SNAP_MARGINS = (0.02, 0.04, 0.08)
"""Quantiser steps inside the cell that `snap` aims at in turn. What re-encodes with room to spare does so anywhere."""
HEAVIER = 1.1
"""Growth, a pass, of the weight of a symbol that stays outside."""
PATIENCE = 30
"""Passes without fewer symbols outside after which `snap` turns to the next margin."""
OWN_SHARE = 0.6
"""Share of its passes that `snap` may spend on the image itself, before it starts from the decode g(y)."""
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
        self.symbols = self.y_hat[0].numel() + (self.z_hat[0].numel() if encoder.model.groups else 0)
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

    def reason(self, byte_image: Tensor) -> str:
        """How many symbols are outside, and what lets certification search longer."""
        outside = int(self.differing_symbols(byte_image[:1])[0])
        if not outside:
            return ""
        return (
            f"{outside} of {self.symbols} latents are outside their intervals after at most "
            f"{self.most_passes} passes; --set codec.certify_passes=1000 lets certification go on."
        )

    def position(self, x: Tensor) -> Tensor:
        """[B,K]: where each symbol of x stands in its interval (-1/2, 1/2), in quantiser steps; differentiable."""
        return self._offsets(x, slice(None))

    def _offsets(self, x: Tensor, cells: slice) -> Tensor:
        """`position` of images in these cells, one an image or one for all."""
        y, z = self.encoder.analyse(x)
        of_y = (y - self.y_hat[cells]).flatten(1)
        return torch.cat([of_y, (z - self.z_hat[cells]).flatten(1)], dim=1) if self.encoder.model.groups else of_y

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

    @property
    def most_passes(self) -> int:
        """Most passes of certification: `config.certify_passes`, or up to four times that for small images."""
        larger = 512 / math.sqrt(self.size[0] * self.size[1])
        return round(self.encoder.config.certify_passes * min(max(larger, 1.0), 4.0))

    def snap(self, x: Tensor) -> Tensor:
        """Uint8 [B,3,H,W]: the steps of `project`, evaluated at the image rounded to 8 bits, until all is inside.

        The unrounded image goes on moving while a pixel is not yet worth another level, so nothing moves by more
        than it must. Margins grow only if the least is not enough; an image that finds no way into the cell gives way
        to g(y), which lies nearest. At most `most_passes` passes forwards and backwards are made; for images of up to
        1024 pixels, `config.certify_passes` more that try single levels. Each image's are its own, so that it comes out
        as it would alone.
        """
        if len(x) > 1:
            return torch.cat([self._alone(b).snap(x[b : b + 1]) for b in range(len(x))])
        x, most = x.clamp(0, 1), self.most_passes
        best, outside, spent = to_bytes(x), torch.full((len(x),), torch.inf, device=x.device), 0
        for (start, limit), margin in product(((x, math.ceil(OWN_SHARE * most)), (self.centre, most)), SNAP_MARGINS):
            if not outside.any():
                break
            found, count, passes = self._approach(start, 0.5 - margin, limit - spent)
            best = torch.where(_wide(count < outside), found, best)
            outside, spent = torch.minimum(count, outside), spent + passes
        for b in outside.nonzero().flatten().tolist():
            best[b : b + 1] = flip(partial(self._energy, b), best[b : b + 1], self.encoder.config.certify_passes)
        return best

    def _alone(self, b: int) -> LatentCell:
        """The cell of one stream."""
        cell, own = copy.copy(self), slice(b, b + 1)
        cell.streams = self.streams[own]
        for name in ("y_hat", "z_hat", "centre", "distortion"):
            setattr(cell, name, getattr(self, name)[own])
        return cell

    def _energy(self, b: int, x: Tensor) -> Tensor:
        """[K]: summed squared excess of images over cell b."""
        excess = (self._offsets(x, slice(b, b + 1)).abs() - 0.5 + SAFE).clamp(min=0.0)
        return excess.square().sum(dim=1)

    def _approach(self, x: Tensor, reach: float, most: int) -> tuple[Tensor, Tensor, int]:
        """The best byte images on the way to |position| <= reach, symbols that each leaves outside, [B], and passes.

        In a pass that brings no fewer outside, the excess of those outside begins to weigh more, so that the last few
        are not outvoted by the many that each step disturbs a little.
        """
        best, least = to_bytes(x), torch.full((len(x),), torch.inf, device=x.device)
        weights = torch.ones(len(x), self.symbols, device=x.device)
        passes = since = 0
        while passes < most and since < PATIENCE and least.any():
            rounded = to_bytes(x)
            position, step = self._step(rounded.float() / 255, reach, reach, weights)
            outside = position.abs() > 0.5 - SAFE
            count = outside.sum(dim=1)
            better = count < least
            best, least = torch.where(_wide(better), rounded, best), torch.minimum(count, least)
            passes, since = passes + 1, 0 if better.any() else since + 1
            heavier = torch.where(outside, HEAVIER * weights, 1 + (weights - 1) / HEAVIER)
            weights = torch.where(better[:, None], weights, heavier)
            x = torch.where(_wide(least > 0), x + step, x).clamp(0, 1)
        return best, least, passes

    def _step(self, x: Tensor, edge: float, reach: float, weights: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Position [B,K] of x, and the step [B,3,H,W] that takes symbols beyond `edge` towards |position| <= reach.

        `weights` [B,K] are factors of the squared excess of each symbol.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            position = self.position(x)
            found = position.detach()
            excess = (position - found.clamp(-reach, reach)) * (found.abs() > edge)
            energy = (weights * excess.square()).sum(dim=1)
            (gradient,) = torch.autograd.grad(energy.sum() / 2, x)
        length = energy.detach() / gradient.square().sum(dim=(1, 2, 3)).clamp(min=1e-30)
        return found, -_wide(length) * gradient

    def _decoded(self, y_hat: Tensor) -> Tensor:
        return self.encoder.synthesise(y_hat)[..., : self.size[0], : self.size[1]]


def _wide(x: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return x[:, None, None, None]
