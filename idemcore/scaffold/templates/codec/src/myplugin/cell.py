"""The quantisation cell: all images that encode to the same bytes. This is what solvers work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from idemcore.io.images import to_float
from idemcore.protocols import Cell

if TYPE_CHECKING:
    from .codec import BlockCodec

ROUNDS = 4
"""Alternations of `project` between the cell and what 8 bits can hold; they matter where highlights are clipped."""


class BlockCell(Cell):
    """Images whose coefficients, in quantiser steps, lie within half a step of the symbols: a box, turned."""

    def __init__(self, codec: BlockCodec, streams: list[bytes], symbols: Tensor) -> None:
        self.codec, self.streams, self.symbols = codec, streams, symbols
        self.transform = codec.transform(symbols)
        self.centre = codec.render(symbols)
        # The deviation of a uniform error; where most symbols are 0, the true one is less.
        self.distortion = torch.full((len(streams),), codec.step / 12**0.5 / 255, device=codec.device)

    def contains(self, byte_image: Tensor) -> Tensor:
        """The real encoder, the real bytes: nothing else decides whether a result is exact."""
        again = self.codec.encode(to_float(byte_image))
        return torch.tensor([a == b for a, b in zip(again, self.streams, strict=True)], device=byte_image.device)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return (self.codec.quantise(to_float(byte_image)) != self.symbols).flatten(1).sum(dim=1)

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), with the gradient of x itself: rounding has none."""
        with torch.no_grad():
            decoded = self.codec.render(self.codec.quantise(x))
        return x + (decoded - x).detach()

    def position(self, x: Tensor) -> Tensor:
        """Where each coefficient of x lies, in quantiser steps from the symbol; `excess` follows from it."""
        return (self.transform.forward(255 * x) - self.symbols).float().flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """The transform keeps lengths, so the nearest point of the box is found coefficient by coefficient."""
        half = 0.5 - margin
        for _ in range(ROUNDS):
            coefficients = self.transform.forward(255 * x).clamp(self.symbols - half, self.symbols + half)
            x = (self.transform.inverse(coefficients) / 255).float().clamp(0, 1)
        return x
