"""What a worker does with a job: encodes, solves, certifies and measures a batch of images of one size.

The library's own steps, as `idem run` takes them, with the batch where that has one image: noise belongs to an image,
so a run's result does not depend on its batch, but for how a network rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..bench import PeakMemory
from ..certify import Certified, certify
from ..errors import IdemError
from ..evaluation import known, measure
from ..imageio import png_bytes, to_bytes, to_float
from ..metrics.building import build, find
from ..metrics.protocol import Case
from ..noise import Noise, image_seed
from ..pipeline import Bitstream, Codec, Decoder, finite
from ..plugins import import_target, load_catalogue
from ..protocols import Cell, Generator, InversionSolver, Solution
from ..runs import Stopwatch
from ..runtime import Runtime
from .identity import Configuration, digest
from .images import Pixels
from .store import Row

CODECS, GENERATORS = 4, 2
"""How many of each a worker keeps loaded."""

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One image, one seed, one configuration."""

    id: str
    seed: int
    image: dict[str, str | int]
    """`name`, `sha256`, `width` and `height`."""
    files: dict[str, str]
    """Names, without suffix, of `original`, `decoded` and `reconstruction`."""


@dataclass(frozen=True)
class Job:
    """Runs of one configuration on images of one size, solved as one batch."""

    configuration: Configuration
    runs: tuple[Run, ...]
    pixels: tuple[Pixels, ...]
    """One a run."""

    def singly(self) -> list[Job]:
        """The same as jobs of one run each."""
        return [replace(self, runs=(run,), pixels=(one,)) for run, one in zip(self.runs, self.pixels, strict=True)]


@dataclass(frozen=True)
class Finished:
    """The row of a run, and its images as PNG files by the name that `Run.files` gave them."""

    row: Row
    images: dict[str, bytes]


@dataclass(frozen=True)
class Batch:
    """All that solving a job gave; tensors [B,3,H,W] of bytes."""

    originals: Tensor
    bitstreams: list[Bitstream]
    cell: Cell
    solution: Solution
    certified: Certified
    recode: Callable[[Tensor], Tensor]
    """From byte images to what the codec makes of them."""
    seconds: dict[str, float]
    """Of an image: what the batch took, shared out."""
    peak_bytes: int | None
    """Of the whole batch."""


class Worker:
    """Keeps what it loads: codecs, generators, metrics."""

    def __init__(self, device: str, precision: str, metrics: Sequence[str]) -> None:
        """Raises MissingError if the device is not there. Metrics that cannot be built here are noted in the rows."""
        self.runtime = Runtime.choose(device, precision)
        catalogue = load_catalogue()
        of_images = [name for name in metrics if find(catalogue, name)[0].kind == "image"]
        self.metrics, self.missing = build(of_images, self.runtime, catalogue=catalogue)
        self._codecs, self._generators = Kept[Codec](CODECS), Kept[Generator](GENERATORS)

    def __call__(self, job: Job) -> list[Finished]:
        """One for each run. A batch that fails is tried run by run; a run that fails has a row that says why."""
        try:
            return self._finish(job, self._solve(job))
        except Exception as error:
            if len(job.runs) > 1:
                return [finished for one in job.singly() for finished in self(one)]
            return [Finished(failed_row(job.configuration, job.runs[0], told(error)), {})]

    def _solve(self, job: Job) -> Batch:
        codec, solver, generator = self._load(job.configuration)
        clock = Stopwatch()
        images = to_float(torch.from_numpy(np.stack(job.pixels)).permute(0, 3, 1, 2).contiguous())
        with clock("encode"):
            bitstreams = [codec.encode(image[None]) for image in images]
        with clock("decode"), torch.no_grad():
            cell = codec.encoder.cell([b.stream for b in bitstreams], bitstreams[0].contained_size)
        _check_size(job.configuration, generator, solver, bitstreams[0])
        noise = Noise([image_seed(run.seed, b.sha256, 0) for run, b in zip(job.runs, bitstreams, strict=True)])
        memory = PeakMemory(self.runtime.device) if self._asked("peak-memory") else None
        with clock("solve"):
            solution = solver.solve(cell, generator, noise)
            self._wait()
        with clock("certify"):
            certified = certify(cell, solution.image)
        peak = memory.above() if memory else None
        seconds = {stage: spent / len(job.runs) for stage, spent in clock.seconds.items()}
        recode = partial(_recoded, codec, bitstreams[0].contained_size)
        return Batch(to_bytes(images), bitstreams, cell, solution, certified, recode, seconds, peak)

    def _finish(self, job: Job, batch: Batch) -> list[Finished]:
        case = as_case(job, batch)
        measured = [known(values) for values in measure(self.metrics, case)]
        plain = [known(values) for values in measure(self.metrics, case.plain())]
        decoded, images = to_bytes(batch.cell.centre), batch.certified.image
        return [
            Finished(
                {
                    **_row(job.configuration, run),
                    "metrics": measured[b],
                    "decoded_metrics": {name: value for name, value in plain[b].items() if value is not None},
                    "missing_metrics": self.missing,
                    "exact": batch.certified.exact[b],
                    "differing_symbols": batch.certified.differing_symbols[b],
                    "psnr_moved": finite(batch.certified.psnr_moved[b]),
                    "bytes": len(batch.bitstreams[b].data),
                    "nfe": batch.solution.nfe,
                    "backwards": batch.solution.backwards,
                    "seconds": batch.seconds,
                    "batch": len(job.runs),
                    "device": str(self.runtime.device),
                },
                {run.files["decoded"]: png_bytes(decoded[b]), run.files["reconstruction"]: png_bytes(images[b])},
            )
            for b, run in enumerate(job.runs)
        ]

    def _load(self, configuration: Configuration) -> tuple[Codec, InversionSolver[Any], Generator | None]:
        facts, part, adapter = configuration.facts, configuration.generator, configuration.adapter
        codec = self._codecs(
            digest([facts["codec"], facts["weights"].get("codec")]),
            lambda: Codec.build(configuration.codec, self.runtime),
        )
        generator = (
            None
            if part is None
            else self._generators(
                digest([facts["generator"], facts["weights"].get("generator")]),
                partial(import_target(part.spec.target), part.config, self.runtime),
            )
        )
        solver = import_target(configuration.solver.spec.target)(configuration.solver.config)
        return codec, import_target(adapter.spec.target)(solver, adapter.config) if adapter else solver, generator

    def _asked(self, metric: str) -> bool:
        return any(one.name == metric for one in self.metrics)

    def _wait(self) -> None:
        """Until the device has done what it was given, so that seconds are those of the stage that spent them."""
        if self.runtime.device.type == "cuda":
            torch.cuda.synchronize(self.runtime.device)


class Kept(Generic[T]):
    """The last `limit` things that were asked for, by key; the oldest goes before a new one is built."""

    def __init__(self, limit: int) -> None:
        self._limit, self._things = limit, dict[str, T]()

    def __call__(self, key: str, build: Callable[[], T]) -> T:
        if key in self._things:
            self._things[key] = self._things.pop(key)
        else:
            while len(self._things) >= self._limit:
                del self._things[next(iter(self._things))]
            self._things[key] = build()
        return self._things[key]


def as_case(job: Job, batch: Batch) -> Case:
    """What metrics are asked about."""
    count, certified = len(job.runs), batch.certified
    spent = batch.seconds["solve"] + batch.seconds["certify"]
    return Case(
        images=tuple(str(run.image["sha256"]) for run in job.runs),
        reconstruction=certified.image,
        original=batch.originals.to(certified.image.device),
        decoded=to_bytes(batch.cell.centre),
        recode=batch.recode,
        solution=batch.solution.image,
        streams=tuple(bitstream.stream for bitstream in batch.bitstreams),
        file_bits=torch.tensor([8 * len(bitstream.data) for bitstream in batch.bitstreams]),
        cell=batch.cell,
        exact=torch.tensor(certified.exact),
        differing_symbols=torch.tensor(certified.differing_symbols),
        nfe=torch.full((count,), batch.solution.nfe),
        backwards=torch.full((count,), batch.solution.backwards),
        seconds=torch.full((count,), spent, dtype=torch.float64),
        peak_bytes=None if batch.peak_bytes is None else torch.full((count,), batch.peak_bytes),
    )


def failed_row(configuration: Configuration, run: Run, error: str) -> Row:
    """Of a run that gave nothing."""
    measured = ("exact", "differing_symbols", "psnr_moved", "bytes", "nfe", "backwards")
    nothing: dict[str, Any] = {"metrics": {}, "decoded_metrics": {}, "seconds": {}, **dict.fromkeys(measured)}
    return {**_row(configuration, run), **nothing, "status": "failed", "error": error, "files": {}}


def told(error: Exception) -> str:
    """In one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, IdemError) else f"{type(error).__name__}: {text}"


def _row(configuration: Configuration, run: Run) -> Row:
    """What is known of a run before it starts."""
    return {
        "id": run.id,
        "status": "ok",
        "error": None,
        **configuration.facts,
        "seed": run.seed,
        "image": run.image,
        "files": {kind: f"images/{name}.png" for kind, name in run.files.items()},
        "command": configuration.command(f"images/{run.files['original']}.png", run.seed),
    }


def _check_size(
    configuration: Configuration, generator: Generator | None, solver: InversionSolver[Any], bitstream: Bitstream
) -> None:
    """Raises UnsupportedCombination for a generator that makes images of another size only."""
    if configuration.generator:
        parts = configuration.generator, configuration.solver
        Decoder(*parts, generator, solver, configuration.adapter).check(bitstream)


def _recoded(codec: Codec, size: tuple[int, int] | None, images: Tensor) -> Tensor:
    """What the codec makes of byte images; `size` as its streams want it."""
    with torch.no_grad():
        return to_bytes(codec.encoder.decode(codec.encoder.encode(to_float(images)), size))
