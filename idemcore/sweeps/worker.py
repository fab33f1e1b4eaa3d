"""What a worker does with a job: encodes, solves, certifies and measures a batch of images of one size.

The library's own steps, as `idem run` takes them, with the batch where that has one image: noise belongs to an image,
so a run's result does not depend on its batch, but for how a network rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import IdemError
from ..evaluation.draws import (
    Encoded,
    case_again,
    case_of,
    each_or_alone,
    encode,
    finite_or_none,
    measure,
    watches_memory,
)
from ..hookspecs import GeneratorSpec
from ..io.images import png_bytes, to_bytes
from ..metrics.building import ChosenMetric, build
from ..metrics.occupancy import histograms
from ..pipeline.certificate import finite
from ..pipeline.codec import Codec
from ..pipeline.decoder import Decoder
from ..plugins.selection import Part
from ..protocols import Generator, Metric
from ..results.base import as_json
from ..results.case import Case
from ..results.rows import ImageFacts, RunFiles, SweepRow
from ..runtime import Runtime
from ..weights.digest import digest, weights_sha256
from .identity import Configuration
from .images import Pixels

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
    image: ImageFacts
    files: RunFiles
    """Their names alone, without folder and suffix."""


@dataclass(frozen=True)
class Earlier:
    """What the store has of a run."""

    row: SweepRow
    reconstruction: Pixels


@dataclass(frozen=True)
class Task:
    """A run with the pixels of its image."""

    run: Run
    pixels: Pixels
    earlier: Earlier | None = None
    """Of a run that is there already, and only lacks metrics."""


@dataclass(frozen=True)
class Job:
    """Runs of one configuration on images of one size, solved as one batch, or measured again as one."""

    configuration: Configuration
    tasks: tuple[Task, ...]

    @property
    def runs(self) -> list[Run]:
        return [task.run for task in self.tasks]

    @property
    def earlier(self) -> list[Earlier]:
        """One a task if they are there already, else none."""
        return [task.earlier for task in self.tasks if task.earlier]


@dataclass(frozen=True)
class Finished:
    """The row of a run, and its images as PNG files by the name that `Run.files` gave them."""

    row: SweepRow
    images: dict[str, bytes]


class Worker:
    """Keeps what it loads: codecs, generators, metrics."""

    def __init__(self, device: str, precision: str, metrics: Sequence[ChosenMetric]) -> None:
        """Raises MissingError if the device is not there. Metrics that cannot be built here are noted in the rows."""
        self.runtime = Runtime.choose(device, precision)
        self.metrics, self.missing = build(metrics, self.runtime)
        self._codecs, self._generators = Kept[Codec](CODECS), Kept[Generator](GENERATORS)

    def __call__(self, job: Job) -> list[Finished]:
        """One for each run. A batch that fails is tried run by run; a run that fails has a row that says why."""
        work = self._measure_again if job.earlier else self._draw
        outcomes = each_or_alone(job.tasks, partial(work, job.configuration))
        return [self._failed(job.configuration, task, outcome) if isinstance(outcome, IdemError) else outcome
                for task, outcome in zip(job.tasks, outcomes, strict=True)]  # fmt: skip

    def _failed(self, configuration: Configuration, task: Task, error: IdemError) -> Finished:
        """What is known of a run that went well is not given up."""
        if not task.earlier:
            return Finished(failed_row(configuration, task.run, str(error)), {})
        row = task.earlier.row
        unmeasured = {m.name: str(error) for m in self.metrics if m.name not in row.metrics}
        return Finished(replace(row, missing_metrics={**self._missing(row), **unmeasured}), {})

    def _draw(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Finished]:
        images = self._encoded(configuration, tasks)
        drawn = self._decoder(configuration).draw(
            [image.bitstream for image in images],
            [task.run.seed for task in tasks],
            tradeoff=configuration.tradeoff,
            watch_memory=watches_memory(self.metrics),
        )
        case = case_of(images, drawn)
        measured, plain = self._measure(self.metrics, case)
        positions, certified = histograms(case), drawn.certified
        decoded = to_bytes(drawn.cell.centre)
        encoding = sum(image.seconds for image in images) / len(images)
        rows = [
            replace(
                _row(configuration, task.run),
                metrics=measured[b],
                decoded_metrics=plain[b],
                missing_metrics=self.missing,
                exact=certified.exact[b],
                differing_symbols=certified.differing_symbols[b],
                psnr_moved=finite(certified.psnr_moved[b]),
                positions=positions[b],
                bytes=len(images[b].bitstream.data),
                nfe=drawn.solution.nfe,
                backwards=drawn.solution.backwards,
                seconds={"encode": encoding, **drawn.seconds},
                batch=len(tasks),
                device=str(self.runtime.device),
            )
            for b, task in enumerate(tasks)
        ]
        return [
            Finished(row, {
                str(task.run.files.decoded): png_bytes(decoded[b]),
                str(task.run.files.reconstruction): png_bytes(certified.image[b]),
            })
            for b, (task, row) in enumerate(zip(tasks, rows, strict=True))
        ]  # fmt: skip

    def _encoded(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Encoded]:
        codec, images = self._codec(configuration), as_bytes([task.pixels for task in tasks]).split(1)
        pairs = zip(tasks, images, strict=True)
        return [encode(codec, task.run.image.sha256, image) for task, image in pairs]

    def _measure(self, metrics: Sequence[Metric], case: Case) -> tuple[list[Measured], list[dict[str, float]]]:
        """Measures each reconstruction, and of each plain decode what is defined."""
        of_each = [finite_or_none(values) for values in measure(metrics, case)]
        of_plain = [finite_or_none(values) for values in measure(metrics, case.plain())]
        return of_each, [{name: v for name, v in values.items() if v is not None} for values in of_plain]

    def _measure_again(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Finished]:
        """Adds metrics to rows, from their pictures and the bitstream of the original; no image is solved again.

        What only the solver knew, such as the peak of memory, is undefined now.
        """
        earlier = [task.earlier for task in tasks if task.earlier]
        rows = [one.row for one in earlier]
        here = set[str].intersection(*(set(row.metrics) for row in rows))
        lacking = [metric for metric in self.metrics if metric.name not in here]
        if not lacking:
            return [Finished(replace(row, missing_metrics=self._missing(row)), {}) for row in rows]
        shown = as_bytes([one.reconstruction for one in earlier])
        measured, plain = self._measure(lacking, case_again(self._encoded(configuration, tasks), shown, rows))
        return [
            Finished(
                replace(
                    row,
                    metrics={**new, **row.metrics},
                    decoded_metrics={**new_plain, **row.decoded_metrics},
                    missing_metrics=self._missing(row),
                ),
                {},
            )
            for row, new, new_plain in zip(rows, measured, plain, strict=True)
        ]

    def _missing(self, row: SweepRow) -> Mapping[str, str]:
        """What the row still lacks, once all metrics that are here are measured."""
        here = {metric.name for metric in self.metrics}
        earlier = {name: why for name, why in row.missing_metrics.items() if name not in here}
        return {**earlier, **self.missing}

    def _codec(self, configuration: Configuration) -> Codec:
        facts = configuration.facts
        return self._codecs(
            digest([facts.codec, facts.weights.get("codec")]),
            partial(Codec.build, configuration.selection.codec, self.runtime),
        )

    def _decoder(self, configuration: Configuration) -> Decoder:
        def load(part: Part[GeneratorSpec], runtime: Runtime) -> Generator:
            key = digest([part.distribution, part.spec.name, as_json(asdict(part.config)), weights_sha256(part)])
            return self._generators(key, partial(part.build, runtime))

        return Decoder.build(configuration.selection, self.runtime, load)


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


def unmeasured(row: SweepRow, metrics: Sequence[str], missing_too: bool) -> bool:
    """One of these was not asked for when the row was written, or (`missing_too`) could not be measured then.

    A null in the row is measured, but undefined.
    """
    if row.status != "ok":
        return False
    there = row.metrics.keys() | (set() if missing_too else row.missing_metrics.keys())
    return not there.issuperset(metrics)


def as_bytes(pixels: Sequence[Pixels]) -> Tensor:
    """Uint8 [B,3,H,W]."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def failed_row(configuration: Configuration, run: Run, error: str) -> SweepRow:
    """The row of a run that gave nothing."""
    return replace(_row(configuration, run), status="failed", error=" ".join(error.split()), files=RunFiles())


def _row(configuration: Configuration, run: Run) -> SweepRow:
    """What is known of a run before it starts."""
    names = (run.files.original, run.files.decoded, run.files.reconstruction)
    return SweepRow(
        id=run.id,
        status="ok",
        image=run.image,
        seed=run.seed,
        files=RunFiles(*(f"images/{name}.png" for name in names)),
        command=configuration.command(f"images/{run.files.original}.png", run.seed),
        **vars(configuration.facts),
    )
