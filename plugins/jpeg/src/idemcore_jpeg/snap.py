"""From a real-valued image to a byte image of the cell, moving it as little as possible.

1. Round, run the integer model of the encoder, list the tiles that miss. The others are left as they are.
2. Project those with a margin that rounding seldom crosses, round, and search from there (`search.py`).
3. Tiles that still miss start again elsewhere, then many times: near the best that was found, and at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .box import Box
from .layout import TileMap
from .model import bounds
from .search import Search


@dataclass(frozen=True)
class Attempt:
    """How to look for a byte image."""

    margin: float
    """Distance kept from the cell's walls before rounding, in grey levels of an orthonormal coefficient."""
    limit: float
    """The same, at most, in quantiser steps."""
    iterations: int
    """Steps of the search in each tile that misses."""
    from_centre: bool = False
    """Starts at g(y) instead of the image: clipped highlights are often nearer to it."""


ATTEMPTS = (
    Attempt(0.0, 0.0, 1),
    Attempt(0.7, 0.48, 100),
    Attempt(1.4, 0.5, 250),
    Attempt(0.0, 0.0, 250, from_centre=True),
    Attempt(9.0, 0.45, 250, from_centre=True),
)
"""8-bit rounding moves a coefficient by 0.35 grey levels (standard deviation): 0.7 is two of them."""
TRIED = 1
"""The attempt after which edge tiles without hope are given up."""
KICK = Attempt(0.0, 0.0, 200)
RESTARTS = 100
"""Most kicks, and as many throws.

A kick starts from the best tile found so far, a share of its samples changed a little (iterated local search): for
clipped highlights, whose cell hardly leaves room within 0..255.
"""
KICKED = (0.02, 0.05, 0.1, 0.2)
"""Shares of the samples, in turn."""
THROW = Attempt(1.4, 0.48, 60)
THROWN = 2.0
"""Standard deviation, in grey levels, of what is added to the image before it is projected: a throw.

For fine quantisers at the image's edges, where libjpeg repeats pixels: each counts so much there that the neighbours
of a tile which misses miss by far more. Of tiles with two rows left at quality 95, a throw hits for 5 to 75 in 100.
"""
COPIES, PIXELS = 16, 1024
"""Throws of a tile side by side, at most, and pixels inside the image that these have: few take no longer than one."""
WORK = 100_000
"""Most iterations of an attempt, summed over the tiles of a band: about half a minute of one CPU core."""
ROUNDS = 600
CHUNK = 128
"""Tiles searched at a time: bounds memory to tens of megabytes."""


def snap(box: Box, image: Tensor, centre: Tensor, work: int = WORK) -> Tensor:
    """Image and g(y), both [B,3,H,W] in [0,1] -> uint8 [B,3,H,W]: in the cell wherever the search succeeds."""
    pairs = zip(image.split(1), centre.split(1), strict=True)
    return torch.cat([_snap_one(box.image(b), *pair, work) for b, pair in enumerate(pairs)])


def _snap_one(box: Box, image: Tensor, centre: Tensor, work: int) -> Tensor:
    wanted, middle = (box.colourless(box.layout.tiles(one * 255.0)) for one in (image, centre))
    best, random = BestTiles(box, wanted, work), torch.Generator().manual_seed(0)
    for seed, attempt in enumerate(ATTEMPTS):
        if best.missing:
            best.improve(attempt, middle if attempt.from_centre else wanted, seed)
        if seed == TRIED:
            best.give_up()
            best.throw(best.edges, random, 0)
    left = 4 * work
    for number in range(RESTARTS):
        left -= best.missing * (KICK.iterations + THROW.iterations)
        if not best.missing or left < 0:
            break
        best.throw(box.layout.maps, random, 1 + number)
        if best.missing:
            best.improve(KICK, best.kicked(KICKED[number % len(KICKED)], random), len(ATTEMPTS) + number)
    return box.layout.image(best.tiles).to(torch.uint8)


class BestTiles:
    """The best byte tiles found so far for one image."""

    def __init__(self, box: Box, wanted: Tensor, work: int) -> None:
        """`wanted` [3,1,M,N,P], in grey levels: what they shall be near to; `work` as in `snap`."""
        self.box, self.wanted, self.work = box, wanted, work
        self.tiles = torch.zeros_like(wanted, dtype=torch.int32)
        self.penalty = torch.full(wanted.shape[1:4], torch.inf, device=wanted.device)
        """[1,M,N], 0 inside the cell (see `search.py`)."""
        self.given_up = torch.zeros_like(self.penalty, dtype=torch.bool)

    @property
    def missing(self) -> int:
        """Tiles outside the cell for which there is hope."""
        return int(((self.penalty != 0) & ~self.given_up).sum())

    @property
    def edges(self) -> list[TileMap]:
        return [where for where in self.box.layout.maps if not where.inner]

    def give_up(self) -> None:
        """Looks no further for edge tiles whose cell is empty.

        An image cannot give coefficients of pixels beyond its edge, which a file that was cropped without loss has.
        """
        for where in self.edges:
            for image, row, column in self._missing_in(where):
                tiles = self.wanted[:, image, row, column]
                self.given_up[image, row, column] = self.box.is_empty(tiles, where, (image, row, column), ROUNDS)

    def kicked(self, share: float, random: torch.Generator) -> Tensor:
        """Where to start again: the best tiles, a share of their samples changed by at most 2."""
        changed = torch.rand(self.tiles.shape, generator=random) < share
        kick = changed * torch.randint(-2, 3, self.tiles.shape, generator=random)
        return (self.tiles + kick.to(self.tiles.device)).float()

    def improve(self, attempt: Attempt, origin: Tensor, seed: int) -> None:
        """Looks for better tiles than those that miss, of which there is one at least, starting from `origin`."""
        iterations = max(1, min(attempt.iterations, self.work // self.missing))
        for where in self.box.layout.maps:
            search = Search(where, self.box.layout.colours, iterations, seed)
            for at in self._missing_in(where):
                start = self._projected(attempt, origin[:, at[0], at[1], at[2]], where, at)
                self._improve_tiles(at, start, search)

    def throw(self, maps: list[TileMap], random: torch.Generator, seed: int) -> None:
        """Starts COPIES of each tile that misses from random points of the cell, and keeps the best of them."""
        for where in maps:
            if not (missing := self._missing_in(where)):
                continue
            search = Search(where, self.box.layout.colours, THROW.iterations, seed)
            for at in missing:
                copies = max(1, min(COPIES, CHUNK // len(at[0]), PIXELS // int(where.real.sum())))
                image, row, column = several = tuple(index.repeat_interleave(copies) for index in at)
                wanted = self.wanted[:, image, row, column]
                noise = THROWN * torch.randn(wanted.shape, generator=random).to(wanted.device)
                start = self._projected(THROW, wanted + noise, where, several)
                self._keep(at, *search.run(start, wanted, *_intervals(self.box, several)))

    def _missing_in(self, where: TileMap) -> list[tuple[Tensor, ...]]:
        """Image, row and column, at most [CHUNK] each, of the tiles of one map outside the cell."""
        outside = (self.penalty != 0) & ~self.given_up
        listed = outside[:, where.rows, where.columns].nonzero()
        listed += torch.tensor([0, where.rows.start, where.columns.start], device=listed.device)
        return [chunk.unbind(1) for chunk in listed.split(CHUNK) if len(chunk)]

    def _projected(self, attempt: Attempt, tiles: Tensor, where: TileMap, at: tuple[Tensor, ...]) -> Tensor:
        """Byte tiles [3,T,P] near the tiles given, and in the cell as far as rounding lets them."""
        start = self.box.colourless(tiles.clamp(0, 255))
        if attempt.limit:
            margin = (attempt.margin / self.box.steps[at[0], 0, 0]).clamp(max=attempt.limit)
            start = self.box.project_tiles(start, where, at, margin, ROUNDS)
        return start.round().int()

    def _improve_tiles(self, at: tuple[Tensor, ...], start: Tensor, search: Search) -> None:
        """Replaces the listed tiles for which the search finds better ones."""
        image, row, column = at
        self._keep(at, *search.run(start, self.wanted[:, image, row, column], *_intervals(self.box, at)))

    def _keep(self, at: tuple[Tensor, ...], found: Tensor, penalty: Tensor) -> None:
        """Keeps the best of C tiles for each listed one, if better than before; the nearest of equals.

        `found` [3,T*C,P] and their F `penalty` [T*C]: the C of the first listed tile come first.
        """
        image, row, column = at
        each = penalty.unflatten(0, (len(image), -1))
        away = found.unflatten(1, each.shape) - self.wanted[:, image, row, column][:, :, None]
        distance = away.square().sum((0, 3)).masked_fill(each > each.min(1, keepdim=True).values, torch.inf)
        chosen = distance.argmin(1) + torch.arange(len(each), device=each.device) * each.shape[1]
        found, penalty = found[:, chosen], penalty[chosen]
        better = penalty < self.penalty[at]
        image, row, column = (index[better] for index in at)
        self.tiles[:, image, row, column], self.penalty[image, row, column] = found[:, better], penalty[better]


def _intervals(box: Box, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Bounds [T,K,64] on unscaled coefficients of the listed tiles; blocks that do not exist are free."""
    tables = box.tables.expand_as(box.symbols)[at]
    low, high = bounds(box.low[at], tables)[0], bounds(box.high[at], tables)[1]
    absent = ~box.layout.valid[at[1:]][..., None]
    return low.masked_fill(absent, -(1 << 20)), high.masked_fill(absent, 1 << 20)
