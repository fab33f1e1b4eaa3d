"""Settings of the generators. Light: imports neither torch nor spandrel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DenoiserConfig:
    """Settings of `drunet`."""

    model: str = "drunet-color"  # an id of `idem models`, or the file of a DRUNet or FDnCNN: .pth or .safetensors


@dataclass
class RestorerConfig:
    """Settings of `spandrel`."""

    model: str = "fbcnn-color"  # an id of `idem models`, or the file of a network that spandrel knows
    shrink: int = 1  # what enlarges sees the image reduced by this: 2 takes a quarter of the time

    def __post_init__(self) -> None:
        if self.shrink not in (1, 2, 4):
            raise ValueError(f"shrink must be 1, 2 or 4, not {self.shrink}")
