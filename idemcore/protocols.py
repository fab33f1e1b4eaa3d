"""The whole contract of idem: an Encoder, the Cell of a bitstream, a Generator, an InversionSolver. One page.

An *image* at every border is a float32 tensor [B,3,H,W], sRGB, in [0,1]. A *byte image* is uint8 [B,3,H,W]. Noise
levels are variance exploding in the same units: x = x0 + sigma * n with n ~ N(0, I). Bits are bits, bytes are bytes.

A solver never knows which codec or network it holds: what it may ask for is named by *capabilities*, listed in
`hookspecs.CAPABILITIES`, which the `Spec` of each plugin declares, so that a combination that cannot work is refused
before any heavy work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from .io.exif import Metadata
    from .noise import Noise


class Unsupported(Exception):
    """Raised by an optional method that this codec or generator does not offer; says what would work instead."""


class Encoder(ABC):
    """A codec f with decoder g. Built from its config dataclass: `Class(config, runtime)`."""

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

    def metadata(self, stream: bytes) -> Metadata:
        """What a stream says of its picture beside the pixels: which way up it is, its colour profile."""
        from .io.exif import Metadata

        return Metadata()

    def rewrite(self, stream: bytes, byte_image: Tensor) -> bytes:
        """The file of uint8 [1,3,H,W] with the settings and metadata of `stream`'s own file, another program's say."""
        raise Unsupported("this codec's streams have no file format of their own")


class Cell(ABC):
    """The set of images that encode to given bitstreams, B at a time. Methods take and give images [B,3,H,W]."""

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
        """[B,3,H,W] in [0,1]: the image of least expected squared error that is known, where solvers may start.

        g(y), unless the codec offers `estimate`: then an image of the cell with less error than g(y) on average. It may
        take a network's pass, so it is made when it is first asked for, and kept.
        """
        return self.centre

    @property
    def estimate_error(self) -> Tensor:
        """[B], float32: the rms error that is expected of `estimate`, in [0,1] units."""
        return self.distortion

    @abstractmethod
    def contains(self, byte_image: Tensor) -> Tensor:
        """Bool [B]: does the real encoder, on this uint8 image, give the real bytes?"""

    @abstractmethod
    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Int64 [B]: quantised symbols of f(x) that differ from those of y."""

    def reason(self, byte_image: Tensor) -> str:
        """Why the first image is not in the cell, for people, where the codec knows a reason."""
        return ""

    def measure(self, x: Tensor) -> Tensor:
        """g(f(x)), with a straight-through gradient if the codec offers `gradient` (the x-domain constraint)."""
        raise Unsupported("this codec has no measure; use a solver that needs only `project`")

    def position(self, x: Tensor) -> Tensor:
        """[B,K]: where f, before it rounds, puts each symbol of x; 0 is y's own symbol, -1/2..1/2 its interval.

        In quantiser steps; differentiable (y-domain).
        """
        raise Unsupported("this codec has no position; use a solver with constraint=image")

    def excess(self, x: Tensor) -> Tensor:
        """[B,K] distance of each symbol outside the cell, in quantiser steps; 0 inside; differentiable (y-domain)."""
        return (self.position(x).abs() - 0.5).clamp(min=0.0)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """A near-nearest real-valued point of the cell, `margin` quantiser steps inside it. Idempotent."""
        raise Unsupported("this codec has no projection; use a solver that needs only `measure`, such as dps")

    def snap(self, x: Tensor) -> Tensor:
        """A byte image near x meant to lie in the cell: what `certify` calls. Best effort; `contains` decides.

        The default rounds projections of growing margin. Codecs with a better search override it.
        """
        from .pipeline.certify import snap_by_projection

        return snap_by_projection(self, x)


class Generator(ABC):
    """A prior over images. Built from its config dataclass: `Class(config, runtime)`."""

    family: ClassVar[Literal["diffusion", "latent"]]
    size: tuple[int, int] | None = None
    """(H, W) of a network that makes one size only; None if fully convolutional."""
    multiple: int = 1
    """Sides that `denoise` pads to inside; callers never need to."""
    halo: int = 32
    """Pixels around a part of an image that `denoise` looks at, if it takes any size: tiles overlap by twice that."""


class DiffusionGenerator(Generator):
    """A denoiser. `sigma_min` and `sigma_max` bound the noise levels it was trained on, in [0,1] image units."""

    family = "diffusion"
    sigma_min: float
    sigma_max: float

    warm_start: float = 1.5
    """Where to start from a plain decode with noise, given steps enough, in multiples of its rms error. A prior that
    knows whole images, not textures only, can repair more of them from further up."""

    sigmas: Tensor | None = None
    """Float64 [T] ascending noise levels of a discrete DDPM, t = 0..T-1: sqrt((1 - abar_t) / abar_t) / 2; else None."""

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """E[x0 | x0 + sigma n = x]; sigma is a number or [B]. Not clamped. Gradients flow if x requires them."""

    def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """`denoise`, and the learned share v in [0,1] of log beta_t in the log-variance (1-v: of log beta~_t).

        Nichol & Dhariwal 2021, eq. 15. None for networks without a learned variance.
        """
        return self.denoise(x, sigma), None


class LatentGenerator(Generator):
    """A map G from a Gaussian latent to images, which may be made of several layers, each a map of its own.

    Between two layers lie *activations*, tensors [B,...], where a solver may search as well: z itself before layer 0.
    """

    family = "latent"
    latent_shape: tuple[int, ...]
    layers: int = 1

    @abstractmethod
    def sample(self, noise: Noise) -> Tensor:
        """Latents z [B, *latent_shape], one an image of `noise`."""

    @abstractmethod
    def synthesize(self, z: Tensor) -> Tensor:
        """G(z), differentiable. Not clamped."""

    def advance(self, activations: tuple[Tensor, ...], layer: int, to: int) -> tuple[Tensor, ...]:
        """From what `layer` takes to what layer `to` takes, 0 <= layer <= to < layers; `(z,)` is what layer 0 takes."""
        if layer == to == 0:
            return activations
        raise Unsupported("this generator is one layer; search in its latents")

    def synthesize_from(self, activations: tuple[Tensor, ...], layer: int) -> Tensor:
        """The image made of what `layer` takes: synthesize_from(advance((z,), 0, k), k) = G(z). Differentiable."""
        return self.synthesize(*self.advance(activations, layer, 0))


@dataclass(frozen=True)
class Step:
    """What a solver tells its callback after each step."""

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
    """Finds an image of the prior in the cell. Built from its config dataclass: `Class(config)`."""

    @abstractmethod
    def solve(self, cell: Cell, generator: GeneratorT, noise: Noise, callback: Callback | None = None) -> Solution:
        """`noise` draws on the CPU from one seed an image, so results depend on neither batch, order nor device.

        An exception raised by `callback` cancels the solve and passes through.
        """
