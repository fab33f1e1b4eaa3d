"""Latent solvers on a diffusion generator: z = x_T, and the probability flow maps it to an image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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
from .flow import check_knows_pure_noise, flow, flow_levels
from .passes import Passes
from .specs import FlowConfig


class OnDiffusion(InversionSolver[DiffusionGenerator]):
    """A latent solver on a diffusion generator. The size of the latents is that of the cell's images."""

    def __init__(self, solver: InversionSolver[Any], config: FlowConfig) -> None:
        self.solver, self.config = solver, config

    def solve(
        self, cell: Constraint, generator: DiffusionGenerator, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """See `InversionSolver.solve`. Passes are those of the denoiser, checkpointing's second ones among them."""
        check_knows_pure_noise(generator)
        height, width = cell.centre.shape[-2:]
        latent = DiffusionAsLatent(generator, (height, width), self.config, cell.centre.device)

        def tell(step: Step) -> None:
            if callback:
                callback(replace(step, nfe=latent.passes.forwards))

        found = self.solver.solve(cell, latent, noise, tell if callback else None)
        return Solution(found.image, latent.passes.forwards, latent.passes.backwards)


class DiffusionAsLatent(LatentGenerator):
    """G(z): the probability flow from x_T, at the largest noise level, down to the least; z is DDPM's x_T.

        x = 1/2 + z sqrt(sigma_max^2 + 1/4)         as z = sqrt(abar) (2 x - 1)
        x <- e + (sigma' / sigma) (x - e)           from each level sigma to the next, e estimating the image

    `kind` chooses e: the denoised image (`ddim`; Song et al., ICLR 2021), that of the mean slope at both ends (`heun`;
    Karras et al. 2022, alg. 1), or the denoised image extrapolated from the last two (`dpm++`: DPM-Solver++ 2M, Lu et
    al. 2022). Levels are even in sigma^(1/7) (Karras et al. 2022, eq. 5). Each step is a layer; its activations are
    DDPM's x_t, of about unit variance, and for `dpm++` the last denoised image.

    Gradients pass through all steps; each denoiser pass is checkpointed, so that memory holds the activations of one.
    """

    def __init__(
        self,
        generator: DiffusionGenerator,
        size: tuple[int, int],
        config: FlowConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """`size` is (H, W) of the images."""
        self.generator, self.size, self.device = generator, size, device
        self.config = config or FlowConfig()
        self.latent_shape = (3, *size)
        self.levels = flow_levels(self.config.steps, generator.sigma_max, generator.sigma_min)
        self.layers = self.config.steps
        self.passes = Passes()

    def sample(self, noise: Noise) -> Tensor:
        """[B,3,H,W], standard normal."""
        return noise.normal(*self.latent_shape, device=self.device)

    def synthesize(self, z: Tensor) -> Tensor:
        """[B,3,H,W] -> [B,3,H,W], not clamped; noise of the generator's least level, which no pass removes, remains."""
        return self.synthesize_from((z,), 0)

    def advance(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, ...]:
        """See `LatentGenerator.advance`: x_t before step `to`, from that before step `layer`."""
        if layer == to:
            return activations
        x, denoised = self._flow(activations, layer, to)
        scaled = (x - 0.5) / self._scale(to)
        return (scaled, denoised) if self.config.kind == "dpm++" else (scaled,)

    def synthesize_from(self, activations: tuple[Tensor, ...], layer: int) -> Tensor:
        """See `LatentGenerator.synthesize_from`."""
        return self._flow(activations, layer, self.layers)[0]

    def _flow(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, Tensor]:
        x, earlier = 0.5 + activations[0] * self._scale(layer), activations[1] if len(activations) > 1 else None
        return flow(self._denoise, x, self.levels, self.config.kind, layer, to, earlier)

    def _scale(self, layer: int) -> float:
        return math.sqrt(self.levels[layer] ** 2 + 0.25)

    def _denoise(self, x: Tensor, sigma: float) -> Tensor:
        if not torch.is_grad_enabled():
            return self.passes(self.generator.denoise, x, sigma)
        # A denoiser draws no random numbers, so no state of them is kept for the second pass.
        return checkpoint(self.passes, self.generator.denoise, x, sigma, use_reentrant=False, preserve_rng_state=False)
