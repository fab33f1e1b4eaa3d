"""Tabu search (Glover 1989) for byte tiles whose coefficients, by libjpeg's integers, fall into given intervals.

A step adds -1, 0 or +1 to each channel of one pixel. The objective is

    F = 1/2 sum_k max(0, distance of coefficient k outside its interval)^2        (grey levels of an orthonormal DCT)

and what every step at every pixel does to F is known at once: a step changes the pixel's Y, Cb and Cr by -1, 0 or +1, which
act on different blocks, and a sample's change moves the coefficients of its block along one column of the DCT.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .layout import TileMap, dct_matrix
from .model import COLOUR, average, averaging_bias, fixed_point_ycc, tile_coefficients

STEPS = torch.tensor([s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)], dtype=torch.int32)
REACH = 0.26
"""A sample's step of 1 moves a coefficient by less: those further inside their interval need no look."""
STILL = 1e-3
"""Weight against F of the squared distance to the wanted tile: decides between steps that serve F alike."""
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
        """Byte tiles int32 [3,T,P] and the tiles wanted, bounds int32 [T,K,64] -> the best tiles found, and their F [T]."""
        best, best_penalty = start.clone(), torch.full((start.shape[1],), torch.inf, device=start.device)
        live = torch.arange(start.shape[1], device=start.device)
        tiles, tabu = start.clone(), torch.zeros(start.shape[1:], dtype=torch.int32, device=start.device)
        random = torch.Generator().manual_seed(self.seed)
        for iteration in range(self.iterations):
            below, above, penalty = self._outside(tiles, low, high)
            better = penalty < best_penalty[live]
            best[:, live[better]], best_penalty[live[better]] = tiles[:, better], penalty[better]
            going = penalty > 0
            if not going.any():
                break
            if not going.all():
                live, tiles, wanted, tabu = live[going], tiles[:, going], wanted[:, going], tabu[going]
                low, high, below, above = low[going], high[going], below[going], above[going]
            score = self.scores(tiles, wanted, below, above)
            score += torch.rand(score.shape[1:], generator=random).to(score.device) * 1e-3
            tenure = int(torch.randint(*TENURE, (), generator=random))
            self._step(tiles, score.masked_fill_((tabu > iteration)[:, None], torch.inf), tabu, iteration + 1 + tenure)
        return best, best_penalty

    def _step(self, tiles: Tensor, score: Tensor, tabu: Tensor, until: int) -> None:
        chosen = score.flatten(1).argmin(1)
        step, pixel = chosen // score.shape[-1], chosen % score.shape[-1]
        every = torch.arange(len(chosen), device=tiles.device)
        tiles[:, every, pixel] += self.steps[step].T
        tabu[every, pixel] = until

    def _outside(self, tiles: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distances below and above the intervals (negative inside) [T,K,64], and F [T]."""
        found = tile_coefficients(tiles, self.where, self.grey)
        below, above = (low - found) / 8.0, (found - high) / 8.0
        return below, above, torch.maximum(below, above).clamp(min=0).square().sum((1, 2)) / 2

    def scores(self, tiles: Tensor, wanted: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """[T,steps,P]: change of F, and a little of the distance to `wanted`; inf for steps that cannot be or do nothing."""
        fixed = fixed_point_ycc(tiles)
        # Carries out of the 16 fractional bits: what each step adds to the rounded Y, Cb and Cr.
        change = ((fixed & 0xFFFF)[:, :, None] + self.shifts.T[:, None, :, None]) >> 16
        gains = [self._luma_gains(below, above)]
        if not self.grey:
            gains += [self._chroma_gains(fixed[c] >> 16, below[:, c - 3], above[:, c - 3]) for c in (1, 2)]
        picked = [g.gather(1, (delta + 1).long()) for g, delta in zip(gains, change)]
        score = torch.stack(picked).nan_to_num(0.0).sum(0)
        idle = torch.stack(picked).isnan().all(0)
        moved = tiles[:, :, None] + self.steps.T[:, None, :, None]
        impossible = (moved < 0).any(0) | (moved > 255).any(0) | ~self.where.real
        offset = torch.einsum("ctp,sc->tsp", tiles - wanted, 2.0 * self.steps)
        score += STILL * (offset + self.steps.square().sum(1)[:, None])
        return score.masked_fill_(idle | impossible, torch.inf)

    def _luma_gains(self, below: Tensor, above: Tensor) -> Tensor:
        """[T,3,P]: change of F if a pixel's luma changes by -1, 0, +1; NaN where no sample changes."""
        blocks = below.shape[1] if self.grey else below.shape[1] - 2
        if self.where.inner:
            gains = self._sample_gains(below[:, :blocks], above[:, :blocks])
            return gains.transpose(1, 2).flatten(2)[..., self._first(self.where.luma_index, len(self.block))]
        pattern = self.where.luma.unflatten(0, (-1, 64))[self.block, :, torch.arange(len(self.block))]
        return self._pattern_gains(below[:, self.block], above[:, self.block], -pattern, pattern)

    def _chroma_gains(self, plane: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """The same for a chroma plane [T,P], rounded averages included; bounds [T,64]."""
        pixels = plane[:, self.where.chroma_index]
        if not self.where.inner:
            return self._edge_chroma_gains(pixels, below, above)
        rest = (pixels.sum(-1, dtype=torch.int32) + averaging_bias(self.samples, plane.device)) & (self.samples - 1)
        signs = torch.tensor([-1, 0, 1], dtype=torch.int32, device=plane.device)[:, None]
        change = (rest[:, None] + signs) >> self.shift
        gains = self._sample_gains(below[:, None], above[:, None])[:, 0].gather(1, (change + 1).long())
        return gains[..., self.chroma_sample]

    def _edge_chroma_gains(self, pixels: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """Where a pixel counts in several samples: encodes the chroma of every changed tile."""
        total = pixels.sum(-1, dtype=torch.int32) + averaging_bias(self.samples, pixels.device)
        now = average(pixels)[:, None]
        minus, plus = (((total[:, None] + sign * self.weights) >> self.shift) - now for sign in (-1, 1))
        patterns = [delta.float() @ self.basis.T for delta in (minus, plus)]
        return self._pattern_gains(below[:, None], above[:, None], *patterns)

    def _sample_gains(self, below: Tensor, above: Tensor) -> Tensor:
        """[T,K,64] -> [T,K,3,64]: change of F if a sample changes by -1, 0, +1."""
        near = torch.maximum(below, above)
        count = max(1, int((near > -REACH).sum(-1).max()))
        near, index = near.topk(count, -1)
        below, above = below.gather(-1, index)[..., None], above.gather(-1, index)[..., None]
        pattern = self.basis[index]
        minus = torch.maximum(below + pattern, above - pattern).clamp_(min=0).square_().sum(-2)
        plus = torch.maximum(below - pattern, above + pattern).clamp_(min=0).square_().sum(-2)
        now = near.clamp(min=0).square().sum(-1, keepdim=True)
        return torch.stack([minus - now, torch.full_like(plus, torch.nan), plus - now], -2) / 2

    @staticmethod
    def _pattern_gains(below: Tensor, above: Tensor, minus: Tensor, plus: Tensor) -> Tensor:
        """The same, given the change of coefficients [..,P,64] that each pixel's -1 and +1 makes; bounds [T,P or 1,64]."""
        now = torch.maximum(below, above).clamp(min=0).square().sum(-1)
        gains = [torch.maximum(below - p, above + p).clamp(min=0).square().sum(-1) - now for p in (minus, plus)]
        gains = [g.masked_fill((p == 0).all(-1), torch.nan) for g, p in zip(gains, (minus, plus))]
        return torch.stack([gains[0], torch.full_like(gains[0], torch.nan), gains[1]], 1) / 2
