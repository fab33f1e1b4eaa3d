"""How libjpeg cuts an image into MCUs, blocks and samples, as index maps and as matrices.

A *tile* is the pixel area of one MCU: 8x8 (4:4:4, grey), 8x16 (4:2:2), 16x16 (4:2:0) and so on. What an MCU's
coefficients are depends on its own tile only, at the image's edges too, where libjpeg repeats the last pixels:

    rgb tile -> components -> index -> each sample the mean of 1 to 16 pixels -> blocks of 8x8 -> DCT -> coefficients

Tiles are stored [3,B,M,N,P]: channel, image, MCU row, MCU column, pixel (row by row). Coefficients are stored
[B,M,N,K,64]: K blocks an MCU (component by component, each row by row), natural order, orthonormal scale.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from .colour import COLOURS
from .sampling import Factors, Sampling

SIGMAS = 5.0
"""Standard deviations beyond which no rounding error is expected."""


@functools.lru_cache(maxsize=1)
def dct_matrix() -> Tensor:
    """Float64 [64,64]: orthonormal 2-D DCT of a block in row-major order, one coefficient a row."""
    k, n = torch.arange(8.0, dtype=torch.float64)[:, None], torch.arange(8.0, dtype=torch.float64)
    basis = torch.cos((2 * n + 1) * k * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return torch.kron(basis, basis)


@dataclass(frozen=True)
class Group:
    """Neighbouring components of equal factors, which are sampled alike."""

    components: slice
    blocks: slice
    """Of an MCU."""
    factors: Factors

    @property
    def count(self) -> int:
        """Components."""
        return int(self.components.stop - self.components.start)

    @property
    def blocks_each(self) -> int:
        return self.factors[0] * self.factors[1]


@dataclass(frozen=True)
class SampleMap:
    """Maps pixels of a tile to the samples of a group's components, n blocks each."""

    group: Group
    index: Tensor
    """Int64 [n*64,S]: the S pixels averaged into each sample, block by block."""
    bias: Tensor
    """Int32 [n*64]: what libjpeg adds to the sum of them before it divides."""
    analyse: Tensor
    """Float32 [n*64,P]: from a component's values of a tile to coefficients; rows of blocks outside the image are 0."""
    invert: Tensor
    """Float32 [P,n*64]: pseudo-inverse, the smallest change of a tile that makes a change of coefficients."""
    rounding: Tensor
    """Float32 [n*64]: what rounding pixels and samples to integers moves coefficients by at most, in grey levels."""


@dataclass(frozen=True)
class TileMap:
    """What all tiles of some rows and columns have in common: one for inner tiles, others for the edges."""

    rows: slice
    columns: slice
    samples: list[SampleMap]
    """Of each group."""
    real: Tensor
    """Bool [P]: pixels inside the image."""

    @property
    def inner(self) -> bool:
        """Every pixel of the tile lies inside the image."""
        return bool(self.real.all())

    def of_real_pixels(self) -> TileMap:
        """The same for tiles that hold their pixels inside the image only."""
        place = self.real.cumsum(0) - 1
        cut = [
            replace(one, index=place[one.index], analyse=one.analyse[:, self.real], invert=one.invert[self.real])
            for one in self.samples
        ]
        return replace(self, samples=cut, real=self.real[self.real])


class Layout:
    """Geometry of all images of one size and sampling."""

    def __init__(self, height: int, width: int, sampling: Sampling | str, device: torch.device | str = "cpu") -> None:
        """`sampling` may be a name, such as 4:2:0."""
        self.height, self.width = height, width
        self.sampling = Sampling.named(sampling) if isinstance(sampling, str) else sampling
        self.colours = COLOURS[self.sampling.colours]
        self.grey = self.sampling.colours == "grey"
        self.v, self.h = self.sampling.mcu
        self.tile = (8 * self.v, 8 * self.h)
        self.grid = (math.ceil(height / self.tile[0]), math.ceil(width / self.tile[1]))
        self.groups = list(_groups(self.sampling.factors))
        self.blocks = self.groups[-1].blocks.stop
        self.valid = self._valid().to(device)
        """Bool [M,N,K]: blocks that exist; libjpeg fills MCUs at the edges with empty ones."""
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

    def component_blocks(self) -> Iterator[slice]:
        """For each component, its blocks in an MCU."""
        for group in self.groups:
            for first in range(group.blocks.start, group.blocks.stop, group.blocks_each):
                yield slice(first, first + group.blocks_each)

    def component_shape(self, component: int) -> tuple[int, int]:
        """Rows and columns of blocks that a component stores."""
        v, h = self.sampling.factors[component]
        return math.ceil(self.height * v / self.tile[0]), math.ceil(self.width * h / self.tile[1])

    def _spans(self, axis: int) -> list[tuple[slice, int]]:
        """(tile rows or columns, real pixels in each): the whole ones, then the cut one."""
        size, tile, count = (self.height, self.width)[axis], self.tile[axis], self.grid[axis]
        whole, rest = divmod(size, tile)
        return [(slice(0, whole), tile)] * bool(whole) + [(slice(whole, count), rest)] * bool(rest)

    def _valid(self) -> Tensor:
        inside = []
        for component, (v, h) in enumerate(self.sampling.factors):
            rows, columns = self.component_shape(component)
            row = torch.arange(self.grid[0])[:, None] * v + torch.arange(v) < rows
            column = torch.arange(self.grid[1])[:, None] * h + torch.arange(h) < columns
            inside.append((row[:, None, :, None] & column[None, :, None, :]).flatten(2))
        return torch.cat(inside, 2)

    def _map(self, row: tuple[slice, int], column: tuple[slice, int], device: torch.device | str) -> TileMap:
        (rows, real_rows), (columns, real_columns) = row, column
        real = torch.zeros(self.tile, dtype=torch.bool)
        real[:real_rows, :real_columns] = True
        used = self.valid[rows, columns][0, 0].cpu()
        samples = [self._samples(group, real_rows, real_columns, used, device) for group in self.groups]
        return TileMap(rows, columns, samples, real.flatten().to(device))

    def _samples(
        self, group: Group, real_rows: int, real_columns: int, used: Tensor, device: torch.device | str
    ) -> SampleMap:
        (v, h), pixel = group.factors, torch.arange(self.tile[0] * self.tile[1]).reshape(self.tile)
        tall, wide = self.v // v, self.h // h
        # libjpeg repeats columns, and rows up to a whole `self.v`, before it averages; other rows after that.
        last = math.ceil(real_rows / self.v) * v - 1
        sampled = torch.arange(8 * v).clamp(max=last)[:, None] * tall + torch.arange(tall)
        from_rows = sampled.flatten().clamp(max=real_rows - 1)
        from_columns = torch.arange(self.tile[1]).clamp(max=real_columns - 1)
        averaged = pixel[from_rows][:, from_columns].reshape(v, 8, tall, h, 8, wide)
        index = averaged.permute(0, 3, 1, 4, 2, 5).reshape(v * h * 64, tall * wide)
        exists = used[group.blocks][: group.blocks_each].repeat_interleave(64)
        dct = torch.block_diag(*[dct_matrix()] * group.blocks_each)
        analyse = dct @ _selection(index, pixel.numel()) * exists[:, None]
        bias = averaging_bias(tall, wide).repeat(group.blocks_each)
        exact = (analyse, torch.linalg.pinv(analyse), _rounding(dct, index, bias))
        return SampleMap(group, index.to(device), bias.to(device), *(found.float().to(device) for found in exact))


def _rounding(dct: Tensor, index: Tensor, bias: Tensor) -> Tensor:
    """Float64 [samples]: the largest change that is possible, or SIGMAS standard deviations of it if that is less.

    A sample repeated at an edge is rounded alike wherever the bias is the same, so that its errors add up.
    """
    pixels = index.shape[1]
    kinds = torch.cat([index.sort(1).values, bias[:, None]], 1)
    alike = torch.unique(kinds, dim=0, return_inverse=True)[1]
    moved = dct @ F.one_hot(alike).to(dct)
    once = int(pixels > 1)  # pixels are rounded before they are averaged, and their mean again
    largest = (0.5 + 0.5 * once) * moved.abs().sum(1)
    return torch.minimum(largest, SIGMAS * ((1 + once / pixels) / 12 * moved.square().sum(1)).sqrt())


def averaging_bias(tall: int, wide: int) -> Tensor:
    """Int32 [64]: added to the sum of tall x wide pixels before it is divided; alternates along a row (jcsample.c)."""
    alternating = {(1, 1): (0, 0), (1, 2): (0, 1), (2, 2): (1, 2)}
    even, odd = alternating.get((tall, wide), (tall * wide // 2, tall * wide // 2))
    return torch.tensor([even, odd], dtype=torch.int32).repeat(32)


def _groups(factors: tuple[Factors, ...]) -> Iterator[Group]:
    component = block = 0
    for pair, members in groupby(factors):
        count = len(list(members))
        size = count * pair[0] * pair[1]
        yield Group(slice(component, component + count), slice(block, block + size), pair)
        component, block = component + count, block + size


def _selection(index: Tensor, pixels: int) -> Tensor:
    """Float64 [samples,P]: each sample is the mean of the pixels it lists."""
    matrix = torch.zeros(len(index), pixels, dtype=torch.float64)
    return matrix.scatter_add_(1, index, torch.full(index.shape, 1 / index.shape[1], dtype=torch.float64))
