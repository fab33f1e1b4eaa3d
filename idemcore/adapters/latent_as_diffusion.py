"""Diffusion solvers on a latent generator: latents have a known denoiser, {z : f(G(z)) = y} replaces the cell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..noise import Noise
from ..protocols import (
    Callback,
    Constraint,
    DiffusionGenerator,
    InversionSolver,
    LatentGenerator,
    Solution,
    Step,
)
from .passes import Passes
from .specs import PullBackConfig

REACH = 4.0
"""Latents of -REACH..REACH stand for 0..1, to which solvers clamp; a normal variable leaves it once in 16,000 draws."""
NEAR = 1e-4
"""`PulledBackCell.project` ends when an image is this near to the cell, rms in [0,1] units: below any rounding."""


class OnLatent(InversionSolver[LatentGenerator]):
    """A diffusion solver on a latent generator: it draws a latent whose image is in the cell, and the image is made."""

    def __init__(self, solver: InversionSolver[Any], config: PullBackConfig) -> None:
        self.solver, self.config = solver, config

    def solve(
        self, cell: Constraint, generator: LatentGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. Passes are those of `generator`; noise levels told are those of the latents."""
        pulled = PulledBackCell(cell, generator, self.config)

        def tell(step: Step) -> None:
            if callback:
                callback(replace(step, x0=pulled.image, nfe=pulled.passes.forwards))

        found = self.solver.solve(pulled, LatentAsDiffusion(), noise, tell if callback else None)
        with torch.no_grad():
            image = pulled.synthesize(found.image).clamp(0, 1)
        return Solution(image, pulled.passes.forwards, pulled.passes.backwards)


class LatentAsDiffusion(DiffusionGenerator):
    """The prior N(0, I) of latents, shown as u = 1/2 + z / (2 REACH), in the range of images: exact at every level.

    E[z0 | z0 + s n = z] = z / (1 + s^2), where s = 2 REACH sigma.
    """

    sigma_min, sigma_max = 1e-3 / (2 * REACH), 100 / (2 * REACH)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """x [B,...] of any shape."""
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.ndim - 1))
        return 0.5 + (x - 0.5) / (1 + (2 * REACH * level) ** 2)


class PulledBackCell(Constraint):
    """{u : f(G(z)) = y}, u = 1/2 + z / (2 REACH) as [B,d,1,1]: the cell as a solver sees it that moves latents.

    u -> z -> G(z) -> measure, position, excess of the image's cell. `measure` still gives images, of which
    `target` is the one wanted. Nothing is known of the latent beforehand: `centre` is the mean of the prior,
    `distortion` its standard deviation. A generator may have no image in the cell; then `project` gives a near one, and
    `certify` ends the way outside of the generator's range.
    """

    def __init__(self, cell: Constraint, generator: LatentGenerator, config: PullBackConfig | None = None) -> None:
        self.cell, self.generator, self.config = cell, generator, config or PullBackConfig()
        count, wanted = len(cell.centre), cell.centre
        self.centre = wanted.new_full((count, math.prod(generator.latent_shape), 1, 1), 0.5)
        self.distortion = wanted.new_full((count,), 1 / (2 * REACH))
        self.margin_limit = cell.margin_limit
        self.passes = Passes()
        self.image = wanted
        """What G gave last [B,3,H,W]; at first the codec's own decode."""

    @property
    def target(self) -> Tensor:
        return self.cell.target

    def synthesize(self, x: Tensor) -> Tensor:
        """G(z) [B,3,H,W] of u [B,d,1,1], not clamped."""
        z = ((x - 0.5) * (2 * REACH)).reshape(len(x), *self.generator.latent_shape)
        image = self.passes(self.generator.synthesize, z)
        self.image = image.detach()
        return image

    def measure(self, x: Tensor) -> Tensor:
        """g(f(G(z))), an image."""
        return self.cell.measure(self.synthesize(x))

    def position(self, x: Tensor) -> Tensor:
        """[B,K] where each symbol of G(z) stands in its interval."""
        return self.cell.position(self.synthesize(x))

    def excess(self, x: Tensor) -> Tensor:
        """[B,K] distance of each symbol of G(z) outside the cell."""
        return self.cell.excess(self.synthesize(x))

    @torch.no_grad()
    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """Near x, a u whose image is in the cell or as near to it as `project_steps` steps come; never farther than x.

        The image P nearest to G(z) in its own cell is the target of a Gauss-Newton step along the gradient J^T (G - P)
        of half the squared distance, by Polyak's length (1969): ||G - P||^2 / ||J^T (G - P)||^2. A step that comes no
        nearer is taken back and tried again at a quarter of its length, image by image.
        """
        best = self._look(x.clamp(0, 1), margin)
        stride = torch.ones_like(best.distance)
        for _ in range(self.config.project_steps):
            far = best.distance > NEAR
            if not far.any():
                break
            tried = self._look((best.x + _wide(stride) * best.step).clamp(0, 1), margin)
            better = far & (tried.distance < best.distance)
            best = best.replaced(tried, better)
            stride = torch.where(better, (2 * stride).clamp(max=1), stride / 4)
        self.image = best.image
        return best.x

    def _look(self, x: Tensor, margin: float) -> _Look:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            image = self.synthesize(x)
            with torch.no_grad():
                outside = image - self.cell.project(image, margin)
            (gradient,) = torch.autograd.grad(image, x, outside)
        squared = outside.square().flatten(1).sum(dim=1)
        length = squared / gradient.square().flatten(1).sum(dim=1).clamp(min=1e-30)
        distance = (squared / outside[0].numel()).sqrt()
        return _Look(x.detach(), image.detach(), distance, -_wide(length) * gradient)


@dataclass(frozen=True)
class _Look:
    """Where a projection stands: u [B,d,1,1], G(z), its rms distance [B] to the cell, and the step to take from u."""

    x: Tensor
    image: Tensor
    distance: Tensor
    step: Tensor

    def replaced(self, other: _Look, where: Tensor) -> _Look:
        """`other`'s images where the mask [B] is true."""
        pairs = ((self.x, other.x), (self.image, other.image), (self.step, other.step))
        x, image, step = (torch.where(_wide(where), new, old) for old, new in pairs)
        return _Look(x, image, torch.where(where, other.distance, self.distance), step)


def _wide(value: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return value[:, None, None, None]
