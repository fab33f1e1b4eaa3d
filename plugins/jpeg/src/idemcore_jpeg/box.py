"""The quantisation cell of a JPEG as a box of DCT coefficients, in real numbers and batched.

With c = DCT(C x) the coefficients of an image x (C: RGB to YCbCr, averaged as sampled), s the symbols and q the table,

    cell = {x in [0,1] : |c / q - s| < 1/2}

Of a damaged file, only bounds of some s may be known: then c / q lies between them, half a step more on either side.

Clipping c into the box and adding the pseudo-inverse of the change is the orthogonal projection in YCbCr; alternated
with clamping RGB it finds a point of both sets (Zakhor 1992, "Iterative procedures for reduction of blocking effects").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import Layout, TileMap, dct_matrix

SLACK = 0.01
"""Quantiser steps by which `project` overshoots, so that alternating ends; and the violation that is forgiven."""
EMPTY, RESTING = 0.05, 0.9
"""Quantiser steps that are left in the end where a cell is empty, and the share of them in the middle that it is."""


@dataclass(frozen=True)
class Walls:
    """Bounds on the coefficients of some tiles: [...,K,64] each, in grey levels."""

    low: Tensor
    high: Tensor
    forgiven: Tensor
    """Violation that needs no change."""
    valid: Tensor
    """[...,K,1], false for blocks that do not exist."""

    @classmethod
    def inside(
        cls, low: Tensor, high: Tensor, steps: Tensor, valid: Tensor, margin: Tensor | float, overshoot: float = 0.0
    ) -> Walls:
        """The cell's faces, moved inwards by `margin` and by an `overshoot` that is forgiven, in quantiser steps."""
        half = (0.5 - torch.as_tensor(margin, device=steps.device)).clamp(min=0.0)
        target = (half - overshoot).clamp(min=0.0)
        return cls((low - target) * steps, (high + target) * steps, (half - target + SLACK) * steps, valid)

    def __getitem__(self, tiles: Tensor) -> Walls:
        return Walls(self.low[tiles], self.high[tiles], self.forgiven[tiles], self.valid[tiles])

    def change(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """What moves the coefficients found to the nearest wall, 0 in tiles that need no change; and which do."""
        change = (found.clamp(self.low, self.high) - found) * self.valid
        outside = (change.abs() > self.forgiven).flatten(-2).any(-1)
        return change * outside[..., None, None], outside


class Box:
    """Symbols int32 [B,M,N,K,64] and tables int32 [B,1,1,K,64] of B images of one layout.

    `low` and `high` [B,M,N,K,64] bound the symbols of damaged files; else they are the symbols themselves.
    """

    def __init__(
        self, layout: Layout, symbols: Tensor, tables: Tensor, low: Tensor | None = None, high: Tensor | None = None
    ) -> None:
        self.layout, self.symbols, self.tables = layout, symbols, tables
        self.low, self.high = symbols if low is None else low, symbols if high is None else high
        self.steps = tables.float()
        colours = layout.colours
        self.forward, self.inverse = colours.forward.to(symbols.device), colours.inverse.to(symbols.device)
        self.centre = colours.centre.to(symbols.device)

    def coefficients(self, image: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> orthonormal coefficients [B,M,N,K,64] in grey levels, of blocks outside the image 0."""
        return self._analyse(self.layout.tiles(image * 255.0))

    def position(self, image: Tensor) -> Tensor:
        """[B,M,N,K,64] in quantiser steps: -1/2..1/2 inside the cell; 0 for blocks that do not exist."""
        found = self.coefficients(image) / self.steps
        nearest = self.symbols if self.complete else found.detach().clamp(self.low, self.high)
        return (found - nearest) * self.layout.valid[..., None]

    @property
    def complete(self) -> bool:
        """Every symbol is known."""
        return self.low is self.symbols

    def part(self, layout: Layout, images: slice, rows: slice) -> Box:
        """The box of some images of the batch and some MCU rows, which `layout` is of."""
        bounds = () if self.complete else (self.low[images, rows], self.high[images, rows])
        return Box(layout, self.symbols[images, rows], self.tables[images], *bounds)

    def image(self, b: int) -> Box:
        """The box of one image of the batch."""
        return self.part(self.layout, slice(b, b + 1), slice(None))

    def project(self, image: Tensor, margin: float, rounds: int) -> Tensor:
        """Alternates at most `rounds` times, in the MCUs that miss; `margin` is in quantiser steps."""
        walls = Walls.inside(self.low, self.high, self.steps, self.layout.valid[..., None], margin, overshoot=SLACK)
        return self.layout.image(self._alternate(self.layout.tiles(image * 255.0), walls, rounds)) / 255.0

    def project_tiles(
        self, tiles: Tensor, where: TileMap, at: tuple[Tensor, ...], margin: Tensor, rounds: int
    ) -> Tensor:
        """The same for listed tiles [3,T,P] of one map, in grey levels; `at`: image, row and column, [T] each.

        Alternating converges slowly where much of a tile is clipped, so this goes on for the tiles that need it.
        """
        valid = self.layout.valid[at[1:]][..., None]
        walls = Walls.inside(self.low[at], self.high[at], self.steps[at[0], 0, 0], valid, margin)
        return self._alternate(tiles, walls, rounds, where)

    def is_empty(self, tiles: Tensor, where: TileMap, at: tuple[Tensor, ...], rounds: int) -> Tensor:
        """Bool [T]: no tile is in the cell and in [0,255], for alternating comes to rest outside of one of them.

        Between two convex sets that do not meet, it ends at their distance; else the distance falls all the time.
        Outside means by more than the rounding of components explains: where an edge pixel is repeated, so is that.
        """
        margin, beyond = torch.zeros((), device=tiles.device), list[Tensor]()
        for _ in range(2):
            tiles = self.project_tiles(tiles, where, at, margin, rounds)
            found = self._analyse(tiles, where) / self.steps[at[0], 0, 0]
            position = found - found.clamp(self.low[at], self.high[at])
            beyond.append((position.abs() - 0.5).mul(self.layout.valid[at[1:]][..., None]).flatten(1))
        first, last = (found.max(1).values for found in beyond)
        rounded = torch.cat([samples.rounding.repeat(samples.group.count) for samples in where.samples])
        unexplained = beyond[1] - (rounded.unflatten(0, (-1, 64)) / self.steps[at[0], 0, 0]).flatten(1)
        return (unexplained.max(1).values > EMPTY) & (last > RESTING * first)

    def _alternate(self, tiles: Tensor, walls: Walls, rounds: int, where: TileMap | None = None) -> Tensor:
        """Moves all tiles [3,B,M,N,P], or listed ones of one map [3,T,P]: the list gets shorter as tiles arrive."""
        projected = live = self.colourless(tiles.clamp(0, 255))
        index = torch.arange(tiles.shape[1], device=tiles.device)
        for _ in range(rounds):
            change, outside = walls.change(self._analyse(live, where))
            if not outside.any():
                break
            if where is not None:
                index, live, change, walls = index[outside], live[:, outside], change[outside], walls[outside]
            live = (live + self._synthesise(change, where)).clamp_(0, 255)
            projected[:, index] = live
        return projected

    def colourless(self, tiles: Tensor) -> Tensor:
        """Tiles [3,...] of grey files as their luma: a file without colours stands for an image without."""
        if not self.layout.grey:
            return tiles
        return torch.tensordot(self.forward[0], tiles, 1).expand(tiles.shape).clone()

    def planes(self, coefficients: Tensor) -> list[Tensor]:
        """Inverse transform: each component [B,h,w], about 0, at its own resolution, cropped."""
        blocks = coefficients @ dct_matrix().to(coefficients)
        return [self._plane(blocks[..., part, :], number) for number, part in enumerate(self.layout.component_blocks())]

    def _plane(self, blocks: Tensor, component: int) -> Tensor:
        """[B,M,N,v*h,64] -> [B,M*v*8,N*h*8], cropped to the component's size."""
        layout, (m, n), (v, h) = self.layout, self.layout.grid, self.layout.sampling.factors[component]
        shaped = blocks.reshape(-1, m, n, v, h, 8, 8).permute(0, 1, 3, 5, 2, 4, 6)
        plane = shaped.reshape(-1, m * v * 8, n * h * 8)
        return plane[..., : -(-layout.height * v // layout.v), : -(-layout.width * h // layout.h)]

    def _colour(self, matrix: Tensor, planes: Tensor) -> Tensor:
        if self.layout.sampling.colours == "RGB":
            return planes
        return (matrix @ planes.reshape(3, -1)).reshape(planes.shape)

    def _analyse(self, tiles: Tensor, where: TileMap | None = None) -> Tensor:
        """Coefficients of all tiles, or of listed ones of one map."""
        planes = self._colour(self.forward, tiles)
        if where is not None:
            return self._analyse_part(planes, where)
        parts = [self._analyse_part(planes[:, :, where.rows, where.columns], where) for where in self.layout.maps]
        return self.layout.assemble(parts, 1)

    def _analyse_part(self, part: Tensor, where: TileMap) -> Tensor:
        blocks = []
        for samples in where.samples:
            members = samples.group.components
            centre = self.centre[members].reshape(-1, *[1] * (part.ndim - 1))
            found = ((part[members] - centre) @ samples.analyse.T).unflatten(-1, (-1, 64))
            blocks.append(found.movedim(0, -3).flatten(-3, -2))
        return torch.cat(blocks, -2)

    def _synthesise(self, change: Tensor, where: TileMap | None = None) -> Tensor:
        """Smallest change of the tiles, in RGB, that makes a change of coefficients."""
        if where is not None:
            return self._colour(self.inverse, self._synthesise_part(change, where))
        parts = [self._synthesise_part(change[:, where.rows, where.columns], where) for where in self.layout.maps]
        return self._colour(self.inverse, self.layout.assemble(parts, 2))

    def _synthesise_part(self, change: Tensor, where: TileMap) -> Tensor:
        planes = []
        for samples in where.samples:
            blocks = change[..., samples.group.blocks, :].unflatten(-2, (samples.group.count, -1))
            planes.append(blocks.movedim(-3, 0).flatten(-2) @ samples.invert.T)
        if self.layout.grey:
            planes.append(torch.zeros_like(planes[0]).expand(2, *planes[0].shape[1:]))
        return torch.cat(planes)
