"""Settings of ELIC. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.learned.config import LearnedConfig


@dataclass
class ElicConfig(LearnedConfig):
    """Settings of `elic`."""

    weights: str = "bundled"  # `bundled` (quality 1-4), `chandelier` (published, 0-5), or a folder
