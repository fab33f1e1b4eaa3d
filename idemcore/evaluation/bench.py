"""What a solver costs: network passes, codec gradients, seconds, memory.

BenchJob -> (a process of its own: no other solver's memory, caches or compiled kernels) -> measure -> Cost
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median

from torch import Tensor

from ..adapters.passes import Passes
from ..errors import IdemError, InputError, UsageError
from ..io.images import read_image
from ..noise import Noise
from ..observe.cost import PeakMemory
from ..pipeline.codec import Codec
from ..pipeline.decoder import Decoder
from ..plugins.blame import as_failure
from ..plugins.selection import Selection
from ..protocols import Callback, Constraint, Solution, Step
from ..runtime import Runtime

WARM_STEPS = 2
"""Steps of the solve that is neither timed nor counted."""


@dataclass(frozen=True)
class BenchJob:
    """One solver, to be measured on the centre crop of one image."""

    image: str
    """Path."""
    size: int
    """Side of the crop, pixels."""
    selection: Selection
    device: str = "auto"
    precision: str = "auto"
    repeat: int = 1
    """Solves that are timed."""


@dataclass(frozen=True)
class Cost:
    """The cost of one solve, without encoding, certifying or loading."""

    passes: int
    """Passes of the network forwards."""
    backwards: int
    """Passes of the network backwards."""
    codec_calls: int
    """Of the cell's measure, position and excess: passes through the codec, of the decoder too if measure."""
    codec_gradients: int
    """Backwards through these."""
    projections: int
    """Calls of the cell's `project`. A learned codec's take several passes through its encoder, which only the seconds
    show."""
    seconds: float
    """Wall time, the median of all repetitions."""
    peak_bytes: int
    """Most memory in use, above that before the solve: of the GPU where there is one, else of the process."""


def measure_alone(job: BenchJob) -> Cost | IdemError:
    """`measure` in a fresh process, or why the solver cannot be measured: it failed, or its process was killed.

    Raises UsageError and InputError for an image with which no solver can be measured.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, job).result()
        except (UsageError, InputError):
            raise
        except BrokenProcessPool:
            return IdemError("The process was killed, most likely for lack of memory.", "Try a smaller --size.")
        except Exception as error:
            return as_failure(error)


def measure(job: BenchJob) -> Cost:
    """Loads all that `job` names, warms up with a few steps, and solves `repeat` times with the same noise.

    Raises what reading and building raise, UsageError for an image smaller than the crop.
    """
    runtime = Runtime.choose(job.device, job.precision)
    codec, decoder = Codec.build(job.selection.codec, runtime), Decoder.build(job.selection, runtime)
    bitstream = codec.bitstream_of(_centre(read_image(job.image), job.size, job.image))
    decoder.check(bitstream)
    generator = decoder.fitted(bitstream.size)

    def solve(cell: Constraint, callback: Callback | None = None) -> Solution:
        return decoder.solve(cell, generator, Noise([0]), callback=callback)

    _warm_up(lambda callback: solve(bitstream.cell, callback))
    memory, seconds = PeakMemory(runtime.device), []
    for _ in range(job.repeat):
        cell = CountingConstraint(bitstream.cell)
        begin = time.perf_counter()
        solution = solve(cell)
        seconds.append(time.perf_counter() - begin)
    return Cost(
        passes=solution.nfe,
        backwards=solution.backwards,
        codec_calls=cell.calls.forwards,
        codec_gradients=cell.calls.backwards,
        projections=cell.projections,
        seconds=median(seconds),
        peak_bytes=memory.above(),
    )


class CountingConstraint(Constraint):
    """A cell that counts what a solver asks of it: all that a solver may ask."""

    def __init__(self, cell: Constraint) -> None:
        self.cell = cell
        self.centre, self.distortion, self.margin_limit = cell.centre, cell.distortion, cell.margin_limit
        self.calls = Passes()
        self.projections = 0

    @property
    def target(self) -> Tensor:
        return self.cell.target

    @property
    def estimate(self) -> Tensor:
        return self.cell.estimate

    @property
    def estimate_error(self) -> Tensor:
        return self.cell.estimate_error

    def measure(self, x: Tensor) -> Tensor:
        return self.calls(self.cell.measure, x)

    def position(self, x: Tensor) -> Tensor:
        return self.calls(self.cell.position, x)

    def excess(self, x: Tensor) -> Tensor:
        return self.calls(self.cell.excess, x)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        self.projections += 1
        return self.cell.project(x, margin)


class _Warm(Exception):
    """Ends the solve that warms up."""


def _warm_up(solve: Callable[[Callback], Solution]) -> None:
    def stop(step: Step) -> None:
        if step.index + 1 >= WARM_STEPS:
            raise _Warm

    with suppress(_Warm):
        solve(stop)


def _centre(image: Tensor, size: int, where: str) -> Tensor:
    """The crop [1,3,size,size]."""
    height, width = image.shape[-2:]
    if min(height, width) < size:
        raise UsageError(f"{where} is {width}x{height}, smaller than a crop of {size}x{size}.", "Give a --size.")
    top, left = (height - size) // 2, (width - size) // 2
    return image[..., top : top + size, left : left + size]
