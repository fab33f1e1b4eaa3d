"""From a solver's image to an 8-bit image whose re-encoding was compared with the bitstream, byte for byte."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..io.images import to_bytes
from ..protocols import Cell, Unsupported

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Quantiser steps inside the cell that `snap_by_projection` tries in turn: rounding to 8 bits needs some room."""
PART = 2**22
"""Samples of an image that `psnr` compares at a time."""


@dataclass(frozen=True)
class Certified:
    """Byte images with, for each of them, whether and how nearly they re-encode to their bitstream."""

    image: Tensor
    """uint8 [B,3,H,W]."""
    exact: list[bool]
    """The real encoder gave the real bytes."""
    differing_symbols: list[int]
    """Quantised symbols that differ; 0 if exact."""
    psnr_moved: list[float]
    """dB between the solver's image, rounded to 8 bits, and the certified one; infinite if nothing moved."""

    def single(self) -> list[Certified]:
        """Each image for itself."""
        fields = zip(self.image.split(1), self.exact, self.differing_symbols, self.psnr_moved, strict=True)
        return [Certified(image, [exact], [symbols], [moved]) for image, exact, symbols, moved in fields]


def certify(cell: Cell, image: Tensor) -> Certified:
    """Moves `image` [B,3,H,W] into the cell, as little as the codec's `snap` can, then asks the real encoder."""
    with torch.no_grad():
        snapped = snap(cell, image)
        exact = [bool(e) for e in cell.contains(snapped)]
        differing = [0] * len(exact) if all(exact) else [int(n) for n in cell.differing_symbols(snapped)]
    moved = [psnr(a, b) for a, b in zip(to_bytes(image), snapped, strict=True)]
    return Certified(snapped, exact, differing, moved)


def snap(cell: Cell, x: Tensor) -> Tensor:
    """A byte image near x meant to lie in the cell: by the codec's own search, or else by `snap_by_projection`."""
    try:
        return cell.snap(x)
    except Unsupported:
        return snap_by_projection(cell, x)


def snap_by_projection(cell: Cell, x: Tensor) -> Tensor:
    """For codecs without a search of their own: rounds projections of growing margin, until the real encoder agrees."""
    best = to_bytes(x)
    found = cell.contains(best)
    for margin in (m for m in MARGINS if m <= cell.margin_limit):
        if bool(found.all()):
            break
        attempt = to_bytes(cell.project(x, margin))
        inside = cell.contains(attempt)
        best = torch.where((found | ~inside)[:, None, None, None], best, attempt)
        found = found | inside
    return best


def psnr(a: Tensor, b: Tensor) -> float:
    """dB between two byte images of one shape, on whatever devices; infinite if they are equal."""
    # Sums of squares of bytes are whole numbers, so parts of an image, which need less memory, give the same.
    parts = zip(a.flatten().split(PART), b.flatten().split(PART), strict=True)
    squares = sum(int((x.short() - y.to(x.device).short()).int().square().sum()) for x, y in parts)
    return math.inf if squares == 0 else 10 * math.log10(255**2 * a.numel() / squares)
