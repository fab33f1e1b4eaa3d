"""The cell of a toy bitstream: an axis-aligned box, so everything about it has a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore.protocols import Cell

if TYPE_CHECKING:
    from .encoder import ToyEncoder


class ToyCell(Cell):
    """{x : lower <= x < upper} for every channel of every pixel, B images at a time."""

    lower: Tensor
    """[B,3,H,W], the lower edges in [0,1] units; up to half an 8-bit level outside [0,1]."""
    upper: Tensor
    """[B,3,H,W], the upper edges."""

    def __init__(self, encoder: ToyEncoder, streams: Sequence[bytes], symbols: Tensor) -> None:
        self.encoder, self.streams, self.symbols = encoder, list(streams), symbols
        self.lower, self.upper = encoder.box(symbols)
        self.centre = encoder.centre(symbols)
        self.step = encoder.step / 255
        self.distortion = torch.full((len(symbols),), self.step / 12**0.5, device=symbols.device)

    def contains(self, byte_image: Tensor) -> Tensor:
        streams = self.encoder.encode(byte_image.float() / 255)
        return torch.tensor([a == b for a, b in zip(streams, self.streams, strict=True)], device=byte_image.device)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        symbols = self.encoder.quantise(byte_image.to(self.symbols.device).float() / 255)
        return (symbols != self.symbols).flatten(1).sum(dim=1)

    def measure(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            decoded = self.encoder.centre(self.encoder.quantise(x))
        return x + (decoded - x).detach()

    def position(self, x: Tensor) -> Tensor:
        """In widths of the interval: the highest is narrower than a step where 256 levels are no multiple of it."""
        return ((x - self.centre) / (self.upper - self.lower)).flatten(1)

    def excess(self, x: Tensor) -> Tensor:
        return ((F.relu(self.lower - x) + F.relu(x - self.upper)) / self.step).flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """The nearest point of the box, shrunk by `margin` steps a side but never beyond its centre, and of [0,1]."""
        lower = torch.minimum(self.lower + margin * self.step, self.centre)
        upper = torch.maximum(self.upper - margin * self.step, self.centre)
        return x.clamp(lower, upper).clamp(0, 1)
