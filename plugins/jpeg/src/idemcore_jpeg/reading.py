"""A JPEG file read: its coefficients MCU by MCU, and the interval in which each of them is known to lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .earlier import Earlier, earlier_compression
from .entropy import read_coefficients
from .files import decode_image, encode_like, frame_of, standard_tables
from .holes import filled
from .knowledge import NOTHING, Knowledge
from .layout import Layout
from .model import coefficients, quantise
from .stream import Stream, parse
from .writer import own_file, write

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True)
class Reading:
    """One file; tensors are [M,N,K,64] as `layout` says, on the CPU."""

    data: bytes
    stream: Stream
    known: Knowledge
    layout: Layout
    symbols: Tensor
    """Int32: the quantised coefficients; where the file leaves them open, a guess."""
    low: Tensor
    """Int32: the smallest and the largest value that each may have. Both are `symbols` itself if the file is whole."""
    high: Tensor

    @classmethod
    def of(cls, data: bytes, salvage: bool = False) -> Reading:
        """Raises BitstreamError and InputError; of damaged scans only without `salvage`.

        Missing scans are taken as zeros, as libjpeg does, or with `salvage` as unknown.
        """
        stream = parse(data)
        known = read_coefficients(stream, salvage)
        layout = Layout(stream.height, stream.width, stream.sampling)
        if known.complete or not salvage:
            symbols = pack([plane.astype(np.int32) for plane in known.planes], layout)
            return cls(data, stream, known, layout, symbols, symbols, symbols)
        tables = stream.component_tables()
        low, high = zip(*(known.interval(c, table) for c, table in enumerate(tables)), strict=True)
        guess = [filled(*bounds, known.unknown[c]) for c, bounds in enumerate(zip(low, high, strict=True))]
        return cls(data, stream, known, layout, *(pack(list(planes), layout) for planes in (guess, low, high)))

    @property
    def complete(self) -> bool:
        """Every coefficient is constrained to one value."""
        return self.low is self.high

    @cached_property
    def own(self) -> bool:
        """This encoder writes this very file of these coefficients: equal coefficients are equal bytes."""
        blank = frame_of(self.stream) if self.known.complete and not self.known.notes else None
        return blank is not None and own_file(blank, self.symbols.numpy(), self.layout) == self.data

    @property
    def summary(self) -> dict[str, str | int | float]:
        """What `idem inspect` and a certificate say of it."""
        facts: dict[str, str | int | float] = {"compared": "bytes" if self.own else "coefficients and tables"}
        if self.notes:
            facts["notes"] = "; ".join(self.notes)
        if earlier := self.earlier:
            facts["compressed_before"] = f"{earlier}: the cell is of an image that holds the artefacts of that"
        if not self.known.complete:
            count = self._counts()
            facts |= {f"coefficients_{key}": value for key, value in count.items() if "blocks" not in key}
            facts |= {key: value for key, value in count.items() if "blocks" in key}
            facts["missing_are"] = "taken as 0" if self.complete else "unconstrained"
        return facts

    @cached_property
    def earlier(self) -> Earlier | None:
        """A former compression that the luma shows signs of."""
        if not self.known.complete or self.layout.sampling.factors[0] != self.layout.sampling.mcu:
            return None
        red, green, blue = 255 * self.decoded()[0].numpy()
        luma = 0.299 * red + 0.587 * green + 0.114 * blue - 128
        return earlier_compression(luma, self.stream.component_tables()[0], standard_tables()[:, 0])

    @cached_property
    def notes(self) -> list[str]:
        """What is odd about the file: each the rest of a sentence about it."""
        if self.known.complete:
            return self.known.notes
        count = self._counts()
        what = f"{count['missing']:,} of {count['all']:,} coefficients are missing"
        if count["there_in_part"]:
            what += f", and the lower bits of {count['there_in_part']:,} more"
        blocks = f" ({count['blocks_missing']:,} of {count['blocks']:,} blocks)" if count["blocks_missing"] else ""
        end = "taken as 0; `--salvage` fills them in instead" if self.complete else "filled in, not restored"
        return [*self.known.notes, f"{what}{blocks}: they are {end}"]

    def decoded(self) -> Tensor:
        """Float32 [1,3,H,W]: libjpeg's decode of the file or, where that is not whole, of one with the guesses."""
        if self.complete and self.known.as_libjpeg:
            return decode_image(self.stream.readable)
        return decode_image(write(self.stream, self.symbols.numpy(), self.layout))

    def differ(self, found: Tensor) -> Tensor:
        """Bool [M,N,K,64]: coefficients of another image that this file does not allow."""
        outside = (found < self.low.to(found.device)) | (found > self.high.to(found.device))
        return outside & self.layout.valid.to(found.device)[..., None]

    def encoded(self, byte_image: Tensor, rewritten: bytes | None) -> Tensor:
        """Int32 [M,N,K,64]: what the encoder makes of uint8 [3,H,W] with the file's tables and sampling.

        That is what the real encoder has `rewritten`; where Pillow cannot write such a file, what the integer model
        gives.
        """
        if rewritten is None:
            layout = Layout(self.layout.height, self.layout.width, self.layout.sampling, byte_image.device)
            made = quantise(coefficients(byte_image[None], layout), self.tables.to(byte_image.device))[0]
            return made * layout.valid[..., None]
        found = parse(rewritten)
        if not np.array_equal(found.component_tables(), self.stream.component_tables()):
            raise AssertionError("libjpeg wrote other quantisation tables than it was given")
        return pack_symbols(found, self.layout).to(byte_image.device)

    def encode_like(self, byte_image: Tensor) -> bytes | None:
        """Uint8 [3,H,W] encoded with the file's tables and sampling; None if Pillow cannot write such."""
        return encode_like(self.stream, byte_image)

    @property
    def tables(self) -> Tensor:
        """Int32 [1,1,K,64]: the quantisation table of each block of an MCU."""
        return pack_tables(self.stream, self.layout)

    def _counts(self) -> dict[str, int]:
        """Coefficients and blocks of the image by what the file says of them."""
        planes = zip(self.known.unknown, self.known.shapes, strict=True)
        whole = [np.broadcast_to(unknown, (*shape, 64)) for unknown, shape in planes]
        shapes = [self.layout.component_shape(number) for number in range(len(whole))]
        unknown = [plane[:rows, :columns] for plane, (rows, columns) in zip(whole, shapes, strict=True)]
        missing = sum(int((plane == NOTHING).sum()) for plane in unknown)
        there, total = sum(int((plane == 0).sum()) for plane in unknown), sum(plane.size for plane in unknown)
        return {
            "all": total,
            "there": there,
            "there_in_part": total - there - missing,
            "missing": missing,
            "blocks": total // 64,
            "blocks_missing": sum(int((plane == NOTHING).all(-1).sum()) for plane in unknown),
        }


def pack_symbols(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [M,N,K,64]: the quantised coefficients of a whole file; 0 in blocks that do not exist."""
    return pack([plane.astype(np.int32) for plane in read_coefficients(stream).planes], layout)


def pack_tables(stream: Stream, layout: Layout) -> Tensor:
    """Int32 [1,1,K,64]: the quantisation table of each block of an MCU."""
    tables = torch.from_numpy(stream.component_tables())
    return tables.repeat_interleave(torch.tensor([v * h for v, h in layout.sampling.factors]), 0)[None, None]


def pack(planes: list[npt.NDArray[np.int32]], layout: Layout) -> Tensor:
    """From blocks [R,C,64] of each component to int32 [M,N,K,64], MCU by MCU; 0 in blocks that do not exist."""
    (m, n), packed = layout.grid, []
    for number, ((v, h), plane) in enumerate(zip(layout.sampling.factors, planes, strict=True)):
        rows, columns = layout.component_shape(number)
        whole = np.zeros((m * v, n * h, 64), np.int32)
        whole[:rows, :columns] = plane[:rows, :columns]
        packed.append(torch.from_numpy(whole).reshape(m, v, n, h, 64).transpose(1, 2).flatten(2, 3))
    return torch.cat(packed, 2)
