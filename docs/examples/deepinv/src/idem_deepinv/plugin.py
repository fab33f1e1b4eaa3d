"""What this plugin provides, and its settings. Light: imports neither torch nor deepinv."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.hookspecs import SolverSpec, hookimpl


@hookimpl
def idem_solvers() -> list[SolverSpec]:
    return [
        SolverSpec(
            name="deepinv-dps",
            api=1,
            target="idem_deepinv.solver:DeepinvDPS",
            summary="diffusion posterior sampling by deepinv: a hundred passes, each backwards too",
            config="idem_deepinv.plugin:DPSConfig",
            needs=frozenset({"diffusion", "diffusion-gradient", "measure", "gradient"}),
        )
    ]


@dataclass
class DPSConfig:
    """Settings of the solver."""

    steps: int = 100  # denoiser passes, each also backwards
    start: float = 0.3  # deepinv's time, 1 (pure noise) to 0, at which the plain decode is noised
    weight: float = 10.0  # of the gradient of ||g(y) - g(f(x0))||
    eta: float = 1.0  # share of fresh noise: 1 is DDPM, 0 is DDIM

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.start <= 1 or not 0 <= self.eta <= 1 or self.weight < 0:
            raise ValueError("steps must be at least 1, start in (0,1], eta in [0,1], and weight at least 0")
