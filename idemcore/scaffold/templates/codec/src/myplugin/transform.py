"""The transform: grey levels to quantiser steps, and back."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 8
_PAIR = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
HADAMARD = torch.kron(torch.kron(_PAIR, _PAIR), _PAIR)
"""[8,8], symmetric, of 1 and -1: whole numbers stay whole, so that every machine finds the same symbols."""


class BlockTransform:
    """Transforms images [B,3,H,W] of any size: rows and columns that fill no block of 8 stay as they are."""

    def __init__(self, height: int, width: int, step: int, device: torch.device) -> None:
        self.matrix = HADAMARD.to(device)
        lengths = [torch.where(torch.arange(side, device=device) < side // BLOCK * BLOCK, BLOCK, 1.0)
                   for side in (height, width)]  # fmt: skip
        self.squared_length = torch.outer(*lengths).double()
        """[H,W], of the pattern that each coefficient stands for."""
        self.steps = 2 * (step * self.squared_length.sqrt() / 2).floor() + 1
        """[H,W] odd, so that no whole number lies on the border between two symbols."""

    def forward(self, levels: Tensor) -> Tensor:
        """Grey levels 0..255 to coefficients in quantiser steps, float64; exact for whole levels."""
        return self._both_ways(levels.double()) / self.steps

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Quantiser steps to grey levels."""
        return self._both_ways(coefficients * self.steps / self.squared_length)

    def _both_ways(self, x: Tensor) -> Tensor:
        return self._along(self._along(x).mT).mT

    def _along(self, x: Tensor) -> Tensor:
        """Each row's blocks times the matrix, which is its own inverse but for a factor."""
        whole = x.shape[-1] // BLOCK * BLOCK
        blocks = x[..., :whole].unflatten(-1, (whole // BLOCK, BLOCK)) @ self.matrix
        return torch.cat([blocks.flatten(-2), x[..., whole:]], dim=-1)
