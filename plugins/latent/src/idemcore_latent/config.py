"""Settings of the solvers: `--set solver.KEY=VALUE`. Raises ValueError for values out of range.

Distances to a cell have a unit that suits every codec: with `constraint=image` the rms error that the codec expects of
g(y), with `constraint=cell` a quantiser step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

CONSTRAINTS = ("image", "cell")
BALLS = ("l1", "l2")


@dataclass
class SearchConfig:
    """What all of them have."""

    steps: int  # passes of the generator, each backwards too, of one attempt
    stop: float  # near enough: rms distance to the cell
    restarts: int = 0  # further attempts from other latents for images that did not come so near; the best is kept

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        at_least("stop", self.stop, 0.0)
        at_least("restarts", self.restarts, 0)


@dataclass
class DescentConfig(SearchConfig):
    """What solvers that descend have."""

    stop: float = 0.05  # near enough: rms distance to the cell, quantiser steps (cell) or codec's rms errors (image)
    constraint: str = "image"  # image: g(f(x)) = g(y), in pixels; cell: f(x) = y, each symbol within its interval

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("constraint", self.constraint, CONSTRAINTS)


@dataclass
class PulseConfig(DescentConfig):
    """PULSE."""

    steps: int = 100  # passes of the generator, each backwards too, of one attempt
    rate: float = 0.4  # Adam's largest learning rate, for latents of rms 1

    def __post_init__(self) -> None:
        super().__post_init__()
        above("rate", self.rate, 0.0)


@dataclass
class IloConfig(DescentConfig):
    """Intermediate layer optimisation. Lists are by layer, from layer 0 (the latents) on; their last value repeats."""

    steps: int = 150  # passes of the generator, each backwards too, of one attempt, over all layers
    shares: list[float] = field(default_factory=lambda: [2.0, 2.0, 1.0, 1.0])  # of `steps`; as many layers are searched
    rates: list[float] = field(default_factory=lambda: [0.1])  # Adam's largest learning rates, for activations of rms 1
    radii: list[float] = field(default_factory=lambda: [0.1])  # of the balls from layer 1 on, for activations of rms 1
    ball: str = "l1"  # radius is the mean absolute (l1) or the rms (l2) deviation from the layer's first activations

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("ball", self.ball, BALLS)
        for key in ("shares", "rates", "radii"):
            values = getattr(self, key)
            if not values or not all(0 <= value < math.inf for value in values):
                raise ValueError(f"{key} must be numbers from 0 on, one at least, not {values}")
        if self.shares[0] == 0:
            raise ValueError(f"shares must begin above 0, not with {self.shares[0]}: layer 0 finds where to go on from")


@dataclass
class LangevinConfig(SearchConfig):
    """Langevin sampling. A chain runs all its steps: one that stopped where it first came near would be no sample."""

    steps: int = 500  # passes of the generator, each backwards too, of one chain
    stop: float = 0.2  # near enough for no other chain to be run: rms distance to the cell, quantiser steps
    tolerance: float = 0.1  # standard deviation of the cell's soft edge, quantiser steps
    burn_in: float = 0.5  # share of the steps that anneal the tolerance (first half) and learn the step length
    step: float = 0.1  # first step length, 0..2: 2 draws from the prior anew; learnt during burn-in

    def __post_init__(self) -> None:
        super().__post_init__()
        above("tolerance", self.tolerance, 0.0)
        above("step", self.step, 0.0)
        at_least("burn_in", self.burn_in, 0.0)
        for key, most in (("step", 2.0), ("burn_in", 1.0)):
            if getattr(self, key) > most:
                raise ValueError(f"{key} must be at most {most}, not {getattr(self, key)}")


def at_least(key: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{key} must be at least {least}, not {value}")


def above(key: str, value: float, bound: float) -> None:
    if not bound < value < math.inf:
        raise ValueError(f"{key} must be above {bound}, not {value}")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key} must be {' or '.join(choices)}, not {value}")
