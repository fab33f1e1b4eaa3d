"""Settings of the solvers. Light: imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

STARTS = ("estimate", "centre")
"""Where a start may be: at the cell's estimate of least error, or at the decode g(y); another is a restorer's name."""


def restorer_of(config: Any) -> str:
    """The generator that restores g(y) before the solver starts, by its `start_at`; "" if none does."""
    return "" if config.start_at in STARTS else str(config.start_at)


@dataclass
class OnceConfig:
    """One restoration."""

    level: float = 1.5  # error that the restorer is to expect, in multiples of the one that the codec expects
    start_at: str = "centre"  # what is restored: centre (the decode g(y)), estimate (of least error) or a restorer
    margin: float = 0.0  # quantiser steps inside the cell that the projection keeps, 0..0.5

    def __post_init__(self) -> None:
        _within("level", self.level, 0.0)
        _named("start_at", self.start_at)
        _within("margin", self.margin, 0.0, 0.5)


@dataclass
class LatinoConfig:
    """Restorations at falling levels, with a projection after each."""

    steps: int = 8  # restorations, each a pass
    start: float = 1.5  # first level, in multiples of the error that the codec expects
    start_at: str = "estimate"  # what is restored first: estimate (of least error), centre (g(y)), or a restorer
    sigma_min: float = 0.01  # last level, [0,1] units
    rho: float = 3.0  # spacing of the levels: even in sigma^(1/rho)
    margin: float = 0.0  # quantiser steps inside the cell that every projection keeps, 0..0.5

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("start", self.start, 0.0)
        _named("start_at", self.start_at)
        _within("rho", self.rho, 1.0)
        _within("margin", self.margin, 0.0, 0.5)
        if not self.sigma_min > 0:
            raise ValueError(f"sigma_min must be above 0, not {self.sigma_min}")


def _named(key: str, value: str) -> None:
    if not value.strip():
        raise ValueError(f"{key} must be one of {', '.join(STARTS)}, or the name of a restorer, not {value!r}")


def _within(key: str, value: float, least: float, most: float = math.inf) -> None:
    if not least <= value <= most:
        bounds = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ValueError(f"{key} must be {bounds}, not {value}")
