"""Estimates of an image across a solve, side by side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..io.images import to_bytes, to_float
from ..io.limits import max_pixels
from ..protocols import Step

FRAMES = 8
GAP = 4
"""White pixels between frames."""


class FilmStrip:
    """A callback for `solve` that keeps `count` of its estimates x0, evenly spread from the first step to the last.

    If the solver stops before its last step, the estimate of the step where it did is kept as well. No more than
    `count` of them are ever held, as bytes on the CPU.
    """

    def __init__(self, count: int = FRAMES) -> None:
        """`count` is at least 2."""
        self.count = count
        self.frames: dict[int, Tensor] = {}
        """uint8 [B,3,H,W] by the step's index."""

    def __call__(self, step: Step) -> None:
        wanted = spread(step.total, self.count)
        self.frames = {index: frame for index, frame in self.frames.items() if index in wanted}
        self.frames[step.index] = to_bytes(step.x0.detach()).cpu()

    def image(self) -> Tensor:
        """uint8 [1,3,h,w]: a column a frame, a row an image of the batch. It needs at least one step.

        In full size, or smaller where that would be more pixels than idem reads.
        """
        frames = [self.frames[index] for index in sorted(self.frames)]
        count, height, width = len(frames) * len(frames[0]), *frames[0].shape[-2:]
        share = math.sqrt(max_pixels() / (count * (height + GAP) * (width + GAP)))
        if share < 1:
            size = tuple(max(1, int(share * side) - GAP) for side in (height, width))
            frames = [to_bytes(F.interpolate(to_float(frame), size, mode="area")) for frame in frames]
        rows = [torch.cat([_bordered(frame[b]) for frame in frames], dim=2) for b in range(len(frames[0]))]
        return torch.cat(rows, dim=1)[None, :, :-GAP, :-GAP]


def spread(total: int, count: int) -> set[int]:
    """Up to `count` indices of 0..total-1, evenly spread, both ends among them."""
    return {round(i * (total - 1) / (count - 1)) for i in range(count)}


def _bordered(frame: Tensor) -> Tensor:
    """[3,H,W] with the gap to its right and below it."""
    return F.pad(frame, (0, GAP, 0, GAP), value=255)
