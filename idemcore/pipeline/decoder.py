"""Image to bitstream to certified image: the library behind the command line.

Codec.encode(image) -> Bitstream ---------+
open_bitstream(bytes) -> Bitstream -------+-> Decoder.reconstruct(bitstream, seed) -> Reconstruction
Decoder.load(generator, solver) ----------+
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import IdemError, IdemWarning, Unsupported, UnsupportedCombination, UsageError, article
from ..hookspecs import EncoderSpec, GeneratorSpec
from ..io.images import png_bytes, to_bytes, to_float
from ..noise import Noise
from ..observe.cost import PeakMemory, Stopwatch
from ..plugins.catalogue import import_target, load_catalogue
from ..plugins.selection import DEFAULT_GENERATOR, DEFAULT_SOLVER, DecoderParts, Part, Settings, select_decoder
from ..protocols import Callback, Cell, Constraint, Generator, InversionSolver, LatentGenerator, Solution
from ..results.certificate import PartFacts
from ..runtime import Runtime, wait
from .certify import Certified, certify, psnr
from .codec import Bitstream
from .faults import check_cell, check_prior, contradiction
from .identity import Computed, part_facts
from .restored_start import StartingAtRestored
from .tiles import fitted


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A certified image of the cell, and what it took to find it."""

    certified: Certified
    nfe: int
    """Network passes forwards."""
    backwards: int
    """Network passes backwards."""
    seconds: dict[str, float]
    """Wall time of `solve` and `certify`."""
    solution: Tensor | None = None
    """Float32 [1,3,H,W]: what was found, before certification; None of a plain decode."""
    reason: str = ""
    """Why it is not exact, where the codec knows."""

    @property
    def image(self) -> Tensor:
        """uint8 [1,3,H,W]."""
        return self.certified.image

    @property
    def as_float(self) -> Tensor:
        """The image as codecs take it: float32 [1,3,H,W], exactly k/255."""
        return to_float(self.image)

    @property
    def exact(self) -> bool:
        """It re-encodes to its bitstream, byte for byte."""
        return self.certified.exact[0]

    @property
    def differing_symbols(self) -> int:
        return self.certified.differing_symbols[0]

    @property
    def psnr_moved(self) -> float:
        """dB between the solver's image and the certified one; infinite if certifying changed nothing."""
        return self.certified.psnr_moved[0]

    def __repr__(self) -> str:
        height, width = self.image.shape[-2:]
        verdict = "exact" if self.exact else f"{self.differing_symbols} symbols differ"
        return f"<Reconstruction {width}x{height}, {verdict}, {self.nfe} passes>"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.image)


@dataclass(frozen=True, repr=False)
class Decoder:
    """A generator and a solver, ready for any number of bitstreams."""

    parts: DecoderParts
    """What it was built from."""
    generator: Generator | None
    """None where the solver needs nothing of it: its weights are not loaded."""
    solver: InversionSolver[Any]
    """Wrapped by the adapter, and by the restorer that it starts at, if there are."""
    runtime: Runtime
    """Where and how networks run; cells and solutions lie on its device."""

    @classmethod
    def build(
        cls,
        parts: DecoderParts,
        runtime: Runtime,
        load: Callable[[Part[GeneratorSpec], Runtime], Generator] = Part.build,
    ) -> Decoder:
        """Raises MissingError if weights that the solver needs are not here. `load` may keep generators for later."""
        generator = load(parts.prior, runtime) if parts.prior else None
        solver = parts.solver.build()
        if parts.adapter:
            solver = import_target(parts.adapter.spec.target)(solver, parts.adapter.config)
        if parts.restorer:
            solver = StartingAtRestored(solver, load(parts.restorer, runtime), runtime.tile)
        decoder = cls(parts, generator, solver, runtime)
        _ = decoder.facts  # what cannot be identified fails before the work, not after
        return decoder

    @classmethod
    def load(
        cls,
        generator: str = DEFAULT_GENERATOR,
        solver: str = DEFAULT_SOLVER,
        runtime: Runtime | None = None,
        settings: Settings | None = None,
    ) -> Decoder:
        """`build` by names: `Decoder.load("ddpm-photo", "cell", settings={"solver": {"steps": 8}})`.

        The adapter that the two need is put between them; its settings are `{"adapter": {...}}`.
        """
        return cls.build(select_decoder(load_catalogue(), generator, solver, settings), runtime or Runtime.choose())

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    @property
    def computed(self) -> Computed:
        """The kind of its device, and its precision, for certificates."""
        return Computed.of(self.runtime)

    @cached_property
    def facts(self) -> Mapping[str, PartFacts]:
        """What certificates say of the parts that draw, by kind. Found once."""
        return {kind: part_facts(part) for kind, part in self.parts.used.items()}

    @property
    def name(self) -> str:
        """Generator and solver, for people."""
        return self.parts.name

    def __repr__(self) -> str:
        return f"<Decoder {self.name} on {self.device}>"

    def reconstruct(
        self,
        bitstream: Bitstream,
        seed: int = 0,
        sample: int = 0,
        tradeoff: float = 1.0,
        callback: Callback | None = None,
    ) -> Reconstruction:
        """Draws sample number `sample` of the prior from the bitstream's cell, and certifies it.

        `tradeoff` A in [0,1] blends (1-A) e + A x between the cell's estimate e, of least error, and x, of most
        realism; a cell that is a box is convex, so the blend is inside it too, up to 8-bit rounding. Raises
        UnsupportedCombination.
        """
        return self.reconstruct_all([bitstream], [seed], sample, tradeoff, callback)[0]

    def reconstruct_all(
        self,
        bitstreams: Sequence[Bitstream],
        seeds: Sequence[int],
        sample: int = 0,
        tradeoff: float = 1.0,
        callback: Callback | None = None,
    ) -> list[Reconstruction]:
        """`reconstruct` of bitstreams of one codec and one size, with a seed each, all at once: what a GPU is fast at.

        Each image's noise is its own, so it comes out as it would alone, but for float noise; passes are counted once
        a batch, and `seconds` are an even share. An image that is not exact, or was moved far, is an IdemWarning.
        """
        found = self.draw(bitstreams, seeds, sample, tradeoff, callback).single()
        for one, bitstream in zip(found, bitstreams, strict=True):
            if concern := one.certified.concern():
                warnings.warn(f"{bitstream.where or 'the bitstream'}: {concern}", IdemWarning, stacklevel=2)
        return found

    def draw(
        self,
        bitstreams: Sequence[Bitstream],
        seeds: Sequence[int],
        sample: int = 0,
        tradeoff: float = 1.0,
        callback: Callback | None = None,
        watch_memory: bool = False,
    ) -> Drawn:
        """What `reconstruct_all` gives, in one piece; `watch_memory` measures the peak of the solve."""
        clock = Stopwatch()
        with clock("decode"):
            cell = joint_cell(bitstreams)
            wait(self.device)
        if (there := cell.centre.device.type) != self.device.type:
            text = f"The bitstreams were opened on {there}, but the decoder is on {self.device.type}."
            raise UsageError(text, f"Load the codec with device='{self.device.type}', or let `decode` open the file.")
        generator = self.fitted(bitstreams[0].size)
        for bitstream in bitstreams:
            self.check(bitstream)
        noise = Noise.of_images(seeds, [bitstream.sha256 for bitstream in bitstreams], sample)
        memory = PeakMemory(self.device) if watch_memory else None
        with clock("solve"):
            solution = self.solve(cell, generator, noise, tradeoff, callback, bitstreams[0].codec.part)
        with clock("certify"):
            certified = certify(cell, solution.image)
        shares = {stage: taken / len(bitstreams) for stage, taken in clock.seconds.items()}
        return Drawn(tuple(bitstreams), cell, solution, certified, shares, memory.above() if memory else None)

    def solve(
        self,
        cell: Constraint,
        generator: Generator | None,
        noise: Noise,
        tradeoff: float = 1.0,
        callback: Callback | None = None,
        codec: Part[EncoderSpec] | None = None,
    ) -> Solution:
        """Solves, blends as `tradeoff` says, and waits; `generator` is `fitted` to the size of the cell's images.

        `codec` is whose cell it is, for errors. Raises IdemError, which names the plugin at fault, if no image like the
        cell's was found.
        """
        try:
            solution = self.solver.solve(cell, generator, noise, callback)
            self._check_solution(solution, cell)
        except Exception as error:
            self._check_parts(cell, generator, codec)
            if isinstance(error, Unsupported):
                raise contradiction(error, codec, self.parts.solver) from error
            raise
        solution = replace(solution, image=blend(cell, solution.image, tradeoff))
        wait(self.device)
        return solution

    def _check_solution(self, solution: object, cell: Constraint) -> None:
        """Raises IdemError for what is no Solution of the cell's images."""
        part = self.parts.solver
        if not isinstance(solution, Solution):
            what = type(solution).__name__
            text = f"`solve` of solver '{part.spec.name}' gives {article(what)}, not a Solution."
            raise IdemError(text, part.how_to_check)
        if solution.image.shape != cell.centre.shape:
            found, wanted = (list(image.shape) for image in (solution.image, cell.centre))
            text = f"Solver '{part.spec.name}' gave a tensor {found} for images {wanted}."
            raise IdemError(text, part.how_to_check)
        if solution.image.isnan().any():
            text = f"The image that solver '{part.spec.name}' found has pixels that are not a number."
            raise IdemError(text, f"Try fewer or smaller steps. {part.how_to_check}")

    def _check_parts(self, cell: Constraint, generator: Generator | None, codec: Part[EncoderSpec] | None) -> None:
        """Raises IdemError if the cell, the prior or the restorer is at fault for a failed solve."""
        check_cell(cell, codec)
        if isinstance(self.solver, StartingAtRestored):
            check_prior(self.solver.restorer, self.parts.restorer, cell.centre)
        check_prior(generator, self.parts.prior, cell.centre)

    def fitted(self, size: tuple[int, int]) -> Generator | None:
        """What the solver gets for images of (H, W): a denoiser or restorer in tiles where it needs them."""
        generator = self.generator
        if generator is None or isinstance(generator, LatentGenerator):
            return generator
        return fitted(generator, size, self.runtime.tile)

    def check(self, bitstream: Bitstream) -> None:
        """Raises UnsupportedCombination for a codec that does not fit, or if the generator makes another size only.

        Denoisers and restorers take any size, in tiles of their own; a latent one makes a whole image of one latent.
        """
        self.parts.check(bitstream.codec.part.spec)
        if not isinstance(self.generator, LatentGenerator) or self.generator.size in (None, bitstream.size):
            return
        made, wanted = (f"{width}x{height}" for height, width in (cast(Any, self.generator.size), bitstream.size))
        raise UnsupportedCombination(
            f"Generator '{self.parts.generator.spec.name}' makes images of {made} pixels only; "
            f"{bitstream.where or 'the bitstream'} holds one of {wanted}.",
            f"Use --generator {DEFAULT_GENERATOR}, which takes any size, or encode an image of {made}.",
        )


@dataclass(frozen=True)
class Drawn:
    """What a draw from the cells of B bitstreams gave."""

    bitstreams: tuple[Bitstream, ...]
    cell: Cell
    """Of all of them."""
    solution: Solution
    """Blended, but not yet certified."""
    certified: Certified
    seconds: dict[str, float]
    """Wall time of `decode`, `solve` and `certify`, an image's share."""
    peak_bytes: int | None = None
    """Most memory in use while the whole batch was solved and certified, above that before; None if unwatched."""

    def single(self) -> list[Reconstruction]:
        """Each image for itself."""
        nfe, backwards = self.solution.nfe, self.solution.backwards
        seconds = {stage: self.seconds[stage] for stage in ("solve", "certify")}
        reason = self.cell.reason(self.certified.image) if self.certified.exact == [False] else ""
        pairs = zip(self.certified.single(), self.solution.image.split(1), strict=True)
        return [Reconstruction(c, nfe, backwards, seconds, found, reason) for c, found in pairs]


def joint_cell(bitstreams: Sequence[Bitstream]) -> Cell:
    """The cells of bitstreams of one codec and one size, as one."""
    first = bitstreams[0]
    if len(bitstreams) == 1:
        return first.cell
    with torch.no_grad():
        return first.codec.encoder.cell([bitstream.stream for bitstream in bitstreams], first.contained_size)


def blend(cell: Constraint, image: Tensor, tradeoff: float) -> Tensor:
    """(1 - A) e + A x, [B,3,H,W], between the cell's estimate e, of least error (A = 0), and x, of most realism."""
    return image if tradeoff == 1 else torch.lerp(cell.estimate, image, tradeoff)


def plain_decode(bitstream: Bitstream) -> Reconstruction:
    """g(y) rounded to 8 bits and compared with the bitstream, but not moved: most codecs are not idempotent."""
    image = to_bytes(bitstream.decoded)
    with torch.no_grad():
        exact = bool(bitstream.cell.contains(image))
        differing = 0 if exact else int(bitstream.cell.differing_symbols(image))
    reason = "" if exact else bitstream.cell.reason(image)
    return Reconstruction(Certified(image, [exact], [differing], [psnr(image, image)]), 0, 0, {}, reason=reason)
