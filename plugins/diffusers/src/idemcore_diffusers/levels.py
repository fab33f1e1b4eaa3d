"""How much noise a latent gets before its one step, by the kind of a pipeline's training.

Each kind writes a noisy latent as `signal z + noise n`, where noise / signal is the level s, and names its time to the
pipeline in its own way.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Moment:
    """One time of a training."""

    signal: float
    noise: float
    named: dict[str, Any]
    """What the pipeline's call is given, so that its one step begins here and ends without noise."""


class Levels(ABC):
    """The times of a training."""

    @abstractmethod
    def nearest(self, level: float) -> Moment:
        """The time whose level is nearest; levels out of reach are clamped."""


@dataclass(frozen=True)
class Discrete(Levels):
    """DDPM: signal^2 = abar_t, noise^2 = 1 - abar_t at t = 0..T-1 (Ho et al. 2020)."""

    abar: Tensor
    """Float64 [T], descending."""

    def nearest(self, level: float) -> Moment:
        """In the ratio of levels. Never t = 0, at which a consistency model gives back its input."""
        levels = ((1 - self.abar) / self.abar).sqrt().log()
        t = max(1, int((levels - math.log(max(level, 1e-6))).abs().argmin()))
        abar = float(self.abar[t])
        return Moment(abar**0.5, (1 - abar) ** 0.5, {"timesteps": [t]})


@dataclass(frozen=True)
class Flow(Levels):
    """Flow matching: signal = 1 - t, noise = t (Lipman et al., ICLR 2023; Liu et al., ICLR 2023)."""

    def nearest(self, level: float) -> Moment:
        t = min(max(level / (1 + level), 1e-3), 1.0)
        return Moment(1 - t, t, {"sigmas": [t], "num_inference_steps": 1})


@dataclass(frozen=True)
class Trigonometric(Levels):
    """TrigFlow: signal = cos t, noise = sin t (Lu & Song, ICLR 2025), as Sana-Sprint is trained."""

    def nearest(self, level: float) -> Moment:
        t = math.atan(max(level, 1e-3))
        named = {"num_inference_steps": 1, "max_timesteps": t, "intermediate_timesteps": None}
        return Moment(math.cos(t), math.sin(t), named)
