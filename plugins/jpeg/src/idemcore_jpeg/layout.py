"""How libjpeg cuts an image into MCUs, blocks and chroma samples, as index maps and as matrices.

A *tile* is the pixel area of one MCU: 8x8 (4:4:4, grey), 8x16 (4:2:2) or 16x16 (4:2:0). What an MCU's coefficients are
depends on its own tile only, at the image's edges too, where libjpeg repeats the last pixels:

    rgb tile -> y cb cr -> luma_index   -> blocks of 8x8 -> DCT -> 64 coefficients each
                        -> chroma_index -> mean of 1, 2 or 4 pixels -> DCT

Tiles are stored [3,B,M,N,P]: channel, image, MCU row, MCU column, pixel (row by row). Coefficients are stored
[B,M,N,K,64]: K blocks an MCU (luma row by row, then Cb, Cr), natural order, orthonormal scale.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2), "grey": (1, 1)}
"""Rows and columns of luma blocks in an MCU."""


@functools.lru_cache(maxsize=1)
def dct_matrix() -> Tensor:
    """Float64 [64,64]: orthonormal 2-D DCT of a block in row-major order, one coefficient a row."""
    k, n = torch.arange(8.0, dtype=torch.float64)[:, None], torch.arange(8.0, dtype=torch.float64)
    basis = torch.cos((2 * n + 1) * k * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return torch.kron(basis, basis)


@dataclass(frozen=True)
class TileMap:
    """Which pixels of a tile make which samples: one map for inner tiles, others for the right and bottom edges."""

    rows: slice
    columns: slice
    luma_index: Tensor
    """Int64 [L*64]: pixel of each luma sample, block by block."""
    chroma_index: Tensor
    """Int64 [64,S]: the S pixels averaged into each chroma sample."""
    luma: Tensor
    """Float32 [L*64,P]: from the luma of a tile to its coefficients; rows of blocks outside the image are 0."""
    chroma: Tensor
    """Float32 [64,P]."""
    luma_inverse: Tensor
    """Float32 [P,L*64]: pseudo-inverse, the smallest change of a tile that makes a change of coefficients."""
    chroma_inverse: Tensor
    """Float32 [P,64]."""
    real: Tensor
    """Bool [P]: pixels inside the image."""

    @property
    def inner(self) -> bool:
        """Every pixel of the tile lies inside the image."""
        return bool(self.real.all())


class Layout:
    """Geometry of all images of one size and subsampling."""

    def __init__(self, height: int, width: int, subsampling: str, device: torch.device | str = "cpu") -> None:
        self.height, self.width, self.subsampling = height, width, subsampling
        self.grey = subsampling == "grey"
        self.v, self.h = FACTORS[subsampling]
        self.tile = (8 * self.v, 8 * self.h)
        self.grid = (math.ceil(height / self.tile[0]), math.ceil(width / self.tile[1]))
        self.luma_blocks = self.v * self.h
        self.blocks = self.luma_blocks + (0 if self.grey else 2)
        self.valid = self._valid().to(device)
        """Bool [M,N,K]: blocks that exist; libjpeg fills MCUs at the edges with empty luma blocks."""
        self.maps = [self._map(r, c, device) for r in self._spans(0) for c in self._spans(1)]

    def tiles(self, image: Tensor) -> Tensor:
        """[B,3,H,W] -> [3,B,M,N,P]; pixels outside the image are 0."""
        (m, n), (th, tw) = self.grid, self.tile
        padded = F.pad(image, (0, n * tw - self.width, 0, m * th - self.height))
        return padded.reshape(-1, 3, m, th, n, tw).permute(1, 0, 2, 4, 3, 5).reshape(3, -1, m, n, th * tw)

    def image(self, tiles: Tensor) -> Tensor:
        """Inverse of `tiles`, without the padding."""
        (m, n), (th, tw) = self.grid, self.tile
        whole = tiles.reshape(3, -1, m, n, th, tw).permute(1, 0, 2, 4, 3, 5).reshape(-1, 3, m * th, n * tw)
        return whole[..., : self.height, : self.width]

    def assemble(self, parts: list[Tensor], axis: int) -> Tensor:
        """Joins what was computed map by map into one tensor; `axis` is that of the MCU rows."""
        if len(parts) == 1:
            return parts[0]
        width = len(self._spans(1))
        return torch.cat([torch.cat(parts[i : i + width], axis + 1) for i in range(0, len(parts), width)], axis)

    def component_shape(self, component: int) -> tuple[int, int]:
        """Rows and columns of blocks that a component stores."""
        v, h = (self.v, self.h) if component == 0 else (1, 1)
        return math.ceil(self.height * v / self.tile[0]), math.ceil(self.width * h / self.tile[1])

    def _spans(self, axis: int) -> list[tuple[slice, int]]:
        """(tile rows or columns, real pixels in each): the whole ones, then the cut one."""
        size, tile, count = (self.height, self.width)[axis], self.tile[axis], self.grid[axis]
        whole, rest = divmod(size, tile)
        return [(slice(0, whole), tile)] * bool(whole) + [(slice(whole, count), rest)] * bool(rest)

    def _valid(self) -> Tensor:
        valid = torch.ones(*self.grid, self.blocks, dtype=torch.bool)
        rows, columns = self.component_shape(0)
        row = torch.arange(self.grid[0])[:, None] * self.v + torch.arange(self.v)
        column = torch.arange(self.grid[1])[:, None] * self.h + torch.arange(self.h)
        inside = (row < rows)[:, None, :, None] & (column < columns)[None, :, None, :]
        valid[..., : self.luma_blocks] = inside.flatten(2)
        return valid

    def _map(self, row: tuple[slice, int], column: tuple[slice, int], device: torch.device | str) -> TileMap:
        (rows, real_rows), (columns, real_columns) = row, column
        pixel = torch.arange(self.tile[0] * self.tile[1]).reshape(self.tile)
        real = torch.zeros(self.tile, dtype=torch.bool)
        real[:real_rows, :real_columns] = True
        luma_rows = torch.arange(self.tile[0]).clamp(max=real_rows - 1)
        all_columns = torch.arange(self.tile[1]).clamp(max=real_columns - 1)
        by_block = pixel[luma_rows][:, all_columns].reshape(self.v, 8, self.h, 8).transpose(1, 2).reshape(-1)
        # libjpeg repeats columns before it averages chroma, but repeats rows of the averages.
        last = math.ceil(real_rows / self.v) - 1
        chroma_rows = (torch.arange(8).clamp(max=last)[:, None] * self.v + torch.arange(self.v)).flatten()
        sampled = pixel[chroma_rows.clamp(max=real_rows - 1)][:, all_columns]
        averaged = sampled.reshape(8, self.v, 8, self.h).transpose(1, 2).reshape(64, -1)
        used = self.valid[rows, columns][0, 0, : self.luma_blocks].cpu().repeat_interleave(64)
        luma = torch.block_diag(*[dct_matrix()] * self.luma_blocks) @ _selection(by_block[:, None], pixel.numel())
        luma = luma * used[:, None]
        chroma = dct_matrix() @ _selection(averaged, pixel.numel())
        both = (luma, chroma, torch.linalg.pinv(luma), torch.linalg.pinv(chroma))
        analyse, analyse_chroma, invert, invert_chroma = (matrix.float().to(device) for matrix in both)
        where = (by_block.to(device), averaged.to(device))
        return TileMap(rows, columns, *where, analyse, analyse_chroma, invert, invert_chroma, real.flatten().to(device))


def _selection(index: Tensor, pixels: int) -> Tensor:
    """Float64 [samples,P]: each sample is the mean of the pixels it lists."""
    return F.one_hot(index, pixels).double().mean(1)
