"""What is restored first."""

from __future__ import annotations

from torch import Tensor

from idemcore.protocols import Constraint


def start_of(cell: Constraint, start_at: str) -> tuple[Tensor, Tensor]:
    """The image [B,3,H,W] that a solver restores first, and the rms error [B] expected of it; see `config.STARTS`."""
    if start_at == "centre":
        return cell.centre, cell.distortion
    return cell.estimate, cell.estimate_error
