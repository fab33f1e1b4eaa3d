"""The quantisation cell of a JPEG as a box of DCT coefficients, in real numbers and batched.

With c = DCT(C x) the coefficients of an image x (C: RGB to YCbCr, chroma averaged), s the symbols and q the table,

    cell = {x in [0,1] : |c / q - s| < 1/2}

Clipping c into the box and adding the pseudo-inverse of the change is the orthogonal projection in YCbCr; alternated
with clamping RGB it finds a point of both sets (Zakhor 1992, "Iterative procedures for reduction of blocking effects").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import Layout, TileMap, dct_matrix

RGB_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
YCC_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
SLACK = 0.01
"""Quantiser steps by which `project` overshoots, so that alternating ends; and the violation that is forgiven."""


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
        cls, symbols: Tensor, steps: Tensor, valid: Tensor, margin: Tensor | float, overshoot: float = 0.0
    ) -> Walls:
        """Those of the cell, moved inwards by `margin` and by an `overshoot` that is forgiven, in quantiser steps."""
        half = (0.5 - torch.as_tensor(margin, device=steps.device)).clamp(min=0.0)
        target = (half - overshoot).clamp(min=0.0)
        return cls((symbols - target) * steps, (symbols + target) * steps, (half - target + SLACK) * steps, valid)

    def __getitem__(self, tiles: Tensor) -> Walls:
        return Walls(self.low[tiles], self.high[tiles], self.forgiven[tiles], self.valid[tiles])

    def change(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """What moves the coefficients found to the nearest wall, 0 in tiles that need no change; and which do."""
        change = (found.clamp(self.low, self.high) - found) * self.valid
        outside = (change.abs() > self.forgiven).flatten(-2).any(-1)
        return change * outside[..., None, None], outside


class Box:
    """Symbols int32 [B,M,N,K,64] and tables int32 [B,1,1,K,64] of B images of one layout."""

    def __init__(self, layout: Layout, symbols: Tensor, tables: Tensor) -> None:
        self.layout, self.symbols, self.tables = layout, symbols, tables
        self.steps = tables.float()
        self.to_ycc, self.to_rgb = RGB_TO_YCC.to(symbols.device), YCC_TO_RGB.to(symbols.device)

    def coefficients(self, image: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> orthonormal coefficients [B,M,N,K,64] in grey levels, of blocks outside the image 0."""
        return self._analyse(self.layout.tiles(image * 255.0))

    def position(self, image: Tensor) -> Tensor:
        """[B,M,N,K,64] in quantiser steps: -1/2..1/2 inside the cell; 0 for blocks that do not exist."""
        return (self.coefficients(image) / self.steps - self.symbols) * self.layout.valid[..., None]

    def image(self, b: int) -> Box:
        """The box of one image of the batch."""
        return Box(self.layout, self.symbols[b : b + 1], self.tables[b : b + 1])

    def project(self, image: Tensor, margin: float, rounds: int) -> Tensor:
        """Alternates at most `rounds` times, in the MCUs that miss; `margin` is in quantiser steps."""
        walls = Walls.inside(self.symbols, self.steps, self.layout.valid[..., None], margin, overshoot=SLACK)
        return self.layout.image(self._alternate(self.layout.tiles(image * 255.0), walls, rounds)) / 255.0

    def project_tiles(
        self, tiles: Tensor, where: TileMap, at: tuple[Tensor, ...], margin: Tensor, rounds: int
    ) -> Tensor:
        """The same for listed tiles [3,T,P] of one map, in grey levels; `at`: image, row and column, [T] each.

        Alternating converges slowly where much of a tile is clipped, so this goes on for the tiles that need it.
        """
        valid = self.layout.valid[at[1:]][..., None]
        walls = Walls.inside(self.symbols[at], self.steps[at[0], 0, 0], valid, margin)
        return self._alternate(tiles, walls, rounds, where)

    def _alternate(self, tiles: Tensor, walls: Walls, rounds: int, where: TileMap | None = None) -> Tensor:
        """Of all tiles [3,B,M,N,P], or of listed ones of one map [3,T,P]: the list gets shorter as tiles arrive."""
        projected = live = tiles.clamp(0, 255)
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

    def pixels(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse transform: luma [B,1,H,W] about 0 and chroma [B,2 or 0,h,w], at their own resolutions, cropped."""
        blocks = coefficients @ dct_matrix().to(coefficients)
        luma = blocks[..., : self.layout.luma_blocks, :]
        chroma = blocks[..., self.layout.luma_blocks :, :]
        return self._plane(luma, self.layout.v, self.layout.h), self._plane(chroma, 1, 1)

    def _plane(self, blocks: Tensor, v: int, h: int) -> Tensor:
        """[B,M,N,C*v*h,64] -> [B,C,M*v*8,N*h*8], cropped to the component's size."""
        layout, (m, n) = self.layout, self.layout.grid
        shaped = blocks.reshape(blocks.shape[0], m, n, blocks.shape[3] // (v * h), v, h, 8, 8).permute(
            0, 3, 1, 4, 6, 2, 5, 7
        )
        plane = shaped.reshape(shaped.shape[0], shaped.shape[1], m * v * 8, n * h * 8)
        return plane[..., : -(-layout.height * v // layout.v), : -(-layout.width * h // layout.h)]

    def _colour(self, matrix: Tensor, planes: Tensor) -> Tensor:
        return (matrix @ planes.reshape(3, -1)).reshape(planes.shape)

    def _analyse(self, tiles: Tensor, where: TileMap | None = None) -> Tensor:
        """Coefficients of all tiles, or of listed ones of one map."""
        ycc = self._colour(self.to_ycc, tiles)
        if where is not None:
            return self._analyse_part(ycc, where)
        parts = [self._analyse_part(ycc[:, :, where.rows, where.columns], where) for where in self.layout.maps]
        return self.layout.assemble(parts, 1)

    def _analyse_part(self, part: Tensor, where: TileMap) -> Tensor:
        blocks = [((part[0] - 128.0) @ where.luma.T).unflatten(-1, (-1, 64))]
        if not self.layout.grey:
            blocks.append((part[1:] @ where.chroma.T).movedim(0, -2))
        return torch.cat(blocks, -2)

    def _synthesise(self, change: Tensor, where: TileMap | None = None) -> Tensor:
        """Smallest change of the tiles, in RGB, that makes a change of coefficients."""
        if where is not None:
            return self._colour(self.to_rgb, self._synthesise_part(change, where))
        parts = [self._synthesise_part(change[:, where.rows, where.columns], where) for where in self.layout.maps]
        return self._colour(self.to_rgb, self.layout.assemble(parts, 2))

    def _synthesise_part(self, change: Tensor, where: TileMap) -> Tensor:
        split = self.layout.luma_blocks
        luma = change[..., :split, :].flatten(-2) @ where.luma_inverse.T
        if self.layout.grey:
            return torch.stack([luma, torch.zeros_like(luma), torch.zeros_like(luma)])
        return torch.cat([luma[None], change[..., split:, :].movedim(-2, 0) @ where.chroma_inverse.T])
