"""The quantisation cell of JPEG files: everything a solver may ask of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.imageio import to_bytes
from idemcore.protocols import Cell

from .box import Box
from .distortion import expected_rms
from .entropy import read_coefficients
from .files import decode_image, encode_like, written_here
from .layout import Layout
from .model import coefficients, quantise
from .snap import WORK, snap
from .stream import Stream, parse
from .upsample import upsample


class JpegCell(Cell):
    """{x : f(x) = y} of JPEG files of one size and subsampling, known from their bytes alone.

    A file that this encoder wrote (`own_bytes`) is matched byte for byte. A file of another encoder has headers,
    Huffman tables or scans that ours never writes: there, the quantised coefficients and the tables must be equal.
    """

    def __init__(
        self, streams: Sequence[bytes], device: torch.device | str = "cpu", rounds: int = 12, search_work: int = WORK
    ) -> None:
        """Raises BitstreamError or InputError.

        `rounds`: most alternations of `project`. `search_work`: most iterations of an attempt of `snap`.
        """
        self.streams, self.device = list(streams), torch.device(device)
        self.rounds, self.search_work = rounds, search_work
        self.parsed = [parse(data) for data in self.streams]
        first = self.parsed[0]
        kinds = {(s.height, s.width, s.subsampling) for s in self.parsed}
        if len(kinds) > 1:
            raise InputError("JPEGs of different sizes or subsampling cannot share a batch.", "Decode them singly.")
        layout = Layout(first.height, first.width, first.subsampling, self.device)
        symbols = torch.stack([pack_symbols(s, layout) for s in self.parsed]).to(self.device)
        tables = torch.stack([pack_tables(s, layout) for s in self.parsed]).to(self.device)
        self.box = Box(layout, symbols, tables)
        self.centre = torch.cat([decode_image(data) for data in self.streams]).to(self.device)
        self.distortion = expected_rms(self.box)
        self.own_bytes = torch.tensor([written_here(s) for s in self.parsed])
        """Bool [B]: files of this encoder, which `contains` compares byte for byte."""

    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: the real encoder gives the same bytes or, unless `own_bytes`, the same coefficients and tables."""
        rewritten = [encode_like(s, one) for s, one in zip(self.parsed, byte_image, strict=True)]
        same = [new == old for new, old in zip(rewritten, self.streams, strict=True)]
        for b, own in enumerate(self.own_bytes.tolist()):
            if not own:
                same[b] = self._differing(b, rewritten[b]) == 0
        return torch.tensor(same, dtype=torch.bool, device=self.device)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: coefficients of the real encoder's file that differ from those of y."""
        rewritten = [encode_like(s, one) for s, one in zip(self.parsed, byte_image, strict=True)]
        counts = [0 if new == self.streams[b] else self._differing(b, new) for b, new in enumerate(rewritten)]
        return torch.tensor(counts, device=self.device)

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), rounding passed straight through; within 3 grey levels of what the real files decode to."""
        exact = quantise(coefficients(to_bytes(x.detach()), self.box.layout), self.box.tables)
        position = self.box.coefficients(x) / self.box.steps
        return self._render((position + (exact - position).detach()) * self.box.steps)

    def position(self, x: Tensor) -> Tensor:
        """[B,K] quantiser steps from the symbol, K coefficients an image, those outside the image left out."""
        return self.box.position(x)[:, self.box.layout.valid].flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """A near-nearest point of the cell and of [0,1], `margin` quantiser steps inside, within 0.02 steps."""
        return self.box.project(x, margin, self.rounds)

    def snap(self, x: Tensor) -> Tensor:
        """Uint8 [B,3,H,W]: a byte image of the cell near x, by the integer model of the encoder (see `snap.py`)."""
        return snap(self.box, x, self.centre, self.search_work)

    def _differing(self, b: int, data: bytes) -> int:
        found, wanted = parse(data), self.parsed[b]
        if not np.array_equal(found.component_tables(), wanted.component_tables()):
            return int(self.box.layout.valid.sum()) * 64
        symbols = pack_symbols(found, self.box.layout).to(self.device)
        return int(((symbols != self.box.symbols[b]) & self.box.layout.valid[..., None]).sum())

    def _render(self, unquantised: Tensor) -> Tensor:
        layout = self.box.layout
        luma, chroma = self.box.pixels(unquantised)
        luma = (luma + 128.0).clamp(0, 255)
        if layout.grey:
            return luma.expand(-1, 3, -1, -1) / 255.0
        chroma = chroma.clamp(-128, 127)
        chroma = upsample(chroma, -2, layout.height) if layout.v == 2 else chroma
        chroma = upsample(chroma, -1, layout.width) if layout.h == 2 else chroma
        ycc = torch.cat([luma, chroma], 1)
        return torch.einsum("ij,bjhw->bihw", self.box.to_rgb, ycc).clamp(0, 255) / 255.0


def pack_symbols(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [M,N,K,64]: the quantised coefficients of a file, MCU by MCU."""
    planes = [torch.from_numpy(plane.astype(np.int32)) for plane in read_coefficients(stream)]
    luma = planes[0].reshape(layout.grid[0], layout.v, layout.grid[1], layout.h, 64).transpose(1, 2).flatten(2, 3)
    return torch.cat([luma, *(plane[:, :, None] for plane in planes[1:])], 2)


def pack_tables(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [1,1,K,64]: the quantisation table of each block of an MCU."""
    tables = torch.from_numpy(stream.component_tables())
    return torch.cat([tables[:1].expand(layout.luma_blocks, 64), tables[1:]])[None, None]
