"""Settings of the codec, and the name that its bitstreams carry. Light: imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STEPS = {1: 96, 2: 64, 3: 48, 4: 32, 5: 24, 6: 16, 7: 8, 8: 4}
"""Quantiser step of each quality, in grey levels."""


@dataclass
class CodecConfig:
    """`--quality Q`, or `--set codec.quality=Q`. The comment behind a setting is its help."""

    quality: int = 4  # 1 (smallest file) to 8 (least error)

    def __post_init__(self) -> None:
        if self.quality not in STEPS:
            raise ValueError(f"quality must be 1 to {len(STEPS)}, not {self.quality}")


def model_id(quality: int) -> bytes:
    """4 bytes for the header of an `.idem` file. Change the 1 whenever the same settings write other bytes."""
    return hashlib.sha256(f"my-plugin 1 step={STEPS[quality]}".encode()).digest()[:4]


def identify(found: bytes, settings: Mapping[str, Any]) -> dict[str, int] | None:
    """The settings that decode a file whose header has this model id; None if it is not one of ours."""
    return next(({"quality": quality} for quality in STEPS if model_id(quality) == found), None)
