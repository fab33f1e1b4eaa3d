"""What `idem sample` drew from a prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import JsonDocument


@dataclass(frozen=True)
class SamplesReport(JsonDocument):
    """`report.json` of `idem sample --separate`; its `--json` prints that with `file` and `folder` beside."""

    generator: str
    """Its name."""
    plugin: str
    """The distribution that provides it."""
    settings: Mapping[str, Any]
    """All of its settings, including defaults."""
    seed: int
    """Seed of the noise."""
    count: int
    """Images that were drawn."""
    size: tuple[int, int]
    """Width and height, pixels."""
    steps: int | None
    """Denoiser passes per image; null if no diffusion draws."""
    eta: float | None
    """Share of fresh noise; null if no diffusion draws."""
    seconds: float
    """Wall time of all images."""
