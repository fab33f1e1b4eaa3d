"""Settings of the prior. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PriorConfig:
    """`--set generator.KEY=VALUE`. The comment behind a setting is its help."""

    contrast: float = 0.2  # standard deviation of a pixel, in [0,1] units
    exponent: float = 2.0  # power falls as 1 / frequency^exponent; 2 is natural images, 0 is white noise
    longest: float = 64.0  # pixels; beyond this wavelength the power does not grow any more

    def __post_init__(self) -> None:
        if min(self.contrast, self.longest) <= 0:
            raise ValueError("contrast and longest must be more than 0")
