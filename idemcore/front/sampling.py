"""Images from a prior alone, of a name or of a generator made in Python."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adapters.specs import check_sampling
from ..errors import UsageError
from ..io.images import png_bytes, write_png
from ..pipeline.sample_prior import STEPS, Sampler, fitting_size, grid, samples_report
from ..plugins.catalogue import load_catalogue
from ..plugins.selection import DEFAULT_GENERATOR, part_of
from ..protocols import Callback, Generator
from ..results.samples_report import SamplesReport
from ..runtime import Runtime


@dataclass(frozen=True, repr=False)
class Samples:
    """Images that a prior drew. In a notebook they show themselves, side by side."""

    images: Tensor
    """Uint8 [N,3,H,W]."""
    report: SamplesReport
    """How they were drawn."""

    def grid(self, columns: int | None = None) -> Tensor:
        """Uint8 [3,h,w]: all images row by row, as square as can be if `columns` is not given."""
        return grid(self.images, columns)

    def save(self, path: str | PathLike[str], columns: int | None = None) -> Path:
        """Writes the grid as a PNG. Returns its path."""
        output = Path(path)
        if output.suffix.lower() != ".png":
            raise UsageError(f"{output} is not a name of a PNG.", f"Try {output.with_suffix('.png')}.")
        write_png(self.grid(columns), output)
        return output

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        width, height = self.report.size
        return f"<Samples: {len(self)} of {width}x{height} by {self.report.generator}, seed {self.report.seed}>"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.grid())


def sample(
    generator: str | Generator = DEFAULT_GENERATOR,
    count: int = 16,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
    eta: float | None = None,
    batch: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    callback: Callback | None = None,
) -> Samples:
    """Images of a prior alone, `sample("ddpm-photo", 4).save("grid.png")`: what it takes for natural.

    Image i depends on `seed` and i only. `size` is (H, W), 128x128 by default, where the generator makes any. A
    diffusion takes `steps` passes, at least 2, and `eta` in [0,1] of fresh noise. `settings` are the generator's.
    Raises UsageError, or MissingError for weights that are not here.
    """
    _check(count, steps, eta)
    part = part_of(load_catalogue(), "generator", generator, settings)
    check_sampling(part.spec, {"steps": steps, "eta": eta})
    runtime = Runtime.choose(device, precision)
    built = part.build(runtime)
    made = fitting_size(built, part.spec.name, size)
    sampler = Sampler(built, made, steps or STEPS, eta or 0.0, runtime.device, part)
    begin = time.perf_counter()
    images = torch.cat([drawn.cpu() for drawn in sampler.samples(seed, count, batch, callback)])
    return Samples(images, samples_report(part, sampler, seed, count, time.perf_counter() - begin))


def _check(count: int, steps: int | None, eta: float | None) -> None:
    if count < 1:
        raise UsageError(f"count is {count}.", "Draw at least one image.")
    if steps is not None and steps < 2:
        raise UsageError(f"steps is {steps}.", "A diffusion takes at least 2.")
    if eta is not None and not 0 <= eta <= 1:
        raise UsageError(f"eta is {eta!r}, not a number from 0 to 1.", "0 adds no noise, 1 as much as DDPM.")
