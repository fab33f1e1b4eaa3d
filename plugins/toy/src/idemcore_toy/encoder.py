"""The toy codec: a uniform scalar quantiser of each channel of each pixel."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from idemcore.errors import BitstreamError, UsageError
from idemcore.protocols import Encoder
from idemcore.runtime import Runtime

from .cell import ToyCell
from .config import STEPS, ToyCodecConfig, model_id


class ToyEncoder(Encoder):
    """Every 8-bit level v becomes the symbol floor(v / step); symbols are stored as zlib-compressed bytes.

    image -> 8 bits -> floor(v / step) -> zlib -> stream
                             |
    g(y) <- middle of the levels of a symbol, which is their mean under a flat prior
    """

    def __init__(self, config: ToyCodecConfig, runtime: Runtime) -> None:
        """Raises UsageError for a quality outside 1..8."""
        if config.quality not in STEPS:
            raise UsageError(f"Codec toy has no quality {config.quality}.", "Use 1 (coarse) to 8 (fine).")
        self.device = runtime.device
        self.quality, self.step = config.quality, STEPS[config.quality]
        self.model_id = model_id(config.quality)

    def encode(self, image: Tensor) -> list[bytes]:
        symbols = self.quantise(image).to(torch.uint8).cpu()
        return [zlib.compress(picture.numpy().tobytes(), 9) for picture in symbols]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """`size` is needed: the streams do not hold it."""
        return self.centre(self.symbols(streams, size))

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> ToyCell:
        """`size` is needed: the streams do not hold it."""
        return ToyCell(self, streams, self.symbols(streams, size))

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        return {"quality": self.quality, "step": self.step}

    def quantise(self, image: Tensor) -> Tensor:
        """Integer-valued symbols [B,3,H,W] of an image in [0,1], rounded to 8 bits first."""
        levels = (image.clamp(0, 1) * 255).round()
        return torch.div(levels, self.step, rounding_mode="floor")

    def box(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper edge of each symbol's interval, in [0,1] units, half a level beyond its 8-bit levels."""
        first = symbols * self.step
        return (first - 0.5) / 255, ((first + self.step).clamp(max=256) - 0.5) / 255

    def centre(self, symbols: Tensor) -> Tensor:
        """g: the middle of each symbol's interval."""
        lower, upper = self.box(symbols)
        return (lower + upper) / 2

    def symbols(self, streams: Sequence[bytes], size: tuple[int, int] | None) -> Tensor:
        """The symbols [B,3,H,W] of streams, as float32. Raises BitstreamError on anything but H*W*3 valid symbols."""
        if size is None:
            raise UsageError("A toy stream does not hold the size of its image.", "Give size=(height, width).")
        return torch.stack([self._unpack(stream, size) for stream in streams]).to(self.device, torch.float32)

    def _unpack(self, stream: bytes, size: tuple[int, int]) -> Tensor:
        count = 3 * size[0] * size[1]
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(stream, count + 1)
        except zlib.error as error:
            raise BitstreamError(f"The toy stream is damaged: {error}.", "Encode the image again.") from error
        if len(data) != count or not inflate.eof or inflate.unused_data:
            raise BitstreamError(
                f"The toy stream does not hold exactly the {count} symbols of a {size[1]}x{size[0]} image.",
                "Encode the image again.",
            )
        symbols = torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(3, *size)
        last, found = 255 // self.step, int(symbols.max())
        if found > last:
            raise BitstreamError(
                f"The toy stream holds symbol {found}, but a step of {self.step} levels has none above {last}.",
                "Decode it with the quality it was encoded with.",
            )
        return symbols
