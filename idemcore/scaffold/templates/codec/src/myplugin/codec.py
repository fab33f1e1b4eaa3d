"""The codec f with its decoder g: real bytes, of which everything about the image has to come back.

image -> grey levels -> transform -> round -> LZMA -> stream
g(y)  <- grey levels <- inverse   <- symbols  <-  LZMA <-
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idemcore.errors import BitstreamError, UsageError
from idemcore.io.images import to_bytes
from idemcore.protocols import Encoder
from idemcore.runtime import Runtime

from .cell import BlockCell
from .config import STEPS, CodecConfig, model_id
from .transform import BlockTransform


class BlockCodec(Encoder):
    """Every coefficient of an 8x8 Hadamard transform, rounded to a multiple of the quantiser step."""

    def __init__(self, config: CodecConfig, runtime: Runtime) -> None:
        self.quality, self.step, self.device = config.quality, STEPS[config.quality], runtime.device
        self.model_id = model_id(config.quality)

    def encode(self, image: Tensor) -> list[bytes]:
        symbols = self.quantise(image).to(torch.int16).cpu()
        return [lzma.compress(one.numpy().astype("<i2").tobytes(), lzma.FORMAT_ALONE) for one in symbols]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """`size` is needed: it stands in the header of the `.idem` file, not in the stream."""
        return self.render(self.symbols(streams, size))

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> BlockCell:
        return BlockCell(self, list(streams), self.symbols(streams, size))

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        return {"quality": self.quality, "step": self.step}

    def transform(self, like: Tensor) -> BlockTransform:
        """For images of the size of `like` [...,H,W]."""
        return BlockTransform(like.shape[-2], like.shape[-1], self.step, self.device)

    def quantise(self, image: Tensor) -> Tensor:
        """Symbols [B,3,H,W], whole numbers in float64, of an image in [0,1], which is rounded to 8 bits first."""
        return self.transform(image).forward(to_bytes(image)).round()

    def render(self, symbols: Tensor) -> Tensor:
        """The image in the middle of the cell, float32 [B,3,H,W] in [0,1]."""
        return (self.transform(symbols).inverse(symbols) / 255).float().clamp(0, 1)

    def symbols(self, streams: Sequence[bytes], size: tuple[int, int] | None) -> Tensor:
        """Symbols [B,3,H,W] of the streams. Raises BitstreamError for bytes that are none of ours."""
        if size is None:
            raise UsageError("The size of the image is not in the stream.", "Give size=(height, width).")
        return torch.stack([self._unpack(stream, size) for stream in streams]).to(self.device)

    def _unpack(self, stream: bytes, size: tuple[int, int]) -> Tensor:
        bytes_wanted = 2 * 3 * size[0] * size[1]
        reader = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2**26)
        try:
            data = reader.decompress(stream, bytes_wanted + 1)  # no more, whatever a damaged stream claims
        except lzma.LZMAError as error:
            raise BitstreamError(f"The stream is damaged: {error}.", "Encode the image again.") from error
        if len(data) != bytes_wanted or not reader.eof or reader.unused_data:
            raise BitstreamError(f"The stream holds no image of {size[1]}x{size[0]}.", "Encode the image again.")
        return torch.from_numpy(np.frombuffer(data, "<i2").astype(np.float64)).reshape(3, *size)
