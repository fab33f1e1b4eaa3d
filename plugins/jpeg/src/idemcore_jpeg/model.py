"""libjpeg-turbo's encoder up to the quantised coefficients, in integers and bit for bit, over batches of tiles.

Colour conversion, averaging, the accurate integer DCT ("islow", Loeffler, Ligtenberg and Moschytz 1989) and
quantisation, as in jccolor.c, jcsample.c, jfdctint.c and jcdctmgr.c. Unscaled coefficients are 8 times the orthonormal
DCT.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .colour import Colours
from .layout import Layout, TileMap

F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175 = 2446, 3196, 4433, 6270, 7373, 9633
F_1_501, F_1_847, F_1_961, F_2_053, F_2_562, F_3_072 = 12299, 15137, 16069, 16819, 20995, 25172


def average(pixels: Tensor, bias: Tensor) -> Tensor:
    """Int32 [...,N,S] of pixels, and the [N] of `SampleMap.bias` -> samples [...,N]."""
    count = pixels.shape[-1]
    return divide(pixels.sum(-1, dtype=torch.int32) + bias, count) if count > 1 else pixels[..., 0]


def divide(total: Tensor, count: int) -> Tensor:
    """Int32, rounded downwards."""
    if count & (count - 1):
        return total.div(count, rounding_mode="floor")
    return total >> (count.bit_length() - 1)


def tile_coefficients(rgb: Tensor, where: TileMap, colours: Colours) -> Tensor:
    """Byte tiles, int32 [3,T,P] -> unscaled coefficients, int32 [T,K,64]."""
    planes = colours.integers(rgb) >> 16
    blocks = []
    for samples in where.samples:
        averages = average(planes[samples.group.components][..., samples.index], samples.bias)
        blocks += [component.unflatten(-1, (-1, 64)) for component in averages]
    return forward_dct(torch.cat(blocks, 1) - 128)


def coefficients(byte_image: Tensor, layout: Layout) -> Tensor:
    """Uint8 [B,3,H,W] -> unscaled coefficients, int32 [B,M,N,K,64]."""
    tiles = layout.tiles(byte_image.int())
    out = torch.zeros(*tiles.shape[1:4], layout.blocks, 64, dtype=torch.int32, device=tiles.device)
    for where in layout.maps:
        part = tiles[:, :, where.rows, where.columns]
        values = tile_coefficients(part.flatten(1, 3), where, layout.colours)
        out[:, where.rows, where.columns] = values.unflatten(0, part.shape[1:4])
    return out


def quantise(unscaled: Tensor, tables: Tensor) -> Tensor:
    """Unscaled coefficients and tables, int32 [...,K,64] -> symbols: division by 8 * table, halves away from zero."""
    step = tables * 8
    return unscaled.sign() * torch.div(unscaled.abs() + step // 2, step, rounding_mode="floor")


def bounds(symbols: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest unscaled coefficient that `quantise` takes to each symbol."""
    centre, half = symbols * tables * 8, tables * 4
    return centre - half + (symbols <= 0).int(), centre + half - (symbols >= 0).int()


def forward_dct(samples: Tensor) -> Tensor:
    """Int32 [...,64] in -128..127 -> unscaled coefficients [...,64]."""
    rows = _pass(samples.unflatten(-1, (8, 8)), first=True)
    return _pass(rows.transpose(-1, -2), first=False).transpose(-1, -2).flatten(-2)


def _pass(x: Tensor, first: bool) -> Tensor:
    """One pass of islow along the last axis: the first keeps 2 extra bits, the second drops them."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x.unbind(-1)
    t0, t7, t1, t6 = x0 + x7, x0 - x7, x1 + x6, x1 - x6
    t2, t5, t3, t4 = x2 + x5, x2 - x5, x3 + x4, x3 - x4
    e0, e3, e1, e2 = t0 + t3, t0 - t3, t1 + t2, t1 - t2
    shift = 13 - 2 if first else 13 + 2
    o0, o4 = ((e0 + e1) << 2, (e0 - e1) << 2) if first else (_descale(e0 + e1, 2), _descale(e0 - e1, 2))
    z1 = (e2 + e3) * F_0_541
    o2, o6 = _descale(z1 + e3 * F_0_765, shift), _descale(z1 - e2 * F_1_847, shift)
    z5 = (t4 + t6 + t5 + t7) * F_1_175
    z1, z2 = (t4 + t7) * -F_0_899, (t5 + t6) * -F_2_562
    z3, z4 = (t4 + t6) * -F_1_961 + z5, (t5 + t7) * -F_0_390 + z5
    o7, o5 = _descale(t4 * F_0_298 + z1 + z3, shift), _descale(t5 * F_2_053 + z2 + z4, shift)
    o3, o1 = _descale(t6 * F_3_072 + z2 + z3, shift), _descale(t7 * F_1_501 + z1 + z4, shift)
    return torch.stack([o0, o1, o2, o3, o4, o5, o6, o7], -1)


def _descale(x: Tensor, bits: int) -> Tensor:
    return (x + (1 << (bits - 1))) >> bits
