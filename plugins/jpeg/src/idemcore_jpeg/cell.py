"""The quantisation cell of JPEG files: everything a solver may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.io.images import to_bytes
from idemcore.protocols import Cell

from .bands import bands
from .box import Box
from .distortion import expected_rms
from .entropy import read_coefficients
from .estimate import Estimator
from .files import decode_image, encode_like, written_here
from .layout import Layout
from .model import coefficients, quantise
from .snap import WORK, snap
from .stream import Stream, parse
from .upsample import upsample


class JpegCell(Cell):
    """{x : f(x) = y} of JPEG files of one size and subsampling, known from their bytes alone.

    An image is inside if the real encoder, with y's quantisation tables and sampling, makes y's quantised coefficients
    of it. Where this encoder wrote y (`own_bytes`), that gives the same bytes; a file of another encoder has headers,
    Huffman tables or scans that ours never writes.
    """

    def __init__(
        self, streams: Sequence[bytes], device: torch.device | str = "cpu", rounds: int = 12, search_work: int = WORK,
        estimator: Estimator | None = None,
    ) -> None:  # fmt: skip
        """Raises BitstreamError or InputError.

        `rounds`: most alternations of `project`. `search_work`: most iterations of an attempt of `snap` in one of the
        `bands`. `estimator`: makes `estimate`; without one it is g(y).
        """
        self.streams, self.device, self.estimator = list(streams), torch.device(device), estimator
        self.rounds, self.search_work = rounds, search_work
        self.parsed = [parse(data) for data in self.streams]
        first = self.parsed[0]
        kinds = {(s.height, s.width, s.sampling) for s in self.parsed}
        if len(kinds) > 1:
            raise InputError(
                "JPEGs of different size, sampling or colours cannot share a batch.", "Decode them singly."
            )
        layout = Layout(first.height, first.width, first.sampling, self.device)
        symbols = torch.stack([pack_symbols(s, layout) for s in self.parsed]).to(self.device)
        tables = torch.stack([pack_tables(s, layout) for s in self.parsed]).to(self.device)
        self.box = Box(layout, symbols, tables)
        self.bands = bands(self.box)
        self.centre = torch.cat([decode_image(data) for data in self.streams]).to(self.device)
        self.distortion = expected_rms(self.box)
        self.own_bytes = torch.tensor([written_here(s) for s in self.parsed])
        """Bool [B]: files of this encoder, for which equal coefficients are equal bytes."""

    @cached_property
    def estimate(self) -> Tensor:
        """See `Cell.estimate`; a network makes it when it is first asked for."""
        if self.estimator is None:
            return self.centre
        return self.project(self.estimator.image(self.box, self.centre))

    @cached_property
    def estimate_error(self) -> Tensor:
        """See `Cell.estimate_error`."""
        if self.estimator is None:
            return self.distortion
        return self.distortion * self.estimator.error_share(self.box)

    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: the real encoder gives y's coefficients with y's tables, and if `own_bytes`, y's bytes."""
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: coefficients that the real encoder gives and that differ from those of y."""
        counts = [self._differing(b, one) for b, one in enumerate(byte_image)]
        return torch.tensor(counts, device=self.device)

    def reason(self, byte_image: Tensor) -> str:
        """Of the first image: whether it fails at the edges only, where coefficients come from beyond them."""
        found = encoded_symbols(
            self.parsed[0], byte_image[0], self.box.layout, encode_like(self.parsed[0], byte_image[0])
        )
        differing = ((found != self.box.symbols[0]) & self.box.layout.valid[..., None]).flatten(2).any(-1)
        whole = (self.box.layout.height // self.box.layout.tile[0], self.box.layout.width // self.box.layout.tile[1])
        if not differing.any() or differing[: whole[0], : whole[1]].any():
            return ""
        return (
            "All of them are in blocks that the image's edge cuts: the file was cropped without loss, or its encoder "
            "fills up or rounds such blocks in a way that no image gives (MozJPEG's trellis). All others are exact."
        )

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
        if len(self.bands) == 1:
            return self.box.project(x, margin, self.rounds)
        found = torch.empty_like(x)
        for band in self.bands:
            found[:, :, band.rows] = band.box.project(x[:, :, band.rows], margin, self.rounds)
        return found

    def snap(self, x: Tensor) -> Tensor:
        """Uint8 [B,3,H,W]: a byte image of the cell near x, by the integer model of the encoder (see `snap.py`)."""
        found = [
            snap(band.box, x[:, :, band.rows], self.centre[:, :, band.rows], self.search_work) for band in self.bands
        ]
        return torch.cat(found, dim=2)

    def _differing(self, b: int, byte_image: Tensor) -> int:
        rewritten = encode_like(self.parsed[b], byte_image)
        if rewritten == self.streams[b]:
            return 0
        found = encoded_symbols(self.parsed[b], byte_image.to(self.device), self.box.layout, rewritten)
        return int(((found != self.box.symbols[b]) & self.box.layout.valid[..., None]).sum())

    def _render(self, unquantised: Tensor) -> Tensor:
        layout, planes = self.box.layout, []
        for plane, (v, h), centre in zip(
            self.box.planes(unquantised), layout.sampling.factors, self.box.centre, strict=True
        ):
            shown = (plane + 128.0).clamp(0, 255) - 128.0 + centre
            planes.append(upsample(shown, (layout.v // v, layout.h // h), (layout.height, layout.width)))
        if layout.grey:
            return planes[0][:, None].expand(-1, 3, -1, -1) / 255.0
        return torch.einsum("ij,bjhw->bihw", self.box.inverse, torch.stack(planes, 1)).clamp(0, 255) / 255.0


def encoded_symbols(stream: Stream, byte_image: Tensor, layout: Layout, rewritten: bytes | None) -> Tensor:
    """Int32 [M,N,K,64]: what the encoder makes of uint8 [3,H,W] with a file's tables and sampling.

    That is what the real encoder has `rewritten`; where Pillow cannot write such a file, what the integer model gives.
    """
    if rewritten is None:
        return quantise(coefficients(byte_image[None], layout), pack_tables(stream, layout).to(byte_image.device))[0]
    found = parse(rewritten)
    if not np.array_equal(found.component_tables(), stream.component_tables()):
        raise AssertionError("libjpeg wrote other quantisation tables than it was given")
    return pack_symbols(found, layout).to(byte_image.device)


def pack_symbols(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [M,N,K,64]: the quantised coefficients of a file, MCU by MCU; 0 in blocks that do not exist."""
    (m, n), packed = layout.grid, []
    for number, ((v, h), plane) in enumerate(zip(layout.sampling.factors, read_coefficients(stream), strict=True)):
        rows, columns = layout.component_shape(number)
        whole = np.zeros((m * v, n * h, 64), np.int32)
        whole[:rows, :columns] = plane[:rows, :columns]
        packed.append(torch.from_numpy(whole).reshape(m, v, n, h, 64).transpose(1, 2).flatten(2, 3))
    return torch.cat(packed, 2)


def pack_tables(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [1,1,K,64]: the quantisation table of each block of an MCU."""
    tables = torch.from_numpy(stream.component_tables())
    return tables.repeat_interleave(torch.tensor([v * h for v, h in layout.sampling.factors]), 0)[None, None]
