"""From a definition to rows in a store: which runs there are, which are left, and running them.

Definition -> plan -> Plan -> (rounds) -> jobs (batches) -> Engine.map(Worker) -> Store
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path

import torch

from ..errors import IdemError, UnsupportedCombination, UsageError
from ..io.image_sets import Frame
from ..io.images import png_bytes, read_bytes
from ..metrics.building import ChosenMetric, choose_metrics
from ..pipeline.identity import CPU_FP32, Computed
from ..plugins.catalogue import Catalogue
from ..protocols import Engine, WorkerDied
from ..results.rows import RunFiles, SweepRow
from .combinations import resolve_all, trial
from .grid import Definition, Point
from .identity import Configuration
from .images import Picture, Pixels, as_pixels, open_pictures
from .store import Store
from .worker import Earlier, Finished, Job, Run, Task, Worker, failed_row, unmeasured

BATCH = 4
"""Images solved together, unless the user says otherwise."""


@dataclass(frozen=True)
class Planned:
    """A run with what it needs."""

    run: Run
    configuration: Configuration
    picture: Picture


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep once, in an order in which a worker rarely has to load another model."""

    runs: list[Planned]
    metrics: tuple[ChosenMetric, ...] = ()
    """Of single images, which rows hold."""
    refused: list[str] = field(default_factory=list)
    """Why combinations were left out that cannot work."""
    unreadable: list[IdemError] = field(default_factory=list)
    """Images that were left out."""
    same: list[str] = field(default_factory=list)
    """Images that have the pixels of another, whose runs stand for theirs."""
    images: list[str] = field(default_factory=list)
    """sha256 of the pixels of each image once, as they were given."""
    until: Mapping[str, float] = field(default_factory=dict)
    """By metric, the half-width of its interval at which a configuration needs no more images."""

    @property
    def ids(self) -> set[str]:
        return {planned.run.id for planned in self.runs}


@dataclass(frozen=True)
class Left:
    """What a store lacks of a plan."""

    runs: list[Planned]
    """To be run."""
    rows: list[tuple[Planned, SweepRow]]
    """Of runs that went well, but lack metrics."""


@dataclass(frozen=True)
class Counts:
    """What became of the runs of a plan."""

    planned: int
    earlier: int
    """Were in the store already, and were not repeated."""
    measured: int
    """Earlier runs to whose rows metrics were added."""
    failed: int
    """Planned runs whose row says that they failed, earlier ones too."""
    missing: dict[str, str]
    """Metrics that the workers could not measure, and why."""
    spared: int = 0
    """Runs that were not needed, since their configurations had images enough."""


def plan(definition: Definition, catalogue: Catalogue, computed: Computed = CPU_FP32) -> Plan:
    """Raises UsageError for what cannot be right, MissingError for weights that are not here, UnsupportedCombination if
    no combination can work."""
    configured, refused = resolve_all(catalogue, definition.points(), computed, trial())
    if not configured:
        raise UnsupportedCombination(f"No combination of the sweep can work. {' '.join(refused)}".strip())
    metrics = tuple(one for one in choose_metrics(catalogue, definition.metrics) if one.spec.kind == "image")
    pictures, unreadable = open_pictures(definition.images, Frame(definition.crop, definition.size), definition.limit)
    runs: dict[str, Planned] = {}
    for configuration, seed in _drawn(configured):
        for picture in pictures:
            run = _run(configuration, picture, seed)
            runs.setdefault(run.id, Planned(run, configuration, picture))
    images = list(dict.fromkeys(picture.sha256 for picture in pictures))
    in_order, until = sorted(runs.values(), key=_order), _checked(definition.until, [metric.name for metric in metrics])
    return Plan(in_order, metrics, refused, unreadable, _twins(pictures), images, until)


def _drawn(configured: Sequence[tuple[Configuration, Point]]) -> Iterator[tuple[Configuration, int]]:
    """Each configuration with its seeds; with the first alone where every seed would give the same image."""
    seeds: dict[str, tuple[Configuration, list[int]]] = {}
    for configuration, point in configured:
        seeds.setdefault(configuration.key, (configuration, []))[1].append(int(point.get("seed", 0)))
    for configuration, numbers in seeds.values():
        yield from ((configuration, seed) for seed in configuration.selection.different(numbers))


def _checked(until: Mapping[str, float], metrics: Sequence[str]) -> Mapping[str, float]:
    """Raises UsageError for a metric that the runs do not measure."""
    for name in until:
        if name not in metrics:
            hint = f"Add it to the metrics of single images: {', '.join(metrics)}."
            raise UsageError(f"until: the sweep does not measure '{name}'.", hint)
    return until


def _twins(pictures: list[Picture]) -> list[str]:
    """Each image that has the pixels of one before it, in words."""
    first: dict[str, Picture] = {}
    found = []
    for picture in pictures:
        if (known := first.setdefault(picture.sha256, picture)) is not picture:
            found.append(f"{picture.source} has the pixels of {known.source}, whose runs stand for it")
    return found


def execute_all(
    store: Store,
    plan: Plan,
    engine: Engine,
    work: Callable[[], Worker],
    batch: int = BATCH,
    retry_failed: bool = False,
    progress: Callable[[int], None] = lambda runs: None,
) -> Counts:
    """Runs and measures what the store does not have, and records each run as soon as it is done.

    The caller holds `store.writing`. `progress` is told how many runs were recorded or measured. Whatever ends it,
    Ctrl-C too, what was recorded stays, and no worker outlives it.
    """
    left = remaining(store, plan, retry_failed)
    missing: dict[str, str] = {}
    known, measured = {row.id: row for _, row in left.rows}, 0
    with closing(_results(store, engine, work, left, batch)) as results:
        for finished in results:
            for one in finished:
                if one.row != known.get(one.row.id):
                    _record(store, one)
                    measured += one.row.id in known
                missing |= one.row.missing_metrics
            progress(len(finished))
    failed = len(plan.ids & store.ids("failed"))
    return Counts(len(plan.runs), len(plan.runs) - len(left.runs), measured, failed, missing)


def remaining(store: Store, plan: Plan, retry_failed: bool = False) -> Left:
    """What `execute_all` would run and measure; `retry_failed`: what failed, could not be measured or is lost, too."""
    present, lacking = set[str](), dict[str, SweepRow]()
    for row in store.scan():
        name = row.id
        if retry_failed and (row.status == "failed" or _lost(store, row)):
            present.discard(name)
            continue
        present.add(name)
        lacking.pop(name, None)
        if unmeasured(row, [metric.name for metric in plan.metrics], retry_failed) and _picture(store, row).is_file():
            lacking[name] = row
    runs = [planned for planned in plan.runs if planned.run.id not in present]
    return Left(runs, [(p, lacking[p.run.id]) for p in plan.runs if p.run.id in lacking])


def _results(
    store: Store, engine: Engine, work: Callable[[], Worker], left: Left, batch: int
) -> Generator[list[Finished], None, None]:
    unreadable: list[Finished] = []
    jobs = chain(_jobs(store, left.runs, batch, unreadable), _measuring_jobs(store, left.rows, batch))
    with closing(engine.map(work, jobs)) as outcomes:
        for job, result in outcomes:
            if isinstance(result, WorkerDied) and job.earlier:
                yield [Finished(one.row, {}) for one in job.earlier]
            elif isinstance(result, WorkerDied):
                reason = f"{result.reason} Try a smaller --batch, with --retry-failed."
                yield [Finished(failed_row(job.configuration, run, reason), {}) for run in job.runs]
            else:
                yield result
    yield unreadable


def _jobs(store: Store, left: list[Planned], batch: int, unreadable: list[Finished]) -> Iterator[Job]:
    """Reads images as they are asked for, and stores each original before any row refers to it."""
    for _, group in groupby(left, key=_order):
        while some := list(islice(group, batch)):
            read = [(planned, _pixels(planned, unreadable)) for planned in some]
            whole = [(planned, pixels) for planned, pixels in read if pixels is not None]
            for planned, pixels in whole:
                _store_image(store, str(planned.run.files.original), partial(_png, pixels))
            if whole:
                yield Job(some[0].configuration, tuple(Task(planned.run, pixels) for planned, pixels in whole))


def _measuring_jobs(store: Store, rows: list[tuple[Planned, SweepRow]], batch: int) -> Iterator[Job]:
    """Jobs for runs in the store whose pictures can be read."""
    for _, group in groupby(rows, key=lambda pair: _order(pair[0])):
        while some := list(islice(group, batch)):
            tasks = list[Task]()
            for planned, row in some:
                with suppress(IdemError):
                    earlier = Earlier(row, as_pixels(read_bytes(_picture(store, row))))
                    tasks.append(Task(planned.run, planned.picture.pixels(), earlier))
            if tasks:
                yield Job(some[0][0].configuration, tuple(tasks))


def _lost(store: Store, row: SweepRow) -> bool:
    return not all(store.path(str(name)).is_file() for name in row.files.to_json().values() if name)


def _picture(store: Store, row: SweepRow) -> Path:
    """The reconstruction of a run that went well."""
    return store.path(str(row.files.reconstruction))


def _pixels(planned: Planned, unreadable: list[Finished]) -> Pixels | None:
    """None for a file that changed or went away since the plan, with a failed run among `unreadable`."""
    try:
        return planned.picture.pixels()
    except IdemError as error:
        unreadable.append(Finished(failed_row(planned.configuration, planned.run, str(error)), {}))
        return None


def _record(store: Store, finished: Finished) -> None:
    """Images first: a row refers to nothing that is not there."""
    for name, png in finished.images.items():
        if name == Path(str(finished.row.files.reconstruction)).stem:
            store.write_image(name, png)
        else:
            _store_image(store, name, lambda png=png: png)  # type: ignore[misc]
    store.append(finished.row)


def _store_image(store: Store, name: str, png: Callable[[], bytes]) -> None:
    """Stores an image that several runs share."""
    if not store.image(name).is_file():
        store.write_image(name, png())


def _png(pixels: Pixels) -> bytes:
    return png_bytes(torch.from_numpy(pixels).permute(2, 0, 1))


def _run(configuration: Configuration, picture: Picture, seed: int) -> Run:
    name = configuration.run_id(picture.sha256, seed)
    decoded = f"{configuration.decoded_id(picture.sha256)}-decoded"
    return Run(name, seed, picture.facts, RunFiles(picture.key, decoded, name))


def _order(planned: Planned) -> tuple[str, int, int]:
    return planned.configuration.key, planned.picture.width, planned.picture.height
