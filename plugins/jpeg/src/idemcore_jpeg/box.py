"""The quantisation cell of a JPEG as a box of DCT coefficients, in real numbers and batched.

With c = DCT(C x) the coefficients of an image x (C: RGB to YCbCr, chroma averaged), s the symbols and q the table,

    cell = {x in [0,1] : |c / q - s| < 1/2}

Clipping c into the box and adding the pseudo-inverse of the change is the orthogonal projection in YCbCr; alternated
with clamping RGB it finds a point of both sets (Zakhor 1992, "Iterative procedures for reduction of blocking effects").
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import Layout, TileMap, dct_matrix

RGB_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
YCC_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
SLACK = 0.01
"""Quantiser steps by which `project` overshoots, so that alternating ends; and the violation that it forgives."""


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

    def project(self, image: Tensor, margin: Tensor | float, rounds: int) -> Tensor:
        """Alternates at most `rounds` times, in the MCUs that miss; `margin` (number or [B,1,1,K,64]) is in steps."""
        tiles = self.layout.tiles(image * 255.0).clamp(0, 255)
        half = (0.5 - torch.as_tensor(margin, device=image.device)).clamp(min=0.0)
        target = (half - SLACK).clamp(min=0.0)
        low, high = (self.symbols - target) * self.steps, (self.symbols + target) * self.steps
        for _ in range(rounds):
            found = self._analyse(tiles)
            change = (found.clamp(low, high) - found) * self.layout.valid[..., None]
            outside = (change.abs() > (half - target + SLACK) * self.steps).flatten(-2).any(-1)
            if not outside.any():
                break
            tiles = (tiles + self._synthesise(change * outside[..., None, None])).clamp_(0, 255)
        return self.layout.image(tiles) / 255.0

    def project_tiles(
        self, tiles: Tensor, where: TileMap, at: tuple[Tensor, ...], margin: Tensor, rounds: int
    ) -> Tensor:
        """The same for listed tiles [3,T,P] of one map, in grey levels; `at`: image, row and column, [T] each.

        Alternating converges slowly where much of a tile is clipped, so this goes on for the tiles that need it.
        """
        tiles, live = tiles.clamp(0, 255), torch.arange(tiles.shape[1], device=tiles.device)
        symbols, steps, valid = self.symbols[at], self.steps[at[0], 0, 0], self.layout.valid[at[1:]][..., None]
        half = (0.5 - margin).clamp(min=0.0)
        low, high = (symbols - half) * steps, (symbols + half) * steps
        for _ in range(rounds):
            part = tiles[:, live]
            found = self._analyse_part(self._colour(self.to_ycc, part), where)
            change = (found.clamp(low[live], high[live]) - found) * valid[live]
            outside = (change.abs() > SLACK * steps[live]).flatten(1).any(1)
            if not outside.any():
                break
            synthesised = self._colour(self.to_rgb, self._synthesise_part(change[outside], where))
            live = live[outside]
            tiles[:, live] = (part[:, outside] + synthesised).clamp_(0, 255)
        return tiles

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

    def _analyse(self, tiles: Tensor) -> Tensor:
        ycc = self._colour(self.to_ycc, tiles)
        parts = [self._analyse_part(ycc[:, :, where.rows, where.columns], where) for where in self.layout.maps]
        return self.layout.assemble(parts, 1)

    def _analyse_part(self, part: Tensor, where: TileMap) -> Tensor:
        blocks = [((part[0] - 128.0) @ where.luma.T).unflatten(-1, (-1, 64))]
        if not self.layout.grey:
            blocks.append((part[1:] @ where.chroma.T).movedim(0, -2))
        return torch.cat(blocks, -2)

    def _synthesise(self, change: Tensor) -> Tensor:
        """Smallest change of the tiles, in RGB, that makes a change of coefficients."""
        parts = [self._synthesise_part(change[:, where.rows, where.columns], where) for where in self.layout.maps]
        return self._colour(self.to_rgb, self.layout.assemble(parts, 2))

    def _synthesise_part(self, change: Tensor, where: TileMap) -> Tensor:
        split = self.layout.luma_blocks
        luma = change[..., :split, :].flatten(-2) @ where.luma_inverse.T
        if self.layout.grey:
            return torch.stack([luma, torch.zeros_like(luma), torch.zeros_like(luma)])
        return torch.cat([luma[None], change[..., split:, :].movedim(-2, 0) @ where.chroma_inverse.T])
