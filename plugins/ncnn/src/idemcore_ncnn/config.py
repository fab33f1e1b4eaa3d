"""Settings of the generator `ncnn`. Light: imports neither torch nor ncnn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class NcnnConfig:
    """Settings of `ncnn`."""

    model: str = "realesrgan-x4plus"  # a name of `idem models`, or a FILE.param whose FILE.bin lies beside it
    shrink: int = 1  # what enlarges sees the image reduced by this: 2 takes a quarter of the time

    def __post_init__(self) -> None:
        if self.shrink not in (1, 2, 4):
            raise ValueError(f"shrink must be 1, 2 or 4, not {self.shrink}")
