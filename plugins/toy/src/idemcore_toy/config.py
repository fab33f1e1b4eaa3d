"""Settings of the toy codec and prior, and the names of its bitstreams. Light: imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STEPS = {1: 64, 2: 48, 3: 32, 4: 24, 5: 16, 6: 8, 7: 4, 8: 2}
"""Quantiser step of each quality, in 8-bit levels."""


@dataclass
class ToyCodecConfig:
    """Settings of the codec `toy`."""

    quality: int = 4  # 1 (step of 64 levels) to 8 (step of 2 levels)


@dataclass
class ToyPriorConfig:
    """Settings of the priors `toy` and `toy-restorer`: which Gaussian mixture."""

    components: int = 5  # Gaussians of the mixture, at least 1
    seed: int = 0  # draws their weights, means and standard deviations


def model_id(quality: int) -> bytes:
    """4 bytes that name the codec, its version and its step in an `.idem` header."""
    return hashlib.sha256(f"idemcore-toy uniform-quantiser 1 step={STEPS[quality]}".encode()).digest()[:4]


def identify(model_id_: bytes, settings: Mapping[str, Any]) -> dict[str, int] | None:
    """The config overrides that decode a stream with this model id; None if it is not one of ours."""
    return next(({"quality": quality} for quality in STEPS if model_id(quality) == model_id_), None)
