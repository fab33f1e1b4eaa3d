"""libjpeg-turbo's encoder up to the quantised coefficients, in integers and bit for bit, over batches of tiles.

Colour conversion, chroma averaging, the accurate integer DCT ("islow", Loeffler, Ligtenberg and Moschytz 1989) and
quantisation, as in jccolor.c, jcsample.c, jfdctint.c and jcdctmgr.c. Unscaled coefficients are 8 times the orthonormal
DCT.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import Layout, TileMap

HALF = 1 << 15
COLOUR = torch.tensor([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], dtype=torch.int32)
"""Rows Y, Cb, Cr in 16-bit fixed point; columns R, G, B."""
OFFSET = torch.tensor([HALF, (128 << 16) + HALF - 1, (128 << 16) + HALF - 1], dtype=torch.int32)

F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175 = 2446, 3196, 4433, 6270, 7373, 9633
F_1_501, F_1_847, F_1_961, F_2_053, F_2_562, F_3_072 = 12299, 15137, 16069, 16819, 20995, 25172


def fixed_point_ycc(rgb: Tensor) -> Tensor:
    """Int32 [3,...] 0..255 -> int32 [3,...]: Y, Cb, Cr before the shift by 16 bits that rounds them."""
    r, g, b = rgb.int()
    rows = [r * int(c[0]) + g * int(c[1]) + b * int(c[2]) + int(o) for c, o in zip(COLOUR, OFFSET, strict=True)]
    return torch.stack(rows)


def averaging_bias(samples: int, device: torch.device) -> Tensor:
    """Int32 [64]: what libjpeg adds before it divides a sum of 1, 2 or 4 pixels; alternates along a row."""
    first = {1: 0, 2: 0, 4: 1}[samples]
    odd = torch.arange(64, device=device, dtype=torch.int32) & 1
    return first + odd * (samples > 1)


def average(samples: Tensor) -> Tensor:
    """Int32 [...,64,S] of pixels -> [...,64] chroma samples."""
    count = samples.shape[-1]
    return (samples.sum(-1, dtype=torch.int32) + averaging_bias(count, samples.device)) >> (count.bit_length() - 1)


def tile_coefficients(rgb: Tensor, where: TileMap, grey: bool = False) -> Tensor:
    """Byte tiles, int32 [3,T,P] -> unscaled coefficients, int32 [T,K,64]."""
    ycc = fixed_point_ycc(rgb) >> 16
    samples = [ycc[0][:, where.luma_index].unflatten(-1, (-1, 64))]
    if not grey:
        samples += [average(plane[:, where.chroma_index])[:, None] for plane in ycc[1:]]
    return forward_dct(torch.cat(samples, 1) - 128)


def coefficients(byte_image: Tensor, layout: Layout) -> Tensor:
    """Uint8 [B,3,H,W] -> unscaled coefficients, int32 [B,M,N,K,64]."""
    tiles = layout.tiles(byte_image.int())
    out = torch.zeros(*tiles.shape[1:4], layout.blocks, 64, dtype=torch.int32, device=tiles.device)
    for where in layout.maps:
        part = tiles[:, :, where.rows, where.columns]
        values = tile_coefficients(part.flatten(1, 3), where, layout.grey)
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
