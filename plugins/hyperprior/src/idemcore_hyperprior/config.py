"""Settings of the hyperprior codec. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.learned.config import LearnedConfig

PUBLISHED = (
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)
"""Models of CompressAI's zoo, by the names that it and the model cards have for them."""


@dataclass
class HyperpriorConfig(LearnedConfig):
    """Settings of `hyperprior`."""

    weights: str = "bundled"  # `bundled` (1-4), a folder, or one of CompressAI's, see README
