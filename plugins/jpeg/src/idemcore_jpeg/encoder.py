"""JPEG as an Encoder: libjpeg-turbo both ways, and the cell of any file it can read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idemcore.errors import BitstreamError
from idemcore.imageio import to_bytes
from idemcore.protocols import Encoder
from idemcore.runtime import Runtime

from .cell import JpegCell
from .config import JpegConfig
from .entropy import read_coefficients
from .files import decode_image, encode_image, quality_of, written_here
from .stream import PROGRESSIVE, parse


class JpegEncoder(Encoder):
    """Ordinary .jpg files. `config` matters to `encode` only: `decode` and `cell` read all they need from the file."""

    def __init__(self, config: JpegConfig, runtime: Runtime) -> None:
        config.validate()
        self.config, self.device = config, runtime.device

    def encode(self, image: Tensor) -> list[bytes]:
        """[B,3,H,W] in [0,1], rounded to 8 bits -> a JPEG file each."""
        settings = self.config
        options = {"quality": settings.quality, "subsampling": settings.subsampling, "optimize": settings.optimize}
        return [encode_image(one, **options) for one in to_bytes(image)]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """libjpeg's decode, [B,3,H,W]. `size`, if given, must be that of the files."""
        for data in streams:
            found = parse(data)
            if size is not None and size != (found.height, found.width):
                raise BitstreamError(f"The JPEG is {found.width}x{found.height}, not {size[1]}x{size[0]} pixels.")
            read_coefficients(found)  # libjpeg decodes damaged data without a word
        return torch.cat([decode_image(data) for data in streams]).to(self.device)

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        """Coding, quality (if the file has libjpeg's standard tables), subsampling, and what makes an image exact."""
        found = parse(stream)
        return {
            "coding": "progressive" if found.frame == PROGRESSIVE else "baseline",
            "quality": quality_of(found) or "not libjpeg's tables",
            "subsampling": found.subsampling,
            "compared": "bytes" if written_here(found) else "coefficients and tables",
        }

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> JpegCell:
        """The quantisation cells of JPEG files of one size and subsampling."""
        return JpegCell(streams, self.device)
