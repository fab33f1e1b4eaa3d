"""The quantisation cell of JPEG files: everything a solver may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.io.images import to_bytes
from idemcore.protocols import Cell

from .bands import bands
from .box import Box
from .distortion import expected_rms, salvaged_rms
from .estimate import Estimator
from .layout import Layout
from .model import coefficients, quantise
from .reading import Reading
from .snap import WORK, snap
from .upsample import upsample


class JpegCell(Cell):
    """{x : f(x) = y} of JPEG files of one size and subsampling, known from their bytes alone.

    An image is inside if the real encoder, with y's quantisation tables and sampling, makes y's quantised coefficients
    of it. Where this encoder wrote y (`own_bytes`), that gives the same bytes; a file of another encoder has headers,
    Huffman tables or scans that ours never writes.
    """

    def __init__(
        self,
        streams: Sequence[bytes],
        device: torch.device | str = "cpu",
        rounds: int = 12,
        search_work: int = WORK,
        estimator: Estimator | None = None,
        salvage: bool = False,
    ) -> None:
        """Raises BitstreamError or InputError.

        `rounds`: most alternations of `project`. `search_work`: most iterations of an attempt of `snap` in one of the
        `bands`. `estimator`: makes `estimate`; without one, and of damaged files, it is g(y). `salvage`: damaged files
        constrain as far as they go.
        """
        self.streams, self.device, self.estimator = list(streams), torch.device(device), estimator
        self.rounds, self.search_work = rounds, search_work
        self.readings = [Reading.of(data, salvage) for data in self.streams]
        first = self.readings[0].layout
        if len({(r.layout.height, r.layout.width, r.layout.sampling) for r in self.readings}) > 1:
            raise InputError(
                "JPEGs of different size, sampling or colours cannot share a batch.", "Decode them singly."
            )
        layout = Layout(first.height, first.width, first.sampling, self.device)
        symbols, tables = (self._stack([getattr(r, name) for r in self.readings]) for name in ("symbols", "tables"))
        complete = all(r.complete for r in self.readings)
        limits = (
            [] if complete else [self._stack([getattr(r, name) for r in self.readings]) for name in ("low", "high")]
        )
        self.box = Box(layout, symbols, tables, *limits)
        self.bands = bands(self.box)
        self.centre = torch.cat([r.decoded() for r in self.readings]).to(self.device)
        self.distortion = expected_rms(self.box) if complete else salvaged_rms(self.box, self.centre)
        self.own_bytes = torch.tensor([r.own for r in self.readings])
        """Bool [B]: files of this encoder, for which equal coefficients are equal bytes."""

    @cached_property
    def estimate(self) -> Tensor:
        """See `Cell.estimate`; a network makes it when it is first asked for."""
        if self.estimator is None or not self.box.complete:
            return self.centre
        return self.project(self.estimator.image(self.box, self.centre))

    @cached_property
    def estimate_error(self) -> Tensor:
        """See `Cell.estimate_error`."""
        if self.estimator is None or not self.box.complete:
            return self.distortion
        return self.distortion * self.estimator.error_share(self.box)

    def _stack(self, tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors).to(self.device)

    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: the real encoder gives y's coefficients with y's tables, and if `own_bytes`, y's bytes."""
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: coefficients that the real encoder gives and that differ from those of y."""
        counts = [self._differing(b, one) for b, one in enumerate(byte_image)]
        return torch.tensor(counts, device=self.device)

    def reason(self, byte_image: Tensor) -> str:
        """Says of the first image whether it fails at the edges only, where coefficients come from beyond them."""
        reading, layout = self.readings[0], self.box.layout
        found = reading.encoded(byte_image[0], reading.encode_like(byte_image[0]))
        differing = reading.differ(found).flatten(2).any(-1)
        whole = (layout.height // layout.tile[0], layout.width // layout.tile[1])
        if not differing.any() or differing[: whole[0], : whole[1]].any():
            return ""
        return (
            "All of them are in blocks that the image's edge cuts: the file was cropped without loss, or its encoder "
            "fills up or rounds such blocks in a way that no image gives (MozJPEG's trellis). All others are exact."
        )

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), rounding passed straight through; within 3 grey levels of what the real files decode to.

        What a damaged file leaves open counts as it is in `centre`.
        """
        box = self.box
        exact = quantise(coefficients(to_bytes(x.detach()), box.layout), box.tables)
        position = box.coefficients(x) / box.steps
        passed = position + (exact - position).detach()
        if not box.complete:
            free = (box.low < box.high) & (exact >= box.low) & (exact <= box.high)
            passed = torch.where(free, box.symbols.float(), passed)
        return self._render(passed * box.steps)

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
        reading = self.readings[b]
        rewritten = reading.encode_like(byte_image)
        if rewritten == reading.data:
            return 0
        count = int(reading.differ(reading.encoded(byte_image.to(self.device), rewritten)).sum())
        return max(count, int(reading.own))  # bytes are what counts, where they can be had

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
