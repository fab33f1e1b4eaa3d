"""Small worlds in which solvers are tried: cells and priors in closed form, that offer what is needed and no more.

A solver that works here knows nothing of a real codec or network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import Unsupported
from ..hookspecs import Spec
from ..noise import Noise
from ..protocols import (
    Callback,
    Cell,
    DiffusionGenerator,
    Generator,
    InversionSolver,
    LatentGenerator,
    RestorerGenerator,
    Solution,
)

STEP = 32 / 255
"""Of the quantiser, in [0,1] units."""
SHAPE = (3, 6, 10)


class BoxCell(Cell):
    """A scalar quantiser of every sample; offers only `offers`."""

    def __init__(self, image: Tensor, offers: frozenset[str]) -> None:
        self.symbols, self.offers = (image / STEP).round(), offers
        self.centre = (self.symbols * STEP).clamp(0, 1)
        self.distortion = torch.full((len(image),), STEP / 12**0.5)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return ((byte_image / 255 / STEP).round() != self.symbols).flatten(1).sum(1)

    def measure(self, x: Tensor) -> Tensor:
        self._asked("measure")
        decoded = self.decoded(x)
        return x + (decoded - x).detach() if "gradient" in self.offers else decoded.detach()

    def decoded(self, x: Tensor) -> Tensor:
        """g(f(x))."""
        return (x / STEP).round() * STEP

    def position(self, x: Tensor) -> Tensor:
        self._asked("position")
        return (x / STEP - self.symbols).flatten(1)

    def excess(self, x: Tensor) -> Tensor:
        self._asked("excess")
        return ((x / STEP - self.symbols).abs() - 0.5).clamp(min=0).flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        self._asked("project")
        half = (0.5 - margin) * STEP
        return x.clamp(self.symbols * STEP - half, self.symbols * STEP + half).clamp(0, 1)

    def _asked(self, capability: str) -> None:
        if capability not in self.offers:
            raise Unsupported(f"the solver's spec does not need '{capability}', so a cell may come without")


class MeanCell(BoxCell):
    """Another codec: it keeps the means of 2x1 pixels, quantised; symbols are half as many as samples."""

    def __init__(self, image: Tensor, offers: frozenset[str]) -> None:
        super().__init__(image, offers)
        self.symbols = (self._means(image) / STEP).round()
        self.centre = self._spread(self.symbols * STEP).clamp(0, 1)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return ((self._means(byte_image / 255) / STEP).round() != self.symbols).flatten(1).sum(1)

    def measure(self, x: Tensor) -> Tensor:
        self._asked("measure")
        means = self._means(x)
        rounded = means + ((means / STEP).round() * STEP - means).detach()
        return self._spread(rounded if "gradient" in self.offers else rounded.detach())

    def position(self, x: Tensor) -> Tensor:
        self._asked("position")
        return (self._means(x) / STEP - self.symbols).flatten(1)

    def excess(self, x: Tensor) -> Tensor:
        self._asked("excess")
        return ((self._means(x) / STEP - self.symbols).abs() - 0.5).clamp(min=0).flatten(1)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        self._asked("project")
        means, half = self._means(x), (0.5 - margin) * STEP
        change = means.clamp(self.symbols * STEP - half, self.symbols * STEP + half) - means
        return (x + self._spread(change)).clamp(0, 1)

    def _means(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, (1, 2))

    def _spread(self, means: Tensor) -> Tensor:
        return means.repeat_interleave(2, -1)


@dataclass
class Passes:
    """Counts passes of a generator forwards and backwards."""

    forwards: int = 0
    backwards: int = 0

    def counted(self, output: Tensor) -> Tensor:
        """One pass forwards gave `output`; the pass backwards that may follow will be counted too."""
        self.forwards += 1
        if output.requires_grad:
            output.register_hook(self._backwards)
        return output

    def _backwards(self, gradient: Tensor) -> None:
        self.backwards += 1


class GaussianPrior(DiffusionGenerator):
    """Samples independent and N(0.45, 0.2^2): E[x0 | x] is a weighted mean."""

    sigma_min, sigma_max = 1e-3, 50.0
    mean, deviation = 0.45, 0.2

    def __init__(self) -> None:
        self.passes = Passes()

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        keep = self.deviation**2 / (self.deviation**2 + level**2)
        return self.passes.counted(self.mean + keep * (x - self.mean))


class ShrinkingRestorer(RestorerGenerator):
    """A draw from `GaussianPrior`, given x with Gaussian noise of the level."""

    def __init__(self) -> None:
        self.passes = Passes()

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        keep = GaussianPrior.deviation**2 / (GaussianPrior.deviation**2 + level**2)
        drawn = GaussianPrior.mean + keep * (x - GaussianPrior.mean) + keep.sqrt() * level * noise.like(x)
        return self.passes.counted(drawn)


class LinearPrior(LatentGenerator):
    """G(z) = 0.45 + A z with latents of 8 numbers, in two layers: A z, and the rest."""

    layers, latent_shape = 2, (8,)
    size = SHAPE[1:]

    def __init__(self) -> None:
        self.passes = Passes()
        count = SHAPE[0] * SHAPE[1] * SHAPE[2]
        self.matrix = 0.08 * torch.randn(count, 8, generator=torch.Generator().manual_seed(0))

    def sample(self, noise: Noise) -> Tensor:
        return noise.normal(*self.latent_shape)

    def synthesize(self, z: Tensor) -> Tensor:
        return self.synthesize_from((z,), 0)

    def advance(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, ...]:
        # Number by number: a matrix product may round differently with the batch size.
        return activations if layer == to else ((self.matrix * activations[0][:, None]).sum(dim=2),)

    def synthesize_from(self, activations: tuple[Tensor, ...], layer: int) -> Tensor:
        (flat,) = self.advance(activations, layer, 1)
        return self.passes.counted(0.45 + flat.reshape(-1, *SHAPE))


@dataclass(frozen=True)
class World:
    """Two or more images with a cell each, and a prior."""

    cell: Callable[[], Cell]
    generator: Callable[[], Generator | None]
    seeds: list[int] = field(default_factory=lambda: [5, 6])


def world_for(spec: Spec, kind: type[BoxCell] = BoxCell, seeds: tuple[int, ...] = (5, 6)) -> World:
    """A cell for each seed and a prior, which offer what the spec needs and no more."""
    needs: frozenset[str] = getattr(spec, "needs", frozenset())
    priors = {"diffusion": GaussianPrior, "diffusion-gradient": GaussianPrior, "latent": LinearPrior,
              "restorer": ShrinkingRestorer}  # fmt: skip
    generator: Any = next((prior for family, prior in priors.items() if family in needs), None)
    scene = _scene(seeds)
    return World(lambda: kind(scene, needs), generator or (lambda: None), list(seeds))


def _scene(seeds: tuple[int, ...]) -> Tensor:
    """[B,*SHAPE]: images that both priors may have drawn."""
    prior = LinearPrior()
    return prior.synthesize(prior.sample(Noise([100 + seed for seed in seeds]))).clamp(0, 1)


def solve(solver: InversionSolver[Any], world: World, callback: Callback | None = None) -> Solution:
    """The solver's answer for a new cell and generator of the world."""
    return solver.solve(world.cell(), world.generator(), Noise(world.seeds), callback)
