"""Settings of the hyperprior codec. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.learned.config import LearnedConfig


@dataclass
class HyperpriorConfig(LearnedConfig):
    """Settings of `hyperprior`."""

    weights: str = "bundled"  # `bundled` (1-4), `bmshj2018-hyperprior` or `mbt2018-mean` (1-8), or a folder
