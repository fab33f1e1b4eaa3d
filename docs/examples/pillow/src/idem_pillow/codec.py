"""A codec of which nothing is known but what it does: image to bytes, bytes to image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from idemcore.errors import BitstreamError
from idemcore.io.images import to_bytes, to_float
from idemcore.protocols import Cell, Encoder
from idemcore.runtime import Runtime

from .plugin import FORMATS, PillowConfig

ROUNDS = 40
"""Most repetitions of `snap`."""


class PillowCodec(Encoder):
    """A lossy format that Pillow writes and reads."""

    def __init__(self, config: PillowConfig, runtime: Runtime) -> None:
        self.config, self.device, self.model_id = config, runtime.device, config.model_id
        own: dict[str, Any] = {"quality": config.quality, "max_threads": 1}  # several could write other bytes
        psnr: dict[str, Any] = {"quality_mode": "dB", "quality_layers": [config.quality], "irreversible": True}
        self.options = psnr if config.format == "jp2" else own

    def encode(self, image: Tensor) -> list[bytes]:
        return [self._write(one.permute(1, 2, 0).cpu().numpy()) for one in to_bytes(image)]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """The streams hold their sizes; `size` must agree where it is given."""
        return torch.stack([self._read(stream, size) for stream in streams]).to(self.device)

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> PillowCell:
        return PillowCell(self, list(streams), self.decode(streams, size))

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        return {"format": self.config.format, "quality": self.config.quality}

    def _write(self, pixels: np.ndarray[Any, Any]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, FORMATS[self.config.format], **self.options)
        return buffer.getvalue()

    def _read(self, stream: bytes, size: tuple[int, int] | None) -> Tensor:
        try:
            image = Image.open(io.BytesIO(stream), formats=[FORMATS[self.config.format]])
            if size not in (None, image.size[::-1]):
                raise ValueError(f"it holds an image of {image.width}x{image.height}")
            pixels = np.array(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise BitstreamError(f"The stream cannot be read: {error}.", "Encode the image again.") from error
        return to_float(torch.from_numpy(pixels).permute(2, 0, 1))


class PillowCell(Cell):
    """All images that the library writes as the same bytes; neither box nor gradient is known of it."""

    def __init__(self, codec: PillowCodec, streams: list[bytes], centre: Tensor) -> None:
        self.codec, self.streams, self.centre = codec, streams, centre
        # What the codec lost of the original is not known. What it loses of its own decode is, and is less.
        lost = (self.measure(centre) - centre).square().flatten(1).mean(dim=1).sqrt()
        self.distortion = (2 * lost).clamp(min=2 / 255)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Symbols cannot be seen: samples of g(f(x)) and g(y) that differ, at least 1 where bytes do."""
        streams = self.codec.encode(to_float(byte_image))
        differing = (self.codec.decode(streams) != self.centre).flatten(1).sum(dim=1)
        same = torch.tensor([a == b for a, b in zip(streams, self.streams, strict=True)], device=differing.device)
        return torch.where(same, 0, differing.clamp(min=1))

    def measure(self, x: Tensor) -> Tensor:
        return self.codec.decode(self.codec.encode(x))

    def snap(self, x: Tensor) -> Tensor:
        """Steps of half of g(y) - g(f(x)) while bytes differ; of all images, that of fewest `differing_symbols`."""
        best, least, rounds = to_bytes(x), self.differing_symbols(to_bytes(x)), 0
        while least.any() and (rounds := rounds + 1) <= ROUNDS:
            x = (x + (self.centre - self.measure(x)) / 2).clamp(0, 1)
            found = self.differing_symbols(to_bytes(x))
            best = torch.where((found < least)[:, None, None, None], to_bytes(x), best)
            least = torch.minimum(found, least)
        return best
