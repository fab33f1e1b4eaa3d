"""MCG: the step of DPS, then data projection."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Callback, Constraint, DiffusionGenerator, InversionSolver, Solution

from .config import MCGConfig
from .dps import guided_step
from .guidance import Guidance, rms, through_denoiser
from .schedules import timestep_levels
from .vp import Timestep, first, noised, report, signed, timesteps, unsigned


class MCG(InversionSolver[DiffusionGenerator]):
    """Manifold constraints: Chung et al., NeurIPS 2022, eq. 14 and 15, for a codec.

    There the measurement is linear, y = P x with an orthogonal projection P, and each step is

        x'      = the step of DPS, guided by ||y - P x0||_2
        x_{t-1} = (I - P) x' + P y_{t-1}                          y_{t-1} ~ q(. | y)

    So the guidance moves only the part that is not measured, and only the measured part is replaced by y with noise.

    projection=cell. The set {x : P x = y} of a codec is the cell, and the orthogonal projection on it is Pi:

        w       = x0 - zeta grad / sqrt(abar_{t-1})               the image in x', without its noise
        x_{t-1} = x' + sqrt(abar_{t-1}) (Pi(w) - w)

    With Pi(x) = (I - P) x + y that is the step above, where the noise of y_{t-1} is the one that x' has: it has the
    same law as fresh noise. The noise itself is never projected, as a codec is a map of images in [0,1].

    projection=decode. The released code of Xu et al., ICLR 2024, with F(x) = g(f(x)) in the place of P:

        x_{t-1} = x' - F(x') + y_t                                y_t ~ q(. | g(y)), at the level above

    It replaces P y_{t-1} by y_t, with noise on the whole image and not on the measured part. Where F is not the
    identity, what F does not see keeps the noise of x' and gets that of y_t on top: its variance doubles in each step.
    """

    def __init__(self, config: MCGConfig) -> None:
        self.config = config

    @torch.no_grad()
    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`."""
        steps = timesteps(timestep_levels(generator, self.config.steps))
        x = first(cell, steps[0], noise)
        for t in steps:
            found = through_denoiser(cell, generator, x, t, "image")
            report(callback, t, x, found.x0, rms(found.missed, "image"), found.gradient)
            x = guided_step(x, found, t, self.config.zeta, noise)
            if self.config.projection == "cell":
                x = x + self._into_cell(cell, found, t)
            else:
                x = x - signed(cell.measure(unsigned(x))) + noised(signed(cell.target), t.abar, noise.like(x))
        return Solution(unsigned(x).clamp(0, 1), nfe=len(steps), backwards=len(steps))

    def _into_cell(self, cell: Constraint, found: Guidance, t: Timestep) -> Tensor:
        """What the projection adds to x' [B,3,H,W], variance preserving."""
        kept = t.below**0.5
        image = unsigned(found.x0 - self.config.zeta * found.gradient / kept)
        return 2 * kept * (cell.project(image) - image)
