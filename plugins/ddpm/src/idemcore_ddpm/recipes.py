"""What the recipes share."""

from __future__ import annotations

import torch
from torch import Tensor

WARM_UP = 500
"""Steps."""
DECAY = 0.4
"""Last share of a training."""


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear from 0 to `peak` in WARM_UP steps, then constant, then linear to 0 over DECAY; progress 0..1."""
    return peak * min(1.0, (step + 1) / WARM_UP) * min(1.0, max(0.0, (1 - progress) / DECAY))


def grid(images: Tensor, columns: int = 4) -> Tensor:
    """[B,3,H,W] as one picture [1,3,rows*H,columns*W], row by row."""
    rows = [torch.cat(list(images[i : i + columns]), dim=2) for i in range(0, len(images), columns)]
    return torch.cat(rows, dim=1)[None].cpu()
