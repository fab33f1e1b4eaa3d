"""Unconditional samples of a generator: image i of a seed is the same, whatever is drawn beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch
from torch import Tensor

from ..adapters.flow import Denoise, check_knows_pure_noise, flow, flow_levels
from ..errors import UsageError
from ..hookspecs import GeneratorSpec
from ..io.images import to_bytes
from ..noise import Noise, image_seed
from ..plugins.selection import Part
from ..protocols import Callback, DiffusionGenerator, Generator, LatentGenerator, Step
from ..results.samples_report import SamplesReport
from .faults import check_prior

SIZE = (128, 128)
"""(H, W) of samples of a generator that makes any size."""
STEPS = 50
"""Passes after which samples of a Gaussian spread as they should to 1 %, unless it is as narrow as the least level."""
BATCH_PIXELS = 1 << 18
"""Of a batch, unless it is told: 64 images of 64x64, 4 of 256x256, and never fewer than one."""
GAP = 2
"""White pixels between the images of a grid."""


@dataclass(frozen=True)
class Sampler:
    """What draws images from a generator."""

    generator: Generator
    size: tuple[int, int]
    """(H, W); `fitting_size` gives one that the generator can make."""
    steps: int = STEPS
    """Denoiser passes an image, at least 2. Latent generators take one pass."""
    eta: float = 0.0
    """In [0,1]: 0 is the deterministic flow of a diffusion, 1 adds as much new noise as DDPM's ancestral sampling."""
    device: torch.device | str = "cpu"
    part: Part[GeneratorSpec] | None = None
    """What the generator was built from, for errors."""

    def __post_init__(self) -> None:
        if self.steps < 2 or not 0 <= self.eta <= 1:
            raise ValueError(f"expected at least 2 steps and eta in [0,1], not {self.steps} and {self.eta}")

    def samples(
        self, seed: int, count: int, batch: int | None = None, callback: Callback | None = None
    ) -> Iterator[Tensor]:
        """Byte images 0 to count - 1, in batches [b,3,H,W]; `callback` is told each pass, counted over all of them."""
        batch = batch or max(1, BATCH_PIXELS // math.prod(self.size))
        starts = range(0, count, batch)
        for number, start in enumerate(starts):

            def tell(step: Step, number: int = number) -> None:
                if callback:
                    callback(replace(step, index=number * step.total + step.index, total=len(starts) * step.total))

            noise = Noise([image_seed(seed, index) for index in range(start, min(start + batch, count))])
            yield self._bytes(noise, tell)

    def _bytes(self, noise: Noise, callback: Callback) -> Tensor:
        try:
            return to_bytes(self.draw(noise, callback))
        except Exception:
            check_prior(self.generator, self.part, torch.full((1, 3, *self.size), 0.5, device=self.device))
            raise

    @torch.no_grad()
    def draw(self, noise: Noise, callback: Callback | None = None) -> Tensor:
        """[B,3,H,W] in [0,1], one image a stream of `noise`."""
        if isinstance(self.generator, LatentGenerator):
            image = self.generator.synthesize(self.generator.sample(noise)).clamp(0, 1)
            if callback:
                callback(Step(0, 1, 0.0, image, 0.0, 1))
            return image
        return self._diffuse(cast(DiffusionGenerator, self.generator), noise, callback).clamp(0, 1)

    def _diffuse(self, generator: DiffusionGenerator, noise: Noise, callback: Callback | None) -> Tensor:
        """From the largest noise level to the least, whose noise a last pass removes."""
        check_knows_pure_noise(generator)
        levels = flow_levels(self.steps - 1, generator.sigma_max, generator.sigma_min)
        x = 0.5 + noise.normal(3, *self.size, device=self.device) * math.hypot(levels[0], 0.5)
        image = None
        for i, sigma in enumerate(levels):
            if i + 1 < self.steps:
                x, image = descend(generator.denoise, x, levels, i, self.eta, noise, image)
            else:
                image = generator.denoise(x, sigma)
            if callback:
                callback(Step(i, self.steps, sigma, image, 0.0, i + 1))
        return cast(Tensor, image)


def descend(
    denoise: Denoise, x: Tensor, levels: list[float], i: int, eta: float, noise: Noise, earlier: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From levels[i] to the next by SDE-DPM-Solver++ 2M (Lu et al. 2022), whose noise grows with eta from none to all.

    It is the flow's own step in a time, -log sigma, stretched by 1 + eta, and then noise up to the level. Gives x and
    the denoised image, which is `earlier` in the next step.
    """
    sigma, lower = levels[i], levels[i + 1]
    before, below = (sigma * (level / sigma) ** (1 + eta) for level in (levels[max(i - 1, 0)], lower))
    x, denoised = flow(denoise, x, [before, sigma, below], "dpm++", 1, 2, earlier)
    if eta:
        x = x + math.sqrt(lower**2 - below**2) * noise.like(x)
    return x, denoised


def fitting_size(generator: Generator, name: str, wanted: tuple[int, int] | None = None) -> tuple[int, int]:
    """`wanted` (H, W), or what the generator called `name` makes. Raises UsageError if it makes another size only."""
    made = generator.size
    if made and wanted and made != wanted:
        known, other = (f"{width}x{height}" for height, width in (made, wanted))
        raise UsageError(
            f"Generator '{name}' makes images of {known} pixels only, not of {other}.",
            f"Leave --size out, or type --size {known}.",
        )
    return wanted or made or SIZE


def samples_report(part: Part[GeneratorSpec], sampler: Sampler, seed: int, count: int, seconds: float) -> SamplesReport:
    """Reports on what a sampler drew; `part` is its generator, before it was built."""
    diffusion = sampler.generator.family == "diffusion"
    return SamplesReport(
        generator=part.spec.name,
        plugin=part.distribution,
        settings=asdict(part.config),
        seed=seed,
        count=count,
        size=(sampler.size[1], sampler.size[0]),
        steps=sampler.steps if diffusion else None,
        eta=sampler.eta if diffusion else None,
        seconds=seconds,
    )


def columns_of(count: int, columns: int | None) -> int:
    """Of a grid of so many images: as square as can be if `columns` is not given."""
    return min(columns or math.ceil(math.sqrt(count)), count)


def grid_size(count: int, size: Sequence[int], columns: int | None = None) -> tuple[int, int]:
    """(H, W) of `grid`, of images of (H, W)."""
    columns = columns_of(count, columns)
    height, width = (side + GAP for side in size)
    return math.ceil(count / columns) * height - GAP, columns * width - GAP


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Byte images [B,3,H,W] as one, [3,h,w], row by row, as square as can be if `columns` is not given."""
    columns = columns_of(len(images), columns)
    height, width = (side + GAP for side in images.shape[-2:])
    page = images.new_full((3, *grid_size(len(images), images.shape[-2:], columns)), 255)
    for index, image in enumerate(images):
        top, left = index // columns * height, index % columns * width
        page[:, top : top + height - GAP, left : left + width - GAP] = image
    return page
