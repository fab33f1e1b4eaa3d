"""The network of the JPEG estimate, and what it knows of a file beside its pixels: quantiser steps and block grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idemcore.networks.residual_unet import SIGMA_DATA, ResidualUNet, zero

from .layout import Layout

PLANES = 11
"""Of the input beside the colours; see `Conditions.planes`."""
FEATURES = 132
"""Two tables of 64 steps and four flags; see `Conditions.features`."""


@dataclass(frozen=True)
class Conditions:
    """What the network is given of one file beside its pixels."""

    luma: Tensor
    """Float32 [64]: quantiser steps of the first component, natural order."""
    chroma: Tensor
    """Float32 [64]: those of the second, or of the first if there is only one."""
    luma_period: tuple[int, int] = (8, 8)
    """Rows and columns of pixels that a block of the first component covers."""
    chroma_period: tuple[int, int] = (8, 8)
    grey: bool = False
    rgb: bool = False
    """Components are red, green and blue."""

    @classmethod
    def of(cls, layout: Layout, tables: Tensor) -> Conditions:
        """`tables` [K,64]: the quantisation table of each block of an MCU."""
        blocks = list(layout.component_blocks())
        periods = [(8 * layout.v // v, 8 * layout.h // h) for v, h in layout.sampling.factors]
        other = min(1, len(blocks) - 1)
        luma, chroma = (tables[blocks[k].start].float().cpu() for k in (0, other))
        rgb = layout.sampling.colours == "RGB"
        return cls(luma, chroma, periods[0], periods[other], layout.grey, rgb)

    @property
    def label(self) -> float:
        """The noise level, [-1,1] units, that the network is given: about 1.3 times the rms error of the decode.

        A power law of the luma steps' geometric mean, fitted to photographs at qualities 5 to 30.
        """
        return float(0.017585 * (0.39 * self.luma.log().mean()).exp())

    @property
    def features(self) -> Tensor:
        """Float32 [FEATURES]: log steps of both tables, log of chroma's subsampling, and what the components are."""
        ratio = [math.log2(c / y) for c, y in zip(self.chroma_period, self.luma_period, strict=True)]
        flags = torch.tensor([*ratio, float(self.grey), float(self.rgb)])
        return torch.cat([_scaled(self.luma), _scaled(self.chroma), flags])

    def planes(self, height: int, width: int) -> Tensor:
        """Float32 [PLANES,H,W] for a picture whose corner is that of an MCU.

        Both tables laid over the blocks they belong to, the place in the block as sine and cosine, and a plane of 1,
        which shows where the picture ends.
        """
        rows, columns = torch.arange(height), torch.arange(width)
        tables = [_tiled(_scaled(table).view(8, 8), period, rows, columns)
                  for table, period in ((self.luma, self.luma_period), (self.chroma, self.chroma_period))]  # fmt: skip
        waves = [wave for period in (self.luma_period, self.chroma_period) for wave in _waves(period, rows, columns)]
        return torch.stack([*tables, *waves, torch.ones(height, width)])


def _scaled(steps: Tensor) -> Tensor:
    """Steps 1..256 -> -1..1."""
    return steps.log2() / 4 - 1


def _tiled(table: Tensor, period: tuple[int, int], rows: Tensor, columns: Tensor) -> Tensor:
    """[H,W]: the table [8,8] stretched over blocks of `period` pixels."""
    return table[rows * 8 // period[0] % 8][:, columns * 8 // period[1] % 8]


def _waves(period: tuple[int, int], rows: Tensor, columns: Tensor) -> list[Tensor]:
    """Four of [H,W]: cosine and sine of the row, then of the column, in the block."""
    found = []
    for axis, place in enumerate((rows, columns)):
        phase = 2 * math.pi * (place + 0.5) / period[axis]
        shape = (-1, 1) if axis == 0 else (1, -1)
        found += [wave.view(shape).expand(len(rows), len(columns)) for wave in (phase.cos(), phase.sin())]
    return found


class EstimateNetwork(ResidualUNet):
    """A denoiser of JPEG's errors: the photograph prior's UNet, with planes and gains of the file's tables.

        decode, planes -> head -> UNet -> tail -> residual
                                   |
                  label, tables -> gains

    What tables and planes add starts at zero, so that training can start from the prior itself.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 192), blocks: int = 2, embedding: int = 128) -> None:
        super().__init__(channels, blocks, embedding, planes=3 + PLANES)
        self.tables = nn.Sequential(nn.Linear(FEATURES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        zero(self.tables[2])

    def estimate(self, decoded: Tensor, planes: Tensor, label: Tensor, features: Tensor) -> Tensor:
        """[B,3,H,W] in [-1,1] -> the image of least expected squared error, not clamped.

        `planes` [B,PLANES,H,W], `label` [B] and `features` [B,FEATURES] are those of `Conditions`.
        """
        level = label[:, None, None, None]
        norm = (level**2 + SIGMA_DATA**2).sqrt()
        embedding = self.embed(label) + self.tables(features)
        residual = self.residual(torch.cat([decoded / norm, planes], dim=1), embedding).float()
        return decoded * (SIGMA_DATA / norm) ** 2 + residual * (level * SIGMA_DATA / norm)

    def start_from(self, prior: dict[str, Tensor]) -> None:
        """Takes over the weights of such a network, or of a `ResidualUNet`, whose head knows only the colours."""
        head, known = torch.zeros_like(self.head.weight), prior["head.weight"]
        head[:, : known.shape[1]] = known
        self.load_state_dict({**self.state_dict(), **prior, "head.weight": head})
