"""Settings of the solvers: `--set solver.KEY=VALUE`. Raises ValueError for values out of range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

CONSTRAINTS = ("image", "latent", "cell")
"""What guidance brings to 0: see `guidance.violation`."""
PROJECTIONS = ("cell", "decode")
"""How `mcg` projects on the data: see `mcg.MCG`."""

AUTO = "auto"
"""As many steps as the cell needs: see `cell.passes_needed`."""
STARTS = ("estimate", "centre")
"""Where a start may be: at the cell's estimate of least error, or at the decode g(y); another is a restorer's name."""


def restorer_of(config: Any) -> str:
    """The generator that restores g(y) before the solver starts, by its `start_at`; "" if none does."""
    return "" if config.start_at in STARTS else str(config.start_at)


@dataclass
class DPSConfig:
    """Diffusion posterior sampling as published for perceptual decoding."""

    steps: int = 1000  # denoiser passes, each also backwards; fewer than the network's timesteps are respaced
    zeta: float = 0.6  # step along the gradient of the unsquared norm, [-1,1] units
    constraint: str = "image"  # norm of: image (g(y) - g(f(x0))), latent (f(x0) - y) or cell (way to the box of y)
    tries: int = 1  # at most; each with fresh noise, and of all the image of best re-compression PSNR is kept
    enough: float = 32.94  # re-compression PSNR, dB, at which there is no other try
    growth: float = 1.5  # zeta grows by this factor with every try

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("zeta", self.zeta, 0.0)
        _one_of("constraint", self.constraint, CONSTRAINTS)
        _within("tries", self.tries, 1)
        _within("enough", self.enough, 0.0)
        _within("growth", self.growth, 0.0)


@dataclass
class MCGConfig:
    """The step of DPS, then data projection."""

    steps: int = 1000  # denoiser passes, each also backwards; fewer than the network's timesteps are respaced
    zeta: float = 0.6  # step along the gradient of the unsquared norm, [-1,1] units
    projection: str = "cell"  # cell (on the codec's cell, as in the MCG paper) or decode (as in Xu et al.'s code)

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("zeta", self.zeta, 0.0)
        _one_of("projection", self.projection, PROJECTIONS)


@dataclass
class DSGConfig:
    """Guidance on the sphere of the noise."""

    steps: int = 100  # denoiser passes; fewer than the network's timesteps are respaced
    guidance_rate: float = 0.1  # from the direction of the noise (0) towards that of the gradient (1)
    interval: int = 1  # every so many steps one is guided, which goes backwards too
    constraint: str = "image"  # norm of: image (g(y) - g(f(x0))), latent (f(x0) - y) or cell (way to the box of y)

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("guidance_rate", self.guidance_rate, 0.0, 1.0)
        _within("interval", self.interval, 1)
        _one_of("constraint", self.constraint, CONSTRAINTS)


@dataclass
class DiffPIRConfig:
    """A proximal step on the estimate, then renoising."""

    steps: int = 100  # denoiser passes; fewer than the network's timesteps are respaced
    lambda_: float = 1.0  # weight of the prior: rho = lambda sigma_n^2 / sigma_t^2
    sigma_n: float = 0.001  # noise of the measurement; a codec has none, for which the published code takes this
    zeta: float = 0.1  # share of fresh noise in renoising, 0..1
    inner_steps: int = 1  # gradient steps towards the proximal point
    schedule: str = "quadratic"  # of the timesteps: quadratic (densest at the end) or uniform
    constraint: str = "image"  # norm of: image (g(y) - g(f(x0))), latent (f(x0) - y) or cell (way to the box of y)

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("lambda_", self.lambda_, 0.0)
        _within("sigma_n", self.sigma_n, 0.0)
        _within("zeta", self.zeta, 0.0, 1.0)
        _within("inner_steps", self.inner_steps, 1)
        _one_of("schedule", self.schedule, ("quadratic", "uniform"))
        _one_of("constraint", self.constraint, CONSTRAINTS)


@dataclass
class MPGDConfig:
    """Guidance of the estimate alone, and DDIM."""

    steps: int = 100  # denoiser passes; fewer than the network's timesteps are respaced
    c: float = 0.5  # step along the gradient of the squared norm: 0.5 would end the violation, were it linear
    eta: float = 0.5  # of DDIM: 0 is deterministic, 1 is ancestral
    constraint: str = "image"  # norm of: image (g(y) - g(f(x0))), latent (f(x0) - y) or cell (way to the box of y)

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("c", self.c, 0.0)
        _within("eta", self.eta, 0.0, 1.0)
        _one_of("constraint", self.constraint, CONSTRAINTS)


@dataclass
class BackprojConfig:
    """Back-projection, for codecs without a gradient."""

    steps: int = 20  # denoiser passes; fewer than the network's timesteps are respaced
    start: int = 300  # timestep of DDPM's 1000 to whose level the start is noised
    eta: float = 1.0  # share of fresh noise: 0 is deterministic
    eta_b: float = 0.4  # share of the back-projected estimate, the rest being the denoiser's own
    start_at: str = "centre"  # noised first: centre (g(y), as published), estimate (least error), or a restorer's name

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("start", self.start, 1, 1000)
        _named("start_at", self.start_at)
        _within("eta", self.eta, 0.0, 1.0)
        _within("eta_b", self.eta_b, 0.0, 1.0)


@dataclass
class DDNMConfig:
    """The null space is the prior's, the range the bitstream's."""

    steps: int = 100  # noise levels; fewer than the network's timesteps are respaced
    eta: float = 0.85  # share of fresh noise: 0 is deterministic, 1 takes all anew
    travel_length: int = 1  # steps that travelling back in time goes back
    travel_repeat: int = 1  # times that each such stretch is gone; 1: no travelling

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("eta", self.eta, 0.0, 1.0)
        _within("travel_length", self.travel_length, 1)
        _within("travel_repeat", self.travel_repeat, 1)


@dataclass
class DAPSConfig:
    """A flow, Langevin dynamics, fresh noise."""

    steps: int = 200  # noise levels, each with a flow and Langevin dynamics
    ode_steps: int = 5  # denoiser passes of a flow
    langevin_steps: int = 100  # passes and gradients of the codec at each level
    sigma_max: float = 100.0  # largest level, [-1,1] units; less where the network knows less
    sigma_min: float = 0.1  # least level, [-1,1] units
    sigma_ode: float = 0.01  # level before the last step of a flow, [-1,1] units
    tau: float = 0.01  # deviation of the measurement, [-1,1] units
    rate: float = 1e-4  # length of a Langevin step at the first level; it falls to a hundredth

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("ode_steps", self.ode_steps, 1)
        _within("langevin_steps", self.langevin_steps, 0)
        for key in ("sigma_max", "sigma_min", "sigma_ode", "tau", "rate"):
            if not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key)}")


@dataclass
class FastConfig:
    """Noise on the decode, and back."""

    steps: int = 10  # denoiser passes: 1 for the least budget, 10 for the middle, 100 with eta=1 for the largest
    level: float = 1.5  # noise on the decode, in multiples of the error that the codec expects of it
    eta: float = 0.0  # share of ancestral noise: 0 is the deterministic flow, 1 the reverse diffusion
    start_at: str = "centre"  # noised first: centre (g(y), as published), estimate (least error), or a restorer's name

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("level", self.level, 0.0)
        _within("eta", self.eta, 0.0, 1.0)
        _named("start_at", self.start_at)


@dataclass
class DCICConfig:
    """Distortion and idempotence, a dial each."""

    steps: int = 100  # denoiser passes; fewer than the network's timesteps are respaced
    k_d: float = 1.0  # dial of the distortion: 0 leaves it out, 1 weighs the base decode by its error
    k_p: float = 1.0  # dial of the idempotence: 0 leaves it out, 1 would end the violation, were the codec linear
    inner_steps: int = 1  # steps of the idempotence at each level
    schedule: str = "quadratic"  # of the timesteps: quadratic (densest at the end) or uniform

    def __post_init__(self) -> None:
        _within("steps", self.steps, 1)
        _within("k_d", self.k_d, 0.0, 1.0)
        _within("k_p", self.k_p, 0.0, 1.0)
        _within("inner_steps", self.inner_steps, 1)
        _one_of("schedule", self.schedule, ("quadratic", "uniform"))


@dataclass
class CellConfig:
    """Project and renoise."""

    steps: int | str = AUTO  # denoiser passes; auto: 2 to 12, as many as the start asks for
    start_at: str = "estimate"  # noised first: estimate (of least error), centre (g(y)), or a restorer's name
    start: float = 0.0  # first noise level, in multiples of the expected rms error there; 0: as prior and steps say
    sigma_min: float = 0.005  # last noise level, [0,1] units
    rho: float = 3.0  # spacing of the levels: even in sigma^(1/rho)
    eta: float | str = AUTO  # share of fresh noise, 0 (the flow) to 1 (reverse diffusion); auto: 0.25 or 1, by start
    sigma_share: float | str = AUTO  # level stated in the first half, to the true one; auto: below 1 near the cell
    jitter: float = 0.15  # variance of what is projected around the estimate, as a share of what is left to know
    relaxation: float = 2.0  # times the way into the cell that estimates go: 1 ends on its faces, 2 reflects there
    margin: float = 0.0  # quantiser steps inside the cell that every projection keeps, 0..0.5

    def __post_init__(self) -> None:
        _number_or_auto("steps", self.steps)
        _named("start_at", self.start_at)
        _within("start", self.start, 0.0)
        _within("rho", self.rho, 1.0)
        if self.eta != AUTO:
            _within("eta", _number("eta", self.eta), 0.0, 1.0)
        if self.sigma_share != AUTO:
            _within("sigma_share", _number("sigma_share", self.sigma_share), 0.1, 2.0)
        _within("jitter", self.jitter, 0.0)
        _within("relaxation", self.relaxation, 1.0, 2.0)
        _within("margin", self.margin, 0.0, 0.5)
        if not self.sigma_min > 0:
            raise ValueError(f"sigma_min must be above 0, not {self.sigma_min}")


def _number(key: str, value: float | str) -> float:
    if isinstance(value, str):
        raise ValueError(f"{key} must be a number, or {AUTO}, not {value!r}")
    return value


def _number_or_auto(key: str, value: int | str) -> None:
    if value != AUTO and (isinstance(value, str) or value < 1):
        raise ValueError(f"{key} must be a whole number of at least 1, or {AUTO}, not {value!r}")


def _named(key: str, value: str) -> None:
    if not value.strip():
        raise ValueError(f"{key} must be one of {', '.join(STARTS)}, or the name of a restorer, not {value!r}")


def _within(key: str, value: float, least: float, most: float = math.inf) -> None:
    if not least <= value <= most:
        bounds = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ValueError(f"{key} must be {bounds}, not {value}")


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key} must be one of {', '.join(choices)}, not {value!r}")
