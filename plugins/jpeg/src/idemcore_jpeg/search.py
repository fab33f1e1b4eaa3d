"""Tabu search (Glover 1989) for byte tiles whose coefficients, by libjpeg's integers, fall into given intervals.

A step adds -1, 0 or +1 to each channel of one pixel. The objective, in grey levels of an orthonormal DCT, is

    F = 1/2 sum_k w_k max(0, distance of coefficient k outside its interval)^2

with intervals narrowed a little, and weights w_k that grow while coefficient k is outside, so that what keeps failing
comes to matter most. What every step at every pixel does to F is known at once: it changes the pixel's Y, Cb and Cr by
-1, 0 or +1, these act on different blocks, and a sample moves the coefficients of its block along a column of the DCT.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .layout import TileMap, dct_matrix
from .model import COLOUR, average, averaging_bias, fixed_point_ycc, tile_coefficients

STEPS = torch.tensor(list(itertools.product((-1, 0, 1), repeat=3)), dtype=torch.int32)
REACH = 0.26
"""A sample's step of 1 moves a coefficient by less: those further inside their interval need no look."""
INNER, INNER_LIMIT = 0.3, 0.5
"""By how much intervals are narrowed: a share of their half width, and at most so many grey levels."""
GROWTH = 0.1
"""Growth a step of the weight of a coefficient outside its interval."""
STILL = 1e-3
"""Weight against F of the squared distance to the wanted tile: decides between steps that serve F alike."""
FAR = 3.0
"""Grey levels beyond which the distance to the wanted tile counts no more: the cell itself may be further."""
TENURE = (3, 10)
"""Iterations for which a changed pixel is left alone."""


class Search:
    """Searches many tiles of one map side by side; each tile's path depends on nothing but that tile."""

    def __init__(self, where: TileMap, grey: bool, iterations: int, seed: int) -> None:
        device = where.real.device
        self.where, self.grey, self.iterations, self.seed = where, grey, iterations, seed
        self.basis = dct_matrix().float().to(device)
        self.steps = STEPS.to(device)
        self.shifts = (STEPS @ COLOUR.T).to(device)
        """Int32 [steps,3]: what a step adds to Y, Cb and Cr in fixed point."""
        pixels = where.real.numel()
        self.block = self._first(where.luma_index, pixels) // 64
        """Int64 [P]: luma block of each pixel."""
        self.members = [(self.block == k).nonzero()[:, 0] for k in self.block.unique()]
        """Pixels of each luma block."""
        self.samples = where.chroma_index.shape[1]
        self.shift = self.samples.bit_length() - 1
        self.weights = torch.zeros(pixels, 64, dtype=torch.int32, device=device)
        """Int32 [P,64]: times that a pixel counts in each chroma sample."""
        for column in where.chroma_index.T:
            self.weights[column, torch.arange(64, device=device)] += 1
        self.chroma_sample = self.weights.argmax(1)

    @staticmethod
    def _first(index: Tensor, pixels: int) -> Tensor:
        """For each pixel, the first sample made of it."""
        first = torch.full((pixels,), len(index) - 1, device=index.device)
        return first.scatter_reduce(0, index, torch.arange(len(index), device=index.device), "amin")

    def run(self, start: Tensor, wanted: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Byte tiles int32 [3,T,P], tiles wanted, bounds int32 [T,K,64] -> the best tiles found and their F [T]."""
        best, best_penalty = start.clone(), torch.full((start.shape[1],), torch.inf, device=start.device)
        live = torch.arange(start.shape[1], device=start.device)
        tiles, tabu = start.clone(), torch.zeros(start.shape[1:], dtype=torch.int32, device=start.device)
        weight, inner = torch.ones(low.shape, device=start.device), ((high - low) / 16 * INNER).clamp(max=INNER_LIMIT)
        random = torch.Generator().manual_seed(self.seed)
        for iteration in range(self.iterations):
            below, above = self._outside(tiles, low, high)
            outside = torch.maximum(below, above).clamp(min=0)
            penalty = outside.square().sum((1, 2)) / 2
            better = penalty < best_penalty[live]
            best[:, live[better]], best_penalty[live[better]] = tiles[:, better], penalty[better]
            going = penalty > 0
            if not going.any():
                break
            if not going.all():
                live, tiles, wanted, tabu = live[going], tiles[:, going], wanted[:, going], tabu[going]
                low, high, below, above = low[going], high[going], below[going], above[going]
                weight, inner, outside = weight[going], inner[going], outside[going]
            weight += GROWTH * (outside > 0)
            score = self.scores(tiles, wanted, below + inner, above + inner, weight)
            score += torch.rand(score.shape[1:], generator=random).to(score.device) * STILL
            tenure = int(torch.randint(*TENURE, (), generator=random))
            self._step(tiles, score.masked_fill_((tabu > iteration)[:, None], torch.inf), tabu, iteration + 1 + tenure)
        return best, best_penalty

    def _step(self, tiles: Tensor, score: Tensor, tabu: Tensor, until: int) -> None:
        """Takes the best step of each tile, and the best of every other luma block where it lowers F."""
        overall = score.flatten(1).min(1).values
        for members in self.members:
            value, chosen = score[..., members].flatten(1).min(1)
            every = ((value == overall) | (value < 0)).nonzero()[:, 0]
            step, pixel = chosen[every] // len(members), members[chosen[every] % len(members)]
            tiles[:, every, pixel] += self.steps[step].T
            tabu[every, pixel] = until

    def _outside(self, tiles: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Distances below and above the intervals [T,K,64], negative inside."""
        found = tile_coefficients(tiles, self.where, self.grey)
        return (low - found) / 8.0, (found - high) / 8.0

    def scores(self, tiles: Tensor, wanted: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """[T,steps,P]: change of F, and a little of the distance to `wanted`; inf for steps without effect."""
        fixed = fixed_point_ycc(tiles)
        gains = [self._luma_gains(below, above, weight)]
        if not self.grey:
            chroma = zip(fixed[1:] >> 16, *(t[:, -2:].unbind(1) for t in (below, above, weight)), strict=True)
            gains += [self._chroma_gains(*planes_and_bounds) for planes_and_bounds in chroma]
        score = self._cost(tiles, wanted)
        idle = torch.ones(score.shape, dtype=torch.bool, device=tiles.device)
        for channel, gain in enumerate(gains):
            # Carries out of the 16 fractional bits: what each step adds to the rounded Y, Cb or Cr.
            change = ((fixed[channel] & 0xFFFF)[:, None] + self.shifts[:, channel, None]) >> 16
            minus, plus = gain[:, :1], gain[:, 2:]
            score += change * ((plus - minus) / 2 + change * ((plus + minus) / 2))
            idle &= change == 0
        return score.masked_fill_(idle, torch.inf)

    def _cost(self, tiles: Tensor, wanted: Tensor) -> Tensor:
        """[T,steps,P]: STILL times the change of the squared distance to `wanted`; inf where a step cannot be."""
        sign = torch.tensor([-1, 0, 1], device=tiles.device)[:, None]
        moved = tiles[:, :, None] + sign
        away = (tiles - wanted).clamp(-FAR, FAR)[:, :, None]
        cost = STILL * (2 * sign * away + sign.square())
        red, green, blue = cost.masked_fill_((moved < 0) | (moved > 255) | ~self.where.real, torch.inf)
        total: Tensor = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return total.flatten(1, 3)

    def _luma_gains(self, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """[T,3,P]: change of F if a pixel's luma changes by -1, 0, +1."""
        blocks = below.shape[1] if self.grey else below.shape[1] - 2
        if self.where.inner:
            gains = self._sample_gains(below[:, :blocks], above[:, :blocks], weight[:, :blocks])
            return gains.transpose(1, 2).flatten(2)[..., self._first(self.where.luma_index, len(self.block))]
        pattern = self.where.luma.unflatten(0, (-1, 64))[self.block, :, torch.arange(len(self.block))]
        return self._pattern_gains(below[:, self.block], above[:, self.block], weight[:, self.block], -pattern, pattern)

    def _chroma_gains(self, plane: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """The same for a chroma plane [T,P], rounded averages included; bounds [T,64]."""
        pixels = plane[:, self.where.chroma_index]
        if not self.where.inner:
            return self._edge_chroma_gains(pixels, below, above, weight)
        rest = (pixels.sum(-1, dtype=torch.int32) + averaging_bias(self.samples, plane.device)) & (self.samples - 1)
        signs = torch.tensor([-1, 0, 1], dtype=torch.int32, device=plane.device)[:, None]
        change = (rest[:, None] + signs) >> self.shift
        gains = self._sample_gains(below[:, None], above[:, None], weight[:, None])[:, 0].gather(1, (change + 1).long())
        return gains[..., self.chroma_sample]

    def _edge_chroma_gains(self, pixels: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """Where a pixel counts in several samples: encodes the chroma of every changed tile."""
        total = pixels.sum(-1, dtype=torch.int32) + averaging_bias(self.samples, pixels.device)
        now = average(pixels)[:, None]
        minus, plus = (((total[:, None] + sign * self.weights) >> self.shift) - now for sign in (-1, 1))
        patterns = [delta.float() @ self.basis.T for delta in (minus, plus)]
        return self._pattern_gains(below[:, None], above[:, None], weight[:, None], *patterns)

    def _sample_gains(self, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """[T,K,64] -> [T,K,3,64]: change of F if a sample changes by -1, 0, +1."""
        near = torch.maximum(below, above)
        count = max(1, int((near > -REACH).sum(-1).max()))
        near, index = near.topk(count, -1)
        below, above = below.gather(-1, index)[..., None], above.gather(-1, index)[..., None]
        weight = weight.gather(-1, index)[..., None]
        pattern = self.basis[index]
        minus = torch.maximum(below + pattern, above - pattern).clamp_(min=0).square_().mul_(weight).sum(-2)
        plus = torch.maximum(below - pattern, above + pattern).clamp_(min=0).square_().mul_(weight).sum(-2)
        now = (near.clamp(min=0).square() * weight[..., 0]).sum(-1, keepdim=True)
        return torch.stack([minus - now, torch.zeros_like(plus), plus - now], -2) / 2

    @staticmethod
    def _pattern_gains(below: Tensor, above: Tensor, weight: Tensor, minus: Tensor, plus: Tensor) -> Tensor:
        """The same, given the changes of coefficients [..,P,64] of each pixel's -1 and +1; bounds [T,P or 1,64]."""
        now = (torch.maximum(below, above).clamp(min=0).square() * weight).sum(-1)
        moved = [torch.maximum(below - p, above + p).clamp(min=0).square().mul(weight).sum(-1) for p in (minus, plus)]
        return torch.stack([moved[0] - now, torch.zeros_like(moved[0]), moved[1] - now], 1) / 2
