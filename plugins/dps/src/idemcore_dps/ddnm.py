"""DDNM: what the bitstream says is put into the estimate, what it does not say is left to the prior."""

from __future__ import annotations

from dataclasses import replace

import torch

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import DDNMConfig
from .guidance import rms, violation
from .schedules import timestep_levels
from .vp import estimate, first, noised, predicted_noise, report, timesteps, unsigned


class DDNM(InversionSolver[DiffusionGenerator]):
    """Denoising diffusion null-space model: Wang, Yu, Zhang, ICLR 2023 (arXiv 2212.00490), for any codec.

        x0'     = x0 - A^+ A x0 + A^+ y                           x0 = E[x_0 | x_t], A^+ the pseudo-inverse of A
        x_{t-1} = sqrt(abar_{t-1}) x0' + sqrt(1 - abar_{t-1}) (eta n + sqrt(1 - eta^2) e)

    A codec has f for A and g for A^+, so the first line is x0 - g(f(x0)) + g(y): that of `backproj`, whole. The rest is
    DDNM's own: it starts from pure noise, with 100 steps and eta 0.85, and may travel back in time (its section 3.3):
    after `travel_length` steps the last estimate is noised to where they began, `travel_repeat` times in all. Published
    for linear A; f rounds, so A A^+ A = A holds up to what g clips, and the paper's DDNM+ for noisy y has no part here.
    """

    def __init__(self, config: DDNMConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps, eta = timesteps(timestep_levels(generator, self.config.steps)), self.config.eta
        passes = journey(len(steps), self.config.travel_length, self.config.travel_repeat)
        x = x0 = first(cell, steps[0], noise)
        for index, place in enumerate(passes):
            t = replace(steps[place], index=index, total=len(passes))
            if index and place <= passes[index - 1]:
                x = noised(x0, t.abar, noise.like(x))
            x0, _ = estimate(generator, x, t)
            missed, e = violation(cell, x0, "image"), predicted_noise(x, x0, t)
            report(callback, t, x, x0, rms(missed, "image"))
            x0 = x0 + missed.view_as(x0)
            x = noised(x0, t.below, eta * noise.like(x) + (1 - eta**2) ** 0.5 * e)
        return Solution(unsigned(x).clamp(0, 1), nfe=len(passes))


def journey(total: int, length: int, repeat: int) -> list[int]:
    """The step, 0 the first of `total`, of each pass: from every `length`-th the way to it is gone `repeat` times."""
    left = dict.fromkeys(range(0, total - length, length), repeat - 1)
    passes, t = list[int](), total - 1
    while t >= 0:
        passes.append(total - 1 - t)
        t -= 1
        if left.get(t, 0):
            left[t] -= 1
            t += length
    return passes
