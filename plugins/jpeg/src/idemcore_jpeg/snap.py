"""From a real-valued image to a byte image of the cell, moving it as little as possible.

1. Round, run the integer model of the encoder, list the tiles that miss. The others are left as they are.
2. Project those with a margin that rounding seldom crosses, round, and search from there (`search.py`).
3. Tiles that still miss start again elsewhere, then near the best that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    Attempt(0.7, 0.5, 250),
    Attempt(2.0, 0.5, 250),
    Attempt(0.0, 0.0, 250, from_centre=True),
    Attempt(9.0, 0.45, 250, from_centre=True),
)
"""8-bit rounding moves a coefficient by 0.35 grey levels (standard deviation): 0.7 is two of them."""
KICK = Attempt(0.0, 0.0, 200)
KICKS = 200
"""Most restarts from the best tile found so far, a share of its samples changed a little (iterated local search).

They are for tiles with clipped highlights, whose cell hardly leaves room within 0..255.
"""
KICKED = (0.02, 0.05, 0.1, 0.2)
"""Shares of the samples, in turn."""
WORK = 100_000
"""Most iterations of an attempt, summed over an image's tiles: about half a minute of one CPU core."""
ROUNDS = 600
CHUNK = 128
"""Tiles searched at a time: bounds memory to tens of megabytes."""


def snap(box: Box, image: Tensor, centre: Tensor, work: int = WORK, attempts: Sequence[Attempt] = ATTEMPTS) -> Tensor:
    """Image and g(y), both [B,3,H,W] in [0,1] -> uint8 [B,3,H,W]: in the cell wherever the search succeeds."""
    ones = [slice(b, b + 1) for b in range(len(image))]
    return torch.cat([_snap_one(box.image(b.start), image[b], centre[b], work, attempts) for b in ones])


def _snap_one(box: Box, image: Tensor, centre: Tensor, work: int, attempts: Sequence[Attempt]) -> Tensor:
    wanted, middle = box.layout.tiles(image * 255.0), box.layout.tiles(centre * 255.0)
    best = torch.zeros_like(wanted, dtype=torch.int32)
    missing = torch.full(best.shape[1:4], torch.inf, device=image.device)

    def search(attempt: Attempt, origin: Tensor, seed: int) -> None:
        iterations = max(1, min(attempt.iterations, work // int(missing.count_nonzero())))
        for where in box.layout.maps:
            found = Search(where, box.layout.grey, iterations, seed)
            _improve(box, where, best, missing, origin, wanted, attempt, found)

    for number, attempt in enumerate(attempts):
        if missing.any():
            search(attempt, middle if attempt.from_centre else wanted, number)
    random = torch.Generator().manual_seed(0)
    left = 4 * work
    for number in range(KICKS):
        left -= int(missing.count_nonzero()) * KICK.iterations
        if not missing.any() or left < 0:
            break
        changed = torch.rand(best.shape, generator=random) < KICKED[number % len(KICKED)]
        kick = changed * torch.randint(-2, 3, best.shape, generator=random)
        search(KICK, (best + kick.to(best.device)).float(), len(attempts) + number)
    return box.layout.image(best).to(torch.uint8)


def _improve(
    box: Box,
    where: TileMap,
    best: Tensor,
    missing: Tensor,
    origin: Tensor,
    wanted: Tensor,
    attempt: Attempt,
    search: Search,
) -> None:
    """Replaces the tiles of `best` and `missing` (their penalty) for which the search finds better ones."""
    left = missing[:, where.rows, where.columns].nonzero().unbind(1)
    if not len(left[0]):
        return
    image, row, column = left[0], left[1] + where.rows.start, left[2] + where.columns.start
    for ids in torch.arange(len(image), device=image.device).split(CHUNK):
        at = (image[ids], row[ids], column[ids])
        part = (slice(None), *at)
        low, high = _intervals(box, at)
        start = origin[part].clamp(0, 255)
        if attempt.limit:
            margin = (attempt.margin / box.steps[at[0], 0, 0]).clamp(max=attempt.limit)
            start = box.project_tiles(start, where, at, margin, ROUNDS)
        found, penalty = search.run(start.round().int(), wanted[part], low, high)
        better = penalty < missing[at]
        chosen = (image[ids][better], row[ids][better], column[ids][better])
        best[:, chosen[0], chosen[1], chosen[2]], missing[chosen] = found[:, better], penalty[better]


def _intervals(box: Box, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Bounds [T,K,64] on unscaled coefficients of the listed tiles; blocks that do not exist are free."""
    low, high = bounds(box.symbols[at], box.tables.expand_as(box.symbols)[at])
    absent = ~box.layout.valid[at[1:]][..., None]
    return low.masked_fill(absent, -(1 << 20)), high.masked_fill(absent, 1 << 20)
