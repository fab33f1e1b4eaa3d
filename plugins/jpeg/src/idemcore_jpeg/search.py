"""Tabu search (Glover 1989) for byte tiles whose coefficients, by libjpeg's integers, fall into given intervals.

A step adds -1, 0 or +1 to each channel of one pixel, to all three at once if the file is grey. The objective, in grey
levels of an orthonormal DCT, is

    F = 1/2 sum_k w_k max(0, distance of coefficient k outside its interval)^2

with intervals narrowed a little, and weights w_k that grow while coefficient k is outside, so that what keeps failing
comes to matter most. What every step at every pixel does to F is known at once (`gains.py`): it changes the pixel's Y,
Cb and Cr (or R, G and B) by -1, 0 or +1, and these act on different blocks.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .colour import Colours
from .gains import SIGNS, Gains
from .layout import TileMap
from .model import tile_coefficients

STEPS = torch.tensor(list(itertools.product((-1, 0, 1), repeat=3)), dtype=torch.int32)
GREY_STEPS = SIGNS[:, None].expand(3, 3)
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

    def __init__(self, where: TileMap, colours: Colours, iterations: int, seed: int) -> None:
        device, self.real = where.real.device, where.real
        self.where, self.colours, self.iterations, self.seed = where.of_real_pixels(), colours, iterations, seed
        grey = len(colours.fixed) == 1
        self.steps = (GREY_STEPS if grey else STEPS).to(device)
        """Int32 [steps,3]."""
        self.shifts = (self.steps.cpu() @ colours.fixed.T).to(device)
        """Int32 [steps,C]: what a step adds to each component in fixed point."""
        self.gains = [Gains(samples, self.where) for samples in self.where.samples]
        densest = max(self.gains, key=lambda gains: gains.samples.group.blocks_each).block
        self.members = [(densest == k).nonzero()[:, 0] for k in densest.unique()]
        """Pixels of each block of the densest component."""

    def run(self, start: Tensor, wanted: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Byte tiles int32 [3,T,P], tiles wanted, bounds int32 [T,K,64] -> the best tiles found and their F [T]."""
        found = start.clone()
        found[..., self.real], penalty = self._run(start[..., self.real], wanted[..., self.real], low, high)
        return found, penalty

    def _run(self, start: Tensor, wanted: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the pixels inside the image."""
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
        """Takes the best step of each tile, and the best of every other block of `members` where it lowers F."""
        overall = score.flatten(1).min(1).values
        for members in self.members:
            value, chosen = score[..., members].flatten(1).min(1)
            every = ((value == overall) | (value < 0)).nonzero()[:, 0]
            step, pixel = chosen[every] // len(members), members[chosen[every] % len(members)]
            tiles[:, every, pixel] += self.steps[step].T
            tabu[every, pixel] = until

    def _outside(self, tiles: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Distances below and above the intervals [T,K,64], negative inside."""
        found = tile_coefficients(tiles, self.where, self.colours)
        return (low - found) / 8.0, (found - high) / 8.0

    def scores(self, tiles: Tensor, wanted: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """[T,steps,P]: change of F, and a little of the distance to `wanted`; inf for steps without effect."""
        fixed = self.colours.integers(tiles)
        planes = fixed >> 16
        gains = [gain for group in self.gains for gain in group(planes, below, above, weight)]
        score = self._cost(tiles, wanted)
        idle = torch.ones(score.shape, dtype=torch.bool, device=tiles.device)
        for channel, gain in enumerate(gains):
            # Carries out of the 16 fractional bits: what each step adds to the rounded component.
            change = ((fixed[channel] & 0xFFFF)[:, None] + self.shifts[:, channel, None]) >> 16
            minus, plus = gain[:, :1], gain[:, 2:]
            score += change * ((plus - minus) / 2 + change * ((plus + minus) / 2))
            idle &= change == 0
        return score.masked_fill_(idle, torch.inf)

    def _cost(self, tiles: Tensor, wanted: Tensor) -> Tensor:
        """[T,steps,P]: STILL times the change of the squared distance to `wanted`; inf where a step cannot be."""
        sign = SIGNS.to(tiles.device)[:, None]
        moved = tiles[:, :, None] + sign
        away = (tiles - wanted).clamp(-FAR, FAR)[:, :, None]
        cost = STILL * (2 * sign * away + sign.square())
        red, green, blue = cost.masked_fill_((moved < 0) | (moved > 255), torch.inf)
        if len(self.steps) == 3:
            return red + green + blue
        total: Tensor = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return total.flatten(1, 3)
