"""Settings of the solvers: `--set solver.KEY=VALUE`. Raises ValueError for values out of range."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DPSConfig:
    """Diffusion posterior sampling as published for perceptual decoding."""

    steps: int = 1000  # denoiser passes, each also backwards; fewer than the network's timesteps are respaced
    zeta: float = 0.6  # step along the gradient of the unsquared norm, [-1,1] units

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _at_least("zeta", self.zeta, 0.0)


@dataclass
class CellConfig:
    """Project and renoise."""

    steps: int = 12  # denoiser passes
    start: float = 1.5  # first noise level, in multiples of the rms error that the codec expects of g(y)
    sigma_min: float = 0.005  # last noise level, [0,1] units
    rho: float = 3.0  # spacing of the levels: even in sigma^(1/rho)
    eta: float = 0.5  # share of ancestral noise: 0 is the deterministic flow, 1 the reverse diffusion
    margin: float = 0.0  # quantiser steps inside the cell that every projection keeps, 0..0.5

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _at_least("start", self.start, 0.0)
        _at_least("rho", self.rho, 1.0)
        _at_least("eta", self.eta, 0.0)
        _at_least("margin", self.margin, 0.0)
        if self.sigma_min <= 0:
            raise ValueError(f"sigma_min must be above 0, not {self.sigma_min}")
        for key, most in (("eta", 1.0), ("margin", 0.5)):
            if getattr(self, key) > most:
                raise ValueError(f"{key} must be at most {most}, not {getattr(self, key)}")


def _at_least(key: str, value: float, least: float) -> None:
    if not value >= least:
        raise ValueError(f"{key} must be at least {least}, not {value}")
