"""From a real-valued image to a byte image of the cell, moving it as little as possible.

1. Project with a margin that rounding seldom crosses, round, run the integer model of the encoder, list the tiles that miss.
2. Search in those (`search.py`).
3. Tiles that still miss start again from a projection deeper inside the cell.
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


ATTEMPTS = (Attempt(1.4, 0.48, 60), Attempt(1.4, 0.48, 400))
"""8-bit rounding moves a coefficient by 0.35 grey levels (standard deviation): 1.4 is four of them."""
ROUNDS = 60
CHUNK = 128
"""Tiles searched at a time: bounds memory to tens of megabytes."""


def snap(box: Box, image: Tensor, attempts: Sequence[Attempt] = ATTEMPTS) -> Tensor:
    """[B,3,H,W] in [0,1] -> uint8 [B,3,H,W]: in the cell, by the integer model, wherever the search succeeds."""
    wanted = box.layout.tiles(image * 255.0)
    best = torch.zeros_like(wanted, dtype=torch.int32)
    missing = torch.full(best.shape[1:4], torch.inf, device=image.device)
    for number, attempt in enumerate(attempts):
        margin = (attempt.margin / box.steps).clamp(max=attempt.limit)
        start = box.layout.tiles((box.project(image, margin, ROUNDS) * 255.0).round().int())
        for where in box.layout.maps:
            _improve(box, where, best, missing, start, wanted, attempt.iterations, seed=number)
        if not missing.any():
            break
    return box.layout.image(best).to(torch.uint8)


def _improve(
    box: Box, where: TileMap, best: Tensor, missing: Tensor, start: Tensor, wanted: Tensor, iterations: int, seed: int
) -> None:
    """Replaces the tiles of `best` and `missing` (their penalty) for which the search finds better ones."""
    inside = (slice(None), where.rows, where.columns)
    left = missing[inside].nonzero().unbind(1)
    if not len(left[0]):
        return
    grid = (slice(None), left[0], left[1] + where.rows.start, left[2] + where.columns.start)
    low, high = _intervals(box, grid[1:])
    search = Search(where, box.layout.grey, iterations, seed)
    for ids in torch.arange(len(left[0])).split(CHUNK):
        part = (slice(None), *(axis[ids] for axis in grid[1:]))
        found, penalty = search.run(start[part], wanted[part], low[ids], high[ids])
        better = penalty < missing[part[1:]]
        chosen = (slice(None), *(axis[better] for axis in part[1:]))
        best[chosen], missing[chosen[1:]] = found[:, better], penalty[better]


def _intervals(box: Box, grid: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Bounds [T,K,64] on unscaled coefficients of the listed tiles; blocks that do not exist are free."""
    tables = box.tables.expand_as(box.symbols)[grid]
    low, high = bounds(box.symbols[grid], tables)
    absent = ~box.layout.valid[grid[1:]][..., None]
    return low.masked_fill(absent, -(1 << 20)), high.masked_fill(absent, 1 << 20)
