"""JPEG as an Encoder: libjpeg-turbo both ways, and the cell of any file it can read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idemcore.errors import BitstreamError
from idemcore.io.exif import Metadata
from idemcore.io.images import to_bytes
from idemcore.protocols import Encoder
from idemcore.runtime import Runtime

from .cell import JpegCell, encoded_symbols
from .config import JpegConfig
from .entropy import read_coefficients
from .estimate import Estimator
from .files import decode_image, encode_image, encode_like, quality_of, writable, written_here
from .layout import Layout
from .stream import APP1, APP2, PROGRESSIVE, Stream, parse
from .writer import write


class JpegEncoder(Encoder):
    """Ordinary .jpg files. `config` matters to `encode`, and to the estimate: the rest is read from the file."""

    def __init__(self, config: JpegConfig, runtime: Runtime) -> None:
        config.validate()
        self.config, self.device = config, runtime.device
        self.estimator = None if config.estimate == "none" else Estimator(config.estimate, runtime)

    def encode(self, image: Tensor) -> list[bytes]:
        """[B,3,H,W] in [0,1], rounded to 8 bits -> a JPEG file each."""
        settings = self.config
        options = {"quality": settings.quality, "subsampling": settings.subsampling, "optimize": settings.optimize}
        return [encode_image(one, **options) for one in to_bytes(image)]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """libjpeg's decode, [B,3,H,W]. `size`, if given, must be that of the files."""
        readings = [Reading.of(data, self.config.salvage) for data in streams]
        for layout in (reading.layout for reading in readings):
            if size is not None and size != (layout.height, layout.width):
                raise BitstreamError(f"The JPEG is {layout.width}x{layout.height}, not {size[1]}x{size[0]} pixels.")
        return torch.cat([reading.decoded() for reading in readings]).to(self.device)

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        """Coding, quality (if the file has libjpeg's standard tables), subsampling, and what makes an image exact."""
        return self._facts(stream, None)

    def metadata(self, stream: bytes) -> Metadata:
        """EXIF and colour profile; a profile that lacks a part is left out."""
        found = parse(stream)
        exif = next(iter(found.payloads(APP1, b"Exif\0")), b"")[1:]
        return Metadata(exif, _profile(found))

    def rewrite(self, stream: bytes, byte_image: Tensor) -> bytes:
        """The file that `byte_image` gives with the tables, sampling and metadata of another."""
        found = parse(stream)
        rewritten = encode_like(found, byte_image[0])
        if rewritten is not None and written_here(found):
            return rewritten
        layout = Layout(found.height, found.width, found.sampling)
        symbols = encoded_symbols(found, byte_image[0].cpu(), layout, rewritten)
        return write(found, symbols.numpy(), layout)

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> JpegCell:
        """The quantisation cells of JPEG files of one size and subsampling."""
        return JpegCell(streams, self.device, estimator=self.estimator)


def _profile(stream: Stream) -> bytes:
    """Put together from its numbered parts."""
    parts = {body[0]: body[2:] for body in stream.payloads(APP2, b"ICC_PROFILE\0") if len(body) > 2}
    total = {body[1] for body in stream.payloads(APP2, b"ICC_PROFILE\0") if len(body) > 2}
    complete = total == {len(parts)} and sorted(parts) == list(range(1, len(parts) + 1))
    return b"".join(parts[number] for number in sorted(parts)) if complete else b""
