"""Images larger than a network should see at once: overlapping windows whose results are blended.

A solver works on the whole image, of which it holds a few float32 planes; only the network's pass is cut, each of them
anew. So noise, projections and certificates know of no tiles, and what one pass blends the next one sees whole, which
leaves no seams (Bar-Tal et al., ICML 2023, "MultiDiffusion"). Along one axis, for two windows:

    |-------- window --------|
                  |-------- window --------|
                   halo ramp halo             each is kept up to the ramp, in which it fades into the next

A network that looks no further than the halo gives the same as without tiles.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import IdemWarning, UsageError
from ..noise import Noise
from ..protocols import DiffusionGenerator, Generator, RestorerGenerator

AUTO = Generator.window
"""Side of a window, in pixels, where neither the user nor the generator asks for another."""
GeneratorT = TypeVar("GeneratorT", bound=Generator)
RAMP = 16
"""Pixels over which free-size windows fade into one another."""


@dataclass(frozen=True)
class Window:
    """Part of an axis, in units of the caller's."""

    start: int
    stop: int
    first: int
    """What is kept of start..stop begins here,"""
    last: int
    """and ends before here."""
    weight: Tensor
    """Float32 [last - first]; over all windows they sum to 1 everywhere."""


def windows(length: int, size: int, halo: int, ramp: int, fixed: bool = False) -> list[Window]:
    """The fewest windows of at most `size` (if `fixed`, of just that) that cover 0..length and overlap enough.

    Two neighbours overlap by 2 halo + ramp at least. Raises ValueError if `size` is too small for that.
    """
    overlap = 2 * halo + ramp
    if length <= size:
        return [Window(0, length, 0, length, torch.ones(length))]
    if size < 2 * overlap or size < 1:
        raise ValueError(f"windows of {size} cannot overlap by {overlap}")
    count = math.ceil((length - overlap) / (size - overlap))
    size = size if fixed else math.ceil((length + (count - 1) * overlap) / count)
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    middles = [(later + start + size) / 2 for start, later in pairwise(starts)]
    rises = [_rise(length, middle, ramp) for middle in middles]
    ends = [torch.ones(length), *rises], [*rises, torch.zeros(length)]
    weights = [rise - fall for rise, fall in zip(*ends, strict=True)]
    return [_window(start, start + size, weight) for start, weight in zip(starts, weights, strict=True)]


def _rise(length: int, middle: float, ramp: int) -> Tensor:
    """[length] from 0 to 1 around `middle`, linear over `ramp`."""
    position = torch.arange(length) + 0.5 - middle
    return (position / max(ramp, 1e-6) + 0.5).clamp(0, 1)


def _window(start: int, stop: int, weight: Tensor) -> Window:
    kept = weight[start:stop].nonzero().flatten()
    first, last = start + int(kept[0]), start + int(kept[-1]) + 1
    return Window(start, stop, first, last, weight[first:last])


def tiled(
    network: Callable[[Tensor], Tensor], x: Tensor, rows: list[Window], columns: list[Window], takes: int = 1,
    gives: int = 1,
) -> Tensor:  # fmt: skip
    """network(x) window by window; x [B,C,H,W] has `takes` pixels a unit of the windows and the result `gives`.

    With one window it is network(x) itself. Where a gradient is wanted, each window is computed again on the way
    backwards, so that memory holds the activations of one.
    """
    if len(rows) == len(columns) == 1:
        return network(x)
    if torch.is_grad_enabled() and x.requires_grad:
        network = partial(checkpoint, network, use_reentrant=False, preserve_rng_state=False)
    whole: Tensor | None = None
    for row in rows:
        for column in columns:
            part = network(x[..., _span(row.start, row.stop, takes), _span(column.start, column.stop, takes)])
            if whole is None:
                whole = part.new_zeros(*part.shape[:-2], rows[-1].stop * gives, columns[-1].stop * gives)
            kept = part[..., _kept(row, gives), _kept(column, gives)]
            weight = row.weight[:, None] * column.weight
            weight = weight.repeat_interleave(gives, 0).repeat_interleave(gives, 1).to(kept)
            whole[..., _span(row.first, row.last, gives), _span(column.first, column.last, gives)] += kept * weight
    assert whole is not None
    return whole


def _span(start: int, stop: int, unit: int) -> slice:
    return slice(start * unit, stop * unit)


def _kept(window: Window, unit: int) -> slice:
    return _span(window.first - window.start, window.last - window.start, unit)


@dataclass(frozen=True)
class Tiling:
    """How a generator sees an image: one window at a time, see the head of this file.

    A generator of one size sees windows of that size, and images that are smaller mirrored at their edges up to it. No
    pixel count of a call is above that of a window.
    """

    generator: Generator
    tile: int
    """Side of a window, in pixels, for a generator of any size."""

    def __call__(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """network(x) [B,C,H,W], window by window. Raises ValueError if `tile` is too small."""
        height, width = x.shape[-2:]
        if self.generator.size is None:
            unit = self.generator.multiple
            rows, columns = (self.windows(length) for length in (height, width))
            if len(rows) == len(columns) == 1:
                return network(x)
            x = mirrored(x, (-(-height // unit) * unit, -(-width // unit) * unit))
            return tiled(network, x, rows, columns, unit, unit)[..., :height, :width]
        x = mirrored(x, self.generator.size)
        rows, columns = (_fixed(length, size) for length, size in zip(x.shape[-2:], self.generator.size, strict=True))
        return tiled(network, x, rows, columns)[..., :height, :width]

    def windows(self, length: int) -> list[Window]:
        """For a generator of any size, those along `length` pixels.

        In units of the network's multiple, so that its grids of lower resolution lie as in the whole image.
        """
        unit = self.generator.multiple
        halo, ramp = (-(-pixels // unit) for pixels in (self.generator.halo, RAMP))
        return windows(-(-length // unit), self.tile // unit, halo, ramp)


class TiledDenoiser(DiffusionGenerator):
    """Another diffusion generator, which sees one window of an image at a time."""

    def __init__(self, generator: DiffusionGenerator, tile: int = AUTO) -> None:
        """`tile`: see `Tiling`."""
        self.generator, self.tiling = generator, Tiling(generator, tile)
        self.multiple, self.sigmas = generator.multiple, generator.sigmas
        self.sigma_min, self.sigma_max = generator.sigma_min, generator.sigma_max
        self.warm_start = generator.warm_start

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.tiling(lambda part: self.generator.denoise(part, sigma), x)

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        def both(part: Tensor) -> Tensor:
            x0, share = self.generator.denoise_and_variance(part, sigma)
            return x0 if share is None else torch.cat([x0, share], dim=1)

        found = self.tiling(both, x)
        return found[:, :3], found[:, 3:] if found.shape[1] > 3 else None


class TiledRestorer(RestorerGenerator):
    """Another restorer, which sees one window of an image at a time."""

    def __init__(self, generator: RestorerGenerator, tile: int = AUTO) -> None:
        """`tile`: see `Tiling`."""
        self.generator, self.tiling, self.multiple = generator, Tiling(generator, tile), generator.multiple

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        return self.tiling(lambda part: self.generator.restore(part, sigma, noise), x)


def _fixed(length: int, size: int) -> list[Window]:
    """A quarter of each window overlaps the next: a network of one size was never shown what lies beyond its edges."""
    return windows(length, size, halo=size // 16, ramp=size // 8, fixed=True)


def mirrored(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,C,H,W] grown at the bottom and right to at least `size`, mirrored as often as that takes."""
    for axis, least in zip((-2, -1), size, strict=True):
        length = x.shape[axis]
        if length < least:
            place = torch.arange(least, device=x.device) % max(2 * length - 2, 1)
            x = x.index_select(axis, torch.minimum(place, 2 * length - 2 - place))
    return x


def least_tile(generator: Generator) -> int:
    """The smallest `tile` for a generator of any size, in pixels."""
    unit = generator.multiple
    halo, ramp = (-(-pixels // unit) for pixels in (generator.halo, RAMP))
    return 2 * (2 * halo + ramp) * unit


def chosen_tile(size: tuple[int, int], tile: int | None, window: int = AUTO) -> int | None:
    """Side of the windows for an image of (H, W), in pixels; None if it is one tile. `tile` is what the user asked for,
    `window` what it is without such a wish.

    Without a wish it follows from the image alone, never from a machine's memory: the same image everywhere.
    """
    height, width = size
    if tile is None:
        return window if height * width > window**2 else None
    return tile if max(size) > tile else None


def fitted(generator: GeneratorT, size: tuple[int, int], tile: int | None = None) -> GeneratorT:
    """A denoiser or restorer for images of (H, W): itself, or in tiles where they are larger or of another size.

    Warns of what tiles mean for a network of one size. Raises UsageError if `tile` is too small.
    """
    if generator.size is not None and generator.size != size:
        _warn(generator.size, size)
        return _in_tiles(generator, AUTO)
    side = None if generator.size else chosen_tile(size, tile, generator.window)
    if side is None:
        return generator
    if side < least_tile(generator):
        least = least_tile(generator)
        raise UsageError(f"Tiles of {side} pixels are too small for this generator.", f"Use --tile {least} or more.")
    return _in_tiles(generator, side)


def _in_tiles(generator: GeneratorT, side: int) -> GeneratorT:
    if isinstance(generator, RestorerGenerator):
        return cast(GeneratorT, TiledRestorer(generator, side))
    assert isinstance(generator, DiffusionGenerator)
    return cast(GeneratorT, TiledDenoiser(generator, side))


def _warn(made: tuple[int, int], wanted: tuple[int, int]) -> None:
    inner, outer = (f"{width}x{height}" for height, width in (made, wanted))
    warnings.warn(
        f"the generator makes images of {inner} pixels; this one of {outer} is made of such tiles, each of which it "
        "takes for a whole image: their content is not planned together, and at other scales than in training it is "
        "less natural",
        IdemWarning,
        stacklevel=3,
    )
