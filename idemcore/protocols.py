"""The whole contract of idem, on one page: what a plugin implements, and what it may rely on.

    codec      Encoder, and the Cell of its bitstreams        Class(config, runtime)
    generator  Diffusion-, Latent- or RestorerGenerator       Class(config, runtime)
    solver     InversionSolver, which is given a Constraint   Class(config)
    metric     ImageMetric or SetMetric, of Cases             Class(config, runtime)
    engine     Engine, which runs the jobs of a sweep         Class(config)
    recipe     a Recipe, which trains                         a function

An *image* at every border is a float32 tensor [B,3,H,W], sRGB, in [0,1]. A *byte image* is uint8 [B,3,H,W]. Noise
levels are variance exploding in the same units: x = x0 + sigma * n with n ~ N(0, I). Bits are bits, bytes are bytes.

A solver never knows which codec or network it holds: what it may ask for is named by *capabilities*, listed in
`hookspecs.CAPABILITIES`, which the `Spec` of each plugin declares, so that a combination that cannot work is refused
before any heavy work. An object that no plugin describes says so itself, by class attributes `offers` and `needs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Generator as Yielded
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from .errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import torch
    from torch import Tensor

    from .hookspecs import Capabilities, MetricSpec
    from .io.exif import Metadata
    from .noise import Noise
    from .results.case import Case
    from .runtime import Runtime

SetT = TypeVar("SetT", bound="SetMetric")
State = Mapping[str, "npt.NDArray[Any]"]
"""What a set metric holds, as arrays by name, ready for `numpy.savez`."""


class Encoder(ABC):
    """A codec f with decoder g."""

    offers: ClassVar[Capabilities | None] = None
    """What its cells can do, of a codec that no Spec describes."""

    model_id: bytes = b""
    """4 bytes that name codec config and weights in an `.idem` header; empty if the bitstream is a file of its own."""

    @abstractmethod
    def encode(self, image: Tensor) -> list[bytes]:
        """One bitstream an image. The image is rounded to 8 bits first: a bitstream stands for an 8-bit image."""

    @abstractmethod
    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """g(y), the image that minimises MSE. `size` is (H, W) from the container, for streams that do not hold it.

        All streams of a call have one size. Raises `errors.BitstreamError` on bytes that are not a valid stream.
        """

    @abstractmethod
    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Cell:
        """The quantisation cells {x : f(x) = y} of the streams, as one batched object."""

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        """What `idem inspect` tells of a stream beside codec, size and bytes, such as its quality."""
        return {}

    def metadata(self, stream: bytes) -> Metadata | None:
        """What a stream says of its picture beside the pixels, where it can: which way up it is, its colour profile."""
        return None

    def rewrite(self, stream: bytes, byte_image: Tensor) -> bytes:
        """The file of uint8 [1,3,H,W] with the settings and metadata of `stream`'s own file, another program's say."""
        raise Unsupported("this codec's streams have no file format of their own")


class Constraint:
    """What a solver may ask of the set in which it searches, B at a time. Methods take and give images [B,3,H,W].

    A codec's `Cell`, or what an adapter makes of one for a solver that moves latents.
    """

    centre: Tensor
    """g(y), [B,3,H,W]: where a solver may start."""

    distortion: Tensor
    """[B], float32: the rms error that the codec expects of g(y), in [0,1] units; solvers start at such levels."""

    margin_limit: float = 0.5
    """Largest useful `margin` of `project`, in quantiser steps: half a step leaves only the centre."""

    @property
    def target(self) -> Tensor:
        """What `measure` gives in the cell: g(y), also where a solver moves latents and `centre` is one of those."""
        return self.centre

    @property
    def estimate(self) -> Tensor:
        """[B,3,H,W] in [0,1]: the known image of least expected squared error, where solvers may start.

        g(y), unless the codec offers `estimate`: then an image of the cell, made when it is first asked for, and kept.
        """
        return self.centre

    @property
    def estimate_error(self) -> Tensor:
        """[B], float32: the rms error that is expected of `estimate`, in [0,1] units."""
        return self.distortion

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), with a straight-through gradient if the codec offers `gradient` (the x-domain constraint)."""
        raise Unsupported("this codec has no measure; use a solver that needs only `project`")

    def position(self, x: Tensor) -> Tensor:
        """[B,K]: where f puts x before it rounds, in quantiser steps from y's symbols, whose interval is -1/2..1/2."""
        raise Unsupported("this codec has no position; use a solver with constraint=image")

    def excess(self, x: Tensor) -> Tensor:
        """[B,K] distance of each symbol outside the cell, in quantiser steps; 0 inside; differentiable (y-domain)."""
        return (self.position(x).abs() - 0.5).clamp(min=0.0)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """A near-nearest real-valued point of the cell, `margin` quantiser steps inside it. Idempotent."""
        raise Unsupported("this codec has no projection; use a solver that needs only `measure`, such as dps")


class Cell(Constraint, ABC):
    """The set of images that encode to given bitstreams, B at a time: what a codec makes, and `certify` asks."""

    @abstractmethod
    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: does the real encoder, on this uint8 image, give the real bytes?"""

    @abstractmethod
    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: quantised symbols of f(x) that differ from those of y."""

    def reason(self, byte_image: Tensor) -> str:
        """Why the first image is not in the cell, for people, where the codec knows a reason."""
        return ""

    def snap(self, x: Tensor) -> Tensor:
        """A byte image near x meant to lie in the cell, as far as can be; else projections of x are rounded."""
        raise Unsupported("this codec has no search of its own")


class Generator(ABC):
    """A prior over images."""

    offers: ClassVar[Capabilities]
    """What it can do, of a generator that no Spec describes."""
    family: ClassVar[Literal["diffusion", "latent", "restorer"]]
    size: tuple[int, int] | None = None
    """(H, W) of a network that makes one size only; None if fully convolutional."""
    multiple: int = 1
    """`denoise` and `restore` pad sides to a multiple of this internally; callers never need to."""
    halo: int = 32
    """Pixels around a part of an image that the network looks at, if it takes any size: tiles overlap by twice that."""
    window: int = 1152
    """Side, in pixels, of the tiles of images of more than window x window pixels, unless the user asks for another."""


class DiffusionGenerator(Generator):
    """A denoiser. `sigma_min` and `sigma_max` bound the noise levels it was trained on, in [0,1] image units."""

    family = "diffusion"
    offers = frozenset({"diffusion", "diffusion-gradient"})
    sigma_min: float
    sigma_max: float

    warm_start: float = 1.5
    """Where to start from a plain decode, in multiples of its rms error: further up for a prior of whole images."""

    sigmas: Tensor | None = None
    """Float64 [T] ascending noise levels of a discrete DDPM, t = 0..T-1: sqrt((1 - abar_t) / abar_t) / 2; else None."""

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """E[x0 | x0 + sigma n = x]; sigma is a number or [B]. Not clamped. Gradients flow if x requires them."""

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """`denoise`, and the learned share v of log beta_t in the log-variance, or None (Nichol & Dhariwal 2021)."""
        return self.denoise(x, sigma), None


class LatentGenerator(Generator):
    """A map G from a Gaussian latent to images, which may be made of several layers, each a map of its own.

    Between two layers lie *activations*, tensors [B,...], where a solver may search as well: z itself before layer 0.
    """

    family = "latent"
    offers = frozenset({"latent"})
    latent_shape: tuple[int, ...]
    layers: int = 1

    @abstractmethod
    def sample(self, noise: Noise) -> Tensor:
        """Latents z [B, *latent_shape], one an image of `noise`."""

    @abstractmethod
    def synthesize(self, z: Tensor) -> Tensor:
        """G(z), differentiable. Not clamped."""

    def advance(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, ...]:
        """From what `layer` takes to what layer `to` takes, 0 <= layer <= to < layers; layer 0 takes `(z,)`."""
        if layer == to == 0:
            return activations
        raise Unsupported("this generator is one layer; search in its latents")

    def synthesize_from(self, activations: tuple[Tensor, ...], layer: int) -> Tensor:
        """The image made of what `layer` takes: synthesize_from(advance((z,), 0, k), k) = G(z). Differentiable."""
        return self.synthesize(*self.advance(activations, layer, 0))


class RestorerGenerator(Generator):
    """An image-to-image network, which turns a damaged image into one that looks undamaged. It is not a denoiser.

    Every diffusion generator is a restorer by the adapter `diffusion-as-restorer`.
    """

    family = "restorer"
    offers = frozenset({"restorer"})

    @abstractmethod
    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """A natural image [B,3,H,W] near x [B,3,H,W]. Not clamped. No gradient is asked for.

        `sigma`, a number or [B], is the rms error expected of x, in [0,1] units: how much may be changed, which a
        network without such a dial ignores. Random numbers come from `noise` alone, a seed an image.
        """


@dataclass(frozen=True)
class Step:
    """What a solver tells its callback of each step. Solvers may reuse its tensors: clone those that you keep."""

    index: int
    """0-based."""
    total: int
    sigma: float
    x0: Tensor
    """Current estimate [B,3,H,W]."""
    residual: float
    """Root mean square of the solver's own constraint violation, in [0,1] units or quantiser steps."""
    nfe: int
    """Denoiser (or synthesis) passes so far."""
    x: Tensor | None = None
    """What the network was given: x_t [B,3,H,W] in [0,1] units, with noise of `sigma`; of latent solvers latents."""
    gradient: Tensor | None = None
    """In the shape of x: that of what the solver descends with respect to `x`, where it has one."""


Callback = Callable[[Step], None]
GeneratorT = TypeVar("GeneratorT", bound=Generator)


@dataclass(frozen=True)
class Solution:
    """What a solver found, before certification."""

    image: Tensor
    """[B,3,H,W] in [0,1]."""
    nfe: int = 0
    """Network passes forwards, counted once a batch."""
    backwards: int = 0
    """Passes backwards through the network."""


class InversionSolver(ABC, Generic[GeneratorT]):
    """Finds an image of the prior in the cell."""

    needs: ClassVar[Capabilities | None] = None
    """What it asks of cell and generator, of a solver that no Spec describes."""
    draws: ClassVar[bool] = True
    """Whether another seed gives another image, of a solver that no Spec describes."""

    @abstractmethod
    def solve(
        self, cell: Constraint, generator: GeneratorT, noise: Noise, callback: Callback | None = None
    ) -> Solution:
        """`noise` draws on the CPU from one seed an image: results depend on neither batch, order nor device.

        What `callback` raises cancels the solve and passes through.
        """


@dataclass(frozen=True)
class Score:
    """A value of a set of images; nan where undefined."""

    value: float
    low: float | None = None
    """95 % confidence interval over images; None where it is not estimated."""
    high: float | None = None
    count: int = 0
    """Images behind it."""


class Metric(ABC):
    """A measure of reconstructions. Its constructor raises MissingError if weights or a package are not here."""

    name: str = ""
    """What the user typed, e.g. `fd:timm/resnet18`; set by `build`."""
    spec: MetricSpec
    """Set by `build`."""


class ImageMetric(Metric):
    """One value an image."""

    @abstractmethod
    def measure(self, case: Case) -> Tensor:
        """Float64 [B] on the CPU; nan where the case lacks what is needed, or where undefined."""


class SetMetric(Metric):
    """One value a set of images, in memory that does not grow with their number.

    It is given the first draw of each image, or every draw, those of an image in a row.
    """

    every_draw: ClassVar[bool] = False
    """It is about the draws of an image, not about a set of images."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all images."""

    @abstractmethod
    def update(self, case: Case) -> None:
        """Takes in B images. A case that lacks what is needed is left out."""

    @abstractmethod
    def result(self) -> Score:
        """The score of all images since `reset`; nan where there are too few."""

    @abstractmethod
    def state(self) -> State:
        """All that `update` learned, for `load`."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Takes the place of what was learned."""

    @abstractmethod
    def merge(self: SetT, other: SetT) -> None:
        """Adds what another of the same settings learned of other images: as if one had seen all, but for rounding."""


JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
Work = Callable[[JobT], ResultT]
MakeWork = Callable[[], Work[JobT, ResultT]]
"""Called once in each worker: loads nothing before the first job, and keeps what it loaded for the next."""


@dataclass(frozen=True)
class WorkerDied:
    """In the place of a result: the worker was killed each time that it ran this job."""

    reason: str


Results = Yielded[tuple[JobT, ResultT | WorkerDied], None, None]


class Engine(ABC):
    """Runs jobs by workers, which may be this process, others, or other machines."""

    @abstractmethod
    def map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        """Each job with its result, as they are ready; jobs are asked for as workers are free for them.

        `make`, jobs and results can be pickled. A worker that is killed is replaced, and its job repeated. What `make`
        or the work raises passes through and ends the map, as closing the iterator does: no worker is left then.
        """


class Recipe(Protocol):
    """How to train a model, from a folder or a zip file of images to the file of weights that it writes."""

    def __call__(
        self, data: Path, out: Path, config: Any, device: torch.device, progress: Callable[[dict[str, float]], None]
    ) -> Path:
        """Resumes what it finds in `out`; `config` has `minutes`. `progress` gets `loss`, `minutes` and the like."""


MakeEncoder = Callable[[Any, "Runtime"], Encoder]
MakeGenerator = Callable[[Any, "Runtime"], Generator]
MakeSolver = Callable[[Any], InversionSolver[Any]]
MakeMetric = Callable[[Any, "Runtime"], Metric]
MakeEngine = Callable[[Any], Engine]
"""What `target` of a Spec names: a class, or a function, that builds one from an instance of the Spec's `config`."""
