"""What laws are given: the subject's instance, and things to try it on that are made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .guard import Watched, watch
from .law import NotTried, require
from .subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from ..protocols import (
        Cell,
        DiffusionGenerator,
        Encoder,
        Generator,
        InversionSolver,
        LatentGenerator,
        RestorerGenerator,
    )
    from ..results.case import Case

Size = tuple[int, int]
Outputs = Mapping[str, "Tensor"]
"""By the name of what gave them."""

MAIN: Size = (32, 40)
"""(H, W) that most laws are tried on."""
ODD: tuple[Size, ...] = ((1, 1), (7, 5), (17, 35))
"""No multiples of anything."""


@dataclass(frozen=True)
class Trial:
    """A subject and what it is tried on."""

    subject: Subject

    def offers(self, *capabilities: str) -> bool:
        """Does the spec name them all?"""
        return set(capabilities) <= self.subject.capabilities

    @property
    def size(self) -> Size:
        return self.subject.size or MAIN

    @property
    def odd_sizes(self) -> tuple[Size, ...]:
        if self.subject.size:
            raise NotTried(f"it is checked on images of {self.subject.size[1]}x{self.subject.size[0]} only")
        return ODD

    def exercise(self, instance: Any) -> Outputs:
        """What `instance` computes when all that is usual is asked of it: for laws about what that does beside."""
        raise NotImplementedError

    @cached_property
    def outputs(self) -> Outputs:
        """What the shared instance computes."""
        return self.exercise(self.subject.instance)

    @cached_property
    def watched(self) -> Watched:
        """What a new instance computes without a network, after other global seeds, and what it changed."""
        return watch(lambda: self.exercise(self.subject.make()))


@dataclass(frozen=True)
class CodecTrial(Trial):
    """A codec with two pictures, their streams and their cells."""

    @property
    def encoder(self) -> Encoder:
        return self.subject.instance

    @cached_property
    def image(self) -> Tensor:
        """[2,3,H,W] of 8-bit levels."""
        from .pictures import pictures

        return pictures(2, *self.size)

    @cached_property
    def other(self) -> Tensor:
        """[2,3,H,W] of 8-bit levels: other pictures."""
        from .pictures import pictures

        return pictures(2, *self.size, seed=10)

    @cached_property
    def streams(self) -> list[bytes]:
        """The streams of `image`."""
        return self.encode(self.image)

    @cached_property
    def cell(self) -> Cell:
        """The cell of `streams`."""
        import torch

        with torch.no_grad():
            return self.encoder.cell(self.streams, self.size)

    def encode(self, image: Tensor, encoder: Encoder | None = None) -> list[bytes]:
        """The streams of images, after a look at their type and number."""
        import torch

        with torch.no_grad():
            streams = (encoder or self.encoder).encode(image)
        gave, wanted = type(streams).__name__, "a list of bytes, one an image"
        require(isinstance(streams, list), f"encode gave {gave}, not {wanted}")
        kinds = {type(stream).__name__ for stream in streams} - {"bytes"}
        require(not kinds, f"encode gave a list of {' and '.join(sorted(kinds))}, not {wanted}")
        require(len(streams) == len(image), f"encode gave {len(streams)} streams of {len(image)} images")
        return streams

    def decode(self, streams: Sequence[bytes], size: Size, encoder: Encoder | None = None) -> Tensor:
        """g(y)."""
        import torch

        with torch.no_grad():
            return (encoder or self.encoder).decode(streams, size)

    def exercise(self, instance: Any) -> Outputs:
        import torch

        streams = self.encode(self.image, instance)
        cell = instance.cell(streams, self.size)
        found = {
            "the bitstreams": torch.frombuffer(bytearray(b"".join(streams)), dtype=torch.uint8),
            "decode": self.decode(streams, self.size, instance),
            "the cell's centre": cell.centre,
            "the cell's distortion": cell.distortion,
            "the cell's estimate": cell.estimate,
            "contains": cell.contains((self.other * 255).round().to(torch.uint8)),
        }
        for name in ("measure", "position", "excess", "project"):
            if self.offers(name):
                found[name] = getattr(cell, name)(self.other).detach()
        return found


@dataclass(frozen=True)
class GeneratorTrial(Trial):
    """A generator of any family."""

    @property
    def generator(self) -> Generator:
        return self.subject.instance

    @property
    def denoiser(self) -> DiffusionGenerator:
        return self.subject.instance

    @property
    def latent(self) -> LatentGenerator:
        return self.subject.instance

    @property
    def restorer(self) -> RestorerGenerator:
        return self.subject.instance

    @property
    def size(self) -> Size:
        return self.generator.size or self.subject.size or MAIN

    @property
    def odd_sizes(self) -> tuple[Size, ...]:
        if self.generator.size:
            raise NotTried(f"it makes images of {self.generator.size[1]}x{self.generator.size[0]} only")
        return super().odd_sizes

    @cached_property
    def levels(self) -> list[float]:
        """Noise levels from the least to the largest, three between, evenly in log sigma."""
        low, high = self.denoiser.sigma_min, self.denoiser.sigma_max
        return [low * (high / low) ** (i / 4) for i in range(5)]

    @cached_property
    def image(self) -> Tensor:
        """[2,3,H,W]: pictures, which the prior may find unlikely."""
        from .pictures import pictures

        return pictures(2, *self.size)

    @cached_property
    def smooth(self) -> Tensor:
        """[2,3,H,W]: soft gradients of three different colours, without grain or edges."""
        import torch

        height, width = self.size
        x = torch.linspace(-1, 1, width).expand(height, width)
        y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
        planes = [0.55 + 0.2 * x, 0.35 + 0.1 * y, 0.45 - 0.1 * x * y]
        return torch.stack([torch.stack(planes), torch.stack(planes[::-1])])

    @cached_property
    def own(self) -> Tensor:
        """[2,3,H,W]: images that the generator draws, by a few steps of the sampler of `idem sample`."""
        from ..adapters.flow import PURE
        from ..noise import Noise
        from ..pipeline.sample_prior import Sampler

        if self.generator.family == "diffusion" and self.denoiser.sigma_max < PURE:
            raise NotTried("it knows no pure noise, so it draws no images of its own")
        return Sampler(self.generator, self.size, steps=12).draw(Noise([24, 25]))

    def noisy(self, sigma: float, seed: int = 20) -> Tensor:
        """`image` with noise."""
        from ..noise import Noise

        return self.image + sigma * Noise([seed, seed + 1]).like(self.image)

    def exercise(self, instance: Any) -> Outputs:
        from ..noise import Noise

        if instance.family == "diffusion":
            levels = self.levels[::2]
            return {f"denoise at sigma {s:.3g}": instance.denoise(self.noisy(s), s).detach() for s in levels}
        if instance.family == "restorer":
            return {f"restore at sigma {s}": instance.restore(self.noisy(s), s, Noise([1, 2])) for s in (0.02, 0.2)}
        z = instance.sample(Noise([1, 2]))
        return {"sample": z, "synthesize": instance.synthesize(z).detach()}


@dataclass(frozen=True)
class SolverTrial(Trial):
    """A solver with worlds of the kit's own: it never sees a real codec or network."""

    @property
    def solver(self) -> InversionSolver[Any]:
        return self.subject.instance

    def exercise(self, instance: Any) -> Outputs:
        from .worlds import solve, world_for

        return {"solve": solve(instance, world_for(self.subject.spec)).image}


@dataclass(frozen=True)
class MetricTrial(Trial):
    """A metric with cases, from a perfect reconstruction to a bad one."""

    @property
    def metric(self) -> Any:
        return self.subject.instance

    @property
    def size(self) -> Size:
        """Large enough for five scales, by default."""
        return self.subject.size or (176, 176)

    @cached_property
    def cases(self) -> dict[float, Case]:
        return {}

    def case(self, level: float) -> Case:
        """See `cases.case`; made once."""
        from .cases import case

        if level not in self.cases:
            self.cases[level] = case(level, self.size)
        return self.cases[level]

    def exercise(self, instance: Any) -> Outputs:
        from .cases import values

        return {"the metric": values(instance, self.case(0.1))}


@dataclass(frozen=True)
class EngineTrial(Trial):
    """An engine with small jobs."""

    @property
    def engine(self) -> Any:
        return self.subject.instance

    def exercise(self, instance: Any) -> Outputs:
        import torch

        from .jobs import make_square

        return {"map": torch.tensor(sorted(result for _, result in instance.map(make_square, range(5))))}


_TRIALS: dict[str, type[Trial]] = {
    "codec": CodecTrial,
    "generator": GeneratorTrial,
    "solver": SolverTrial,
    "metric": MetricTrial,
    "engine": EngineTrial,
}


def trial_of(subject: Subject) -> Any:
    """The trial of the subject's kind."""
    return _TRIALS[subject.kind](subject)
