"""Image to bitstream to certified image: the library behind the command line.

Codec.encode(image) -> Bitstream ---------+
open_bitstream(bytes) -> Bitstream -------+-> Decoder.reconstruct(bitstream, seed) -> Reconstruction
Decoder.load(generator, solver) ----------+
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import UnsupportedCombination
from ..hookspecs import GeneratorSpec
from ..io.images import to_bytes
from ..noise import Noise, image_seed
from ..plugins.catalogue import import_target, load_catalogue
from ..plugins.selection import DEFAULT_GENERATOR, DEFAULT_SOLVER, DecoderParts, Part, Settings, select_decoder
from ..protocols import Callback, Cell, Generator, InversionSolver, LatentGenerator, Solution
from ..runtime import Runtime, wait
from .certify import Certified, certify, psnr
from .codec import Bitstream
from .restored_start import StartingAtRestored
from .tiles import fitted


@dataclass(frozen=True)
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

    @property
    def image(self) -> Tensor:
        """uint8 [1,3,H,W]."""
        return self.certified.image

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


@dataclass(frozen=True)
class Decoder:
    """A generator and a solver, ready for any number of bitstreams."""

    parts: DecoderParts
    """What it was built from."""
    generator: Generator | None
    """None where the solver needs nothing of it: its weights are not loaded."""
    solver: InversionSolver[Any]
    """Wrapped by the adapter, and by the restorer that it starts at, if there are."""
    tile: int | None = None
    """See `Runtime.tile`."""

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
        return cls(parts, generator, solver, runtime.tile)

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
    def name(self) -> str:
        """Generator and solver, for people."""
        return self.parts.name

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
        a batch, and `seconds` are an even share.
        """
        for bitstream in bitstreams:
            self.check(bitstream)
        generator, cell = self.fitted(bitstreams[0].size), joint_cell(bitstreams)
        drawn = draw(self.solver, cell, generator, noise_of(bitstreams, seeds, sample), tradeoff, callback)
        solution = drawn.solution
        parts = zip(drawn.certified.single(), solution.image.split(1), strict=True)
        return [Reconstruction(c, solution.nfe, solution.backwards, drawn.seconds, found) for c, found in parts]

    def fitted(self, size: tuple[int, int]) -> Generator | None:
        """What the solver gets for images of (H, W): a denoiser or restorer in tiles where it needs them."""
        generator = self.generator
        if generator is None or isinstance(generator, LatentGenerator):
            return generator
        return fitted(generator, size, self.tile)

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
    """What solving a cell of B images gave."""

    solution: Solution
    """Blended, but not yet certified."""
    certified: Certified
    seconds: dict[str, float]
    """Wall time of `solve` and `certify`, an image's share."""


def draw(
    solver: InversionSolver[Any],
    cell: Cell,
    generator: Generator | None,
    noise: Noise,
    tradeoff: float = 1.0,
    callback: Callback | None = None,
) -> Drawn:
    """Solves, blends as `tradeoff` says, and certifies; `generator` as it is for images of this size."""
    begin = time.perf_counter()
    solution = solver.solve(cell, generator, noise, callback)
    solution = replace(solution, image=blend(cell, solution.image, tradeoff))
    wait(solution.image.device)
    solved = time.perf_counter()
    certified = certify(cell, solution.image)
    seconds = {"solve": solved - begin, "certify": time.perf_counter() - solved}
    return Drawn(solution, certified, {stage: taken / len(solution.image) for stage, taken in seconds.items()})


def noise_of(bitstreams: Sequence[Bitstream], seeds: Sequence[int], sample: int = 0) -> Noise:
    """Each image's own, which does not depend on the batch that it is in."""
    return Noise([image_seed(seed, b.sha256, sample) for seed, b in zip(seeds, bitstreams, strict=True)])


def joint_cell(bitstreams: Sequence[Bitstream]) -> Cell:
    """The cells of bitstreams of one codec and one size, as one."""
    first = bitstreams[0]
    if len(bitstreams) == 1:
        return first.cell
    with torch.no_grad():
        return first.codec.encoder.cell([bitstream.stream for bitstream in bitstreams], first.contained_size)


def blend(cell: Cell, image: Tensor, tradeoff: float) -> Tensor:
    """(1 - A) e + A x, [B,3,H,W], between the cell's estimate e, of least error (A = 0), and x, of most realism."""
    return image if tradeoff == 1 else torch.lerp(cell.estimate, image, tradeoff)


def plain_decode(bitstream: Bitstream) -> Reconstruction:
    """g(y) rounded to 8 bits and compared with the bitstream, but not moved: most codecs are not idempotent."""
    image = to_bytes(bitstream.decoded)
    with torch.no_grad():
        exact = bool(bitstream.cell.contains(image))
        differing = 0 if exact else int(bitstream.cell.differing_symbols(image))
    return Reconstruction(Certified(image, [exact], [differing], [psnr(image, image)]), 0, 0, {})
