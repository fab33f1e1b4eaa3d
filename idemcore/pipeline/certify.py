"""From a solver's image to an 8-bit image whose re-encoding was compared with the bitstream, byte for byte."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import Unsupported
from ..io.images import to_bytes
from ..protocols import Cell

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Quantiser steps inside the cell that `search_by_projection` tries in turn: rounding to 8 bits needs some room."""
FAR = 30.0
"""dB PSNR: certification that moves an image by less is worth a warning."""
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

    def concern(self) -> str:
        """What a user should know before relying on the images, as one sentence or two; empty if there is nothing."""
        missed = [count for count in self.differing_symbols if count]
        if missed:
            return (
                f"certification found no exact image: {max(missed)} symbols differ when the nearest one is encoded "
                "again. Another seed or solver may find one."
            )
        if (least := min(self.psnr_moved)) < FAR:
            return (
                f"certifying changed the image visibly: PSNR {least:.1f} dB between before and after. More steps, or "
                "another solver, come nearer; if none does, the codec's `project` is wrong."
            )
        return ""

    def single(self) -> list[Certified]:
        """Each image for itself."""
        fields = zip(self.image.split(1), self.exact, self.differing_symbols, self.psnr_moved, strict=True)
        return [Certified(image, [exact], [symbols], [moved]) for image, exact, symbols, moved in fields]


def certify(cell: Cell, image: Tensor) -> Certified:
    """Moves `image` [B,3,H,W] into the cell, as little as the codec's `snap` can, and asks the real encoder.

    An image that is in the cell already stays as it is. Where `snap` finds nothing that is inside, the attempt with the
    fewest differing symbols is kept.
    """
    attempts = Attempts(cell, image)
    attempts.search()
    moved = [psnr(a, b) for a, b in zip(attempts.first, attempts.best, strict=True)]
    return Certified(attempts.best, attempts.exact, attempts.differing, moved)


class Attempts:
    """The best byte image for each cell among those that were offered: one that is inside, or else the nearest miss."""

    def __init__(self, cell: Cell, image: Tensor) -> None:
        """The first is `image` [B,3,H,W] itself, rounded to 8 bits."""
        self.cell, self.image, self.first = cell, image, to_bytes(image)
        self.best, self.differing = self.first, self._count(self.first)

    @property
    def exact(self) -> list[bool]:
        return [count == 0 for count in self.differing]

    @property
    def done(self) -> bool:
        """All are inside."""
        return all(self.exact)

    @torch.no_grad()
    def search(self) -> None:
        """Where an image is not inside yet, the codec's own search is tried, or else `search_by_projection`."""
        if self.done:
            return
        try:
            self.offer(self.cell.snap(self.image))
        except Unsupported:
            self.search_by_projection()

    @torch.no_grad()
    def search_by_projection(self) -> None:
        """Tries rounded projections of growing margin, of the image and then of g(y), until the encoder agrees.

        g(y) is what is nearest to the cell without knowing the codec.
        """
        for start in (self.image, self.cell.centre):
            for margin in (m for m in MARGINS if m <= self.cell.margin_limit):
                if self.done:
                    return
                try:
                    self.offer(to_bytes(self.cell.project(start, margin)))
                except Unsupported:
                    self.offer(to_bytes(start))
                    break

    def offer(self, byte_image: Tensor) -> None:
        """Takes each image [B,3,H,W] that has fewer differing symbols than the best so far."""
        counts = self._count(byte_image)
        better = [new < old for new, old in zip(counts, self.differing, strict=True)]
        chosen = torch.tensor(better, device=self.best.device)[:, None, None, None]
        self.best = torch.where(chosen, byte_image.to(self.best.device), self.best)
        self.differing = [min(pair) for pair in zip(counts, self.differing, strict=True)]

    @torch.no_grad()
    def _count(self, byte_image: Tensor) -> list[int]:
        """Differing symbols: 0 where the real encoder gives the real bytes, 1 at least elsewhere.

        The real encoder is asked only where no symbol differs: writing the bytes may take longer than all else.
        """
        counts = [int(count) for count in self.cell.differing_symbols(byte_image)]
        if all(counts):
            return counts
        inside = self.cell.contains(byte_image).tolist()
        return [0 if same and not count else max(count, 1) for same, count in zip(inside, counts, strict=True)]


def snap(cell: Cell, x: Tensor) -> Tensor:
    """A byte image near x meant to lie in the cell: by the codec's own search, or else by projections of x."""
    try:
        return cell.snap(x)
    except Unsupported:
        attempts = Attempts(cell, x)
        attempts.search_by_projection()
        return attempts.best


def psnr(a: Tensor, b: Tensor) -> float:
    """dB between two byte images of one shape, on whatever devices; infinite if they are equal."""
    # Sums of squares of bytes are whole numbers, so parts of an image, which need less memory, give the same.
    parts = zip(a.flatten().split(PART), b.flatten().split(PART), strict=True)
    squares = sum(int((x.short() - y.to(x.device).short()).int().square().sum()) for x, y in parts)
    return math.inf if squares == 0 else 10 * math.log10(255**2 * a.numel() / squares)
