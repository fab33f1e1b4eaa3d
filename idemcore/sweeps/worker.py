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

from ..errors import IdemError
from ..evaluation.evaluation import known, measure
from ..hookspecs import GeneratorSpec
from ..io.images import png_bytes, to_bytes, to_float
from ..metrics.building import build, find
from ..metrics.case import Case
from ..metrics.occupancy import histograms
from ..observe.cost import Stopwatch
from ..pipeline.certificate import finite
from ..pipeline.certify import Certified
from ..pipeline.codec import Bitstream, Codec
from ..pipeline.decoder import Decoder, joint_cell
from ..plugins.blame import origin
from ..plugins.catalogue import load_catalogue
from ..plugins.selection import Part
from ..protocols import Cell, Generator, Metric, Solution
from ..runtime import Runtime, wait
from ..weights.digest import digest
from .identity import Configuration
from .images import Pixels
from .store import Row

CODECS, GENERATORS = 4, 2
"""How many of each a worker keeps loaded."""

T = TypeVar("T")
Measured = dict[str, float | None]
"""By metric; None where undefined."""


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
class Earlier:
    """What the store has of a run."""

    row: Row
    reconstruction: Pixels


@dataclass(frozen=True)
class Job:
    """Runs of one configuration on images of one size, solved as one batch."""

    configuration: Configuration
    runs: tuple[Run, ...]
    pixels: tuple[Pixels, ...]
    """One a run."""
    earlier: tuple[Earlier, ...] = ()
    """One a run where runs are there already, and only lack metrics."""

    def singly(self) -> list[Job]:
        """The same as jobs of one run each."""
        return [
            replace(self, runs=self.runs[k : k + 1], pixels=self.pixels[k : k + 1], earlier=self.earlier[k : k + 1])
            for k in range(len(self.runs))
        ]


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
            return self._measure_again(job) if job.earlier else self._finish(job, self._solve(job))
        except Exception as error:
            if len(job.runs) > 1:
                return [finished for one in job.singly() for finished in self(one)]
            if job.earlier:  # what is known of a run that went well is not given up
                row, reason = job.earlier[0].row, told(error)
                missing = {m.name: reason for m in self.metrics if m.name not in row["metrics"]}
                return [Finished({**row, "missing_metrics": {**self._missing(row), **missing}}, {})]
            return [Finished(failed_row(job.configuration, job.runs[0], told(error)), {})]

    def _solve(self, job: Job) -> Batch:
        codec, decoder = self._codec(job.configuration), self._decoder(job.configuration)
        clock = Stopwatch()
        images = to_float(as_bytes(job.pixels))
        with clock("encode"):
            bitstreams = [codec.encode(image[None]) for image in images]
        with clock("decode"):
            cell = joint_cell(bitstreams)
            wait(self.runtime.device)
        seeds, watched = [run.seed for run in job.runs], self._asked("peak-memory")
        drawn = decoder.draw(bitstreams, seeds, tradeoff=job.configuration.tradeoff, watch_memory=watched)
        peak = drawn.peak_bytes
        seconds = {stage: spent / len(job.runs) for stage, spent in clock.seconds.items()} | drawn.seconds
        recode = partial(_recoded, codec, bitstreams[0].contained_size)
        return Batch(to_bytes(images), bitstreams, cell, drawn.solution, drawn.certified, recode, seconds, peak)

    def _finish(self, job: Job, batch: Batch) -> list[Finished]:
        case = as_case(job, batch)
        measured, plain = self._measure(self.metrics, case)
        positions = histograms(case)
        decoded, images = to_bytes(batch.cell.centre), batch.certified.image
        return [
            Finished(
                {
                    **_row(job.configuration, run),
                    "metrics": measured[b],
                    "decoded_metrics": plain[b],
                    "missing_metrics": self.missing,
                    "exact": batch.certified.exact[b],
                    "differing_symbols": batch.certified.differing_symbols[b],
                    "psnr_moved": finite(batch.certified.psnr_moved[b]),
                    "positions": positions[b],
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

    def _measure(self, metrics: Sequence[Metric], case: Case) -> tuple[list[Measured], list[Measured]]:
        """Of each reconstruction, and what is defined of each plain decode."""
        of_each = [known(values) for values in measure(metrics, case)]
        of_plain = [known(values) for values in measure(metrics, case.plain())]
        return of_each, [{name: v for name, v in values.items() if v is not None} for values in of_plain]

    def _measure_again(self, job: Job) -> list[Finished]:
        """Adds metrics to rows, from their pictures and the bitstream of the original; no image is solved again.

        What only the solver knew, such as the peak of memory, is undefined now.
        """
        known = set[str].intersection(*(set(one.row["metrics"]) for one in job.earlier))
        lacking = [metric for metric in self.metrics if metric.name not in known]
        if not lacking:
            return [Finished({**one.row, "missing_metrics": self._missing(one.row)}, {}) for one in job.earlier]
        codec = self._codec(job.configuration)
        measured, plain = self._measure(lacking, case_again(job, codec))
        return [
            Finished(
                {
                    **one.row,
                    "metrics": {**new, **one.row["metrics"]},
                    "decoded_metrics": {**new_plain, **one.row["decoded_metrics"]},
                    "missing_metrics": self._missing(one.row),
                },
                {},
            )
            for one, new, new_plain in zip(job.earlier, measured, plain, strict=True)
        ]

    def _missing(self, row: Row) -> dict[str, str]:
        """What the row still lacks, once all metrics that are here are measured."""
        here = {metric.name for metric in self.metrics}
        earlier = {name: why for name, why in row["missing_metrics"].items() if name not in here}
        return {**earlier, **self.missing}

    def _codec(self, configuration: Configuration) -> Codec:
        facts = configuration.facts
        return self._codecs(
            digest([facts["codec"], facts["weights"].get("codec")]),
            partial(Codec.build, configuration.selection.codec, self.runtime),
        )

    def _decoder(self, configuration: Configuration) -> Decoder:
        key = digest([configuration.facts["generator"], configuration.facts["weights"].get("generator")])

        def load(part: Part[GeneratorSpec], runtime: Runtime) -> Generator:
            return self._generators(key, partial(part.build, runtime))

        return Decoder.build(configuration.selection, self.runtime, load)

    def _asked(self, metric: str) -> bool:
        return any(one.name == metric for one in self.metrics)


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


def case_again(job: Job, codec: Codec) -> Case:
    """What metrics are asked about, of runs that are in the store."""
    originals, shown = as_bytes(job.pixels), as_bytes([one.reconstruction for one in job.earlier])
    bitstreams = [codec.encode(to_float(image[None])) for image in originals]
    device = bitstreams[0].decoded.device
    cell = joint_cell(bitstreams)
    rows = [one.row for one in job.earlier]
    exact = torch.tensor([bool(row["exact"]) for row in rows])
    shown = shown.to(device)
    return Case(
        images=tuple(str(run.image["sha256"]) for run in job.runs),
        reconstruction=shown,
        original=originals.to(device),
        decoded=to_bytes(cell.centre),
        recode=partial(_recoded, codec, bitstreams[0].contained_size),
        streams=tuple(bitstream.stream for bitstream in bitstreams),
        file_bits=torch.tensor([8 * len(bitstream.data) for bitstream in bitstreams]),
        cell=cell,
        exact=exact,
        differing_symbols=torch.tensor([row["differing_symbols"] for row in rows]),
        nfe=torch.tensor([row["nfe"] for row in rows]),
        backwards=torch.tensor([row["backwards"] for row in rows]),
        seconds=torch.tensor([row["seconds"]["solve"] + row["seconds"]["certify"] for row in rows]).double(),
    )


def unmeasured(row: Row, metrics: Sequence[str], missing_too: bool) -> bool:
    """One of these was not asked for when the row was written, or (`missing_too`) could not be measured then.

    A null in the row is measured, but undefined.
    """
    if row["status"] != "ok":
        return False
    known = row["metrics"].keys() | (set() if missing_too else row.get("missing_metrics", {}).keys())
    return not known.issuperset(metrics)


def as_bytes(pixels: Sequence[Pixels]) -> Tensor:
    """Uint8 [B,3,H,W]."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def failed_row(configuration: Configuration, run: Run, error: str) -> Row:
    """Of a run that gave nothing."""
    measured = ("exact", "differing_symbols", "psnr_moved", "bytes", "nfe", "backwards")
    nothing: dict[str, Any] = {"metrics": {}, "decoded_metrics": {}, "seconds": {}, **dict.fromkeys(measured)}
    return {**_row(configuration, run), **nothing, "status": "failed", "error": error, "files": {}}


def told(error: Exception) -> str:
    """In one line, with the place of what a plugin did not expect."""
    text = " ".join(str(error).split())
    if isinstance(error, IdemError):
        return text
    place = origin(error)
    return f"{type(error).__name__}: {text}" + (f" ({place})" if place else "")


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


def _recoded(codec: Codec, size: tuple[int, int] | None, images: Tensor) -> Tensor:
    """What the codec makes of byte images; `size` as its streams want it."""
    with torch.no_grad():
        return to_bytes(codec.encoder.decode(codec.encoder.encode(to_float(images)), size))
