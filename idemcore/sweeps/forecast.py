"""What a sweep will take, before it runs: runs, hours and disk, from runs in the store or from a run on a crop.

Plan -> groups (all but the codec's rate) -> Pace of each: rows of the store, else one run on a crop -> Forecast
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..results.base import JsonObject
from ..results.rows import ConfigurationFacts, SweepRow
from .images import Pixels
from .run import Left, Plan, Planned
from .store import Store
from .worker import Job, Task, Worker

CROP, WARM_UP = 256, 64
"""Sides of the crops that a pace is measured on, and on which models are loaded before, pixels."""
MEASURED_WITH = ("generator", "solver", "adapter", "restorer", "precision")


@dataclass(frozen=True)
class Pace(JsonObject):
    """How fast one group of configurations runs; groups differ in more than the codec's numbers and the trade-off."""

    name: str
    """Codec, generator and solver."""
    runs: int
    """Still to be run."""
    passes: float | None
    """Of the network, forwards, of an image; null where no run went well."""
    passes_second: float | None
    """While it solves, an image's share of a batch."""
    seconds: float | None
    """Of one worker, of all its runs: encoding, solving, certifying, measuring."""
    bytes: float | None
    """Of its pictures in the store."""
    source: str
    """What it was measured on, or why it could not be."""


@dataclass(frozen=True)
class Forecast(JsonObject):
    """What a sweep will take."""

    runs: int
    """Of the plan."""
    earlier: int
    """In the store already."""
    left_out: tuple[str, ...]
    """Combinations, and why."""
    seconds: float
    """Of one worker, for the groups that could be measured."""
    workers: int
    """That the engine has, where it says so; else 1."""
    bytes: float
    """Of disk, for the same groups."""
    paces: tuple[Pace, ...]
    """One a group."""


def forecast(store: Store, plan: Plan, left: Left, work: Callable[[], Worker], workers: int = 1) -> Forecast:
    """Forecasts the runs that are left. Builds a worker only for groups of which the store holds no run."""
    groups: dict[str, list[Planned]] = {}
    for planned in left.runs:
        groups.setdefault(_group(planned.configuration.facts), []).append(planned)
    known = _known(store, groups.keys()) if store.path("rows.jsonl").is_file() else {}
    worker = work() if groups.keys() - known.keys() else None
    paces = tuple(
        _pace_of_rows(store, runs, known[key]) if key in known else _pace_of_crop(worker, runs)
        for key, runs in groups.items()
    )
    seconds, size = (sum(getattr(pace, key) or 0.0 for pace in paces) for key in ("seconds", "bytes"))
    refused = tuple(plan.refused)
    return Forecast(len(plan.runs), len(plan.runs) - len(left.runs), refused, seconds, workers, size, paces)


def _group(facts: ConfigurationFacts | SweepRow) -> str:
    codec = {key: value for key, value in facts.codec.items() if not isinstance(value, int | float)}
    return json.dumps([codec, *(getattr(facts, key) for key in MEASURED_WITH)], sort_keys=True)


def _known(store: Store, wanted: Any) -> dict[str, list[SweepRow]]:
    found: dict[str, list[SweepRow]] = {}
    for row in store.rows():
        if row.status == "ok" and row.nfe is not None and (key := _group(row)) in wanted:
            found.setdefault(key, []).append(row)
    return found


def _pace_of_rows(store: Store, runs: Sequence[Planned], rows: Sequence[SweepRow]) -> Pace:
    """The pace of rows whose images may have another size."""
    pixels = sum(row.image.width * row.image.height for row in rows)
    seconds = sum(sum(row.seconds.values()) for row in rows)
    size = sum(_size(store, row.files.reconstruction) for row in rows)
    passes, solving = (sum(values) for values in zip(*(_solved(row) for row in rows), strict=True))
    return _pace(runs, (seconds / pixels, size / pixels), passes / len(rows), passes / solving if solving else None,
                 f"{len(rows)} runs in the store")  # fmt: skip


def _pace_of_crop(worker: Worker | None, runs: Sequence[Planned]) -> Pace:
    """The pace of one run on a crop of the first image, after a run on a smaller crop that loads the models."""
    assert worker is not None
    first = runs[0]
    _timed(worker, first, WARM_UP)
    row, seconds, size, side = _timed(worker, first, CROP)
    if row.status != "ok":
        return Pace(_name(first), len(runs), None, None, None, None, f"not measured: {row.error}")
    pixels = row.image.width * row.image.height
    passes, solving = _solved(row)
    return _pace(runs, (seconds / pixels, size / pixels), passes, passes / solving if solving else None, side)


def _pace(
    runs: Sequence[Planned], a_pixel: tuple[float, float], passes: float, passes_second: float | None, source: str
) -> Pace:
    total = sum(one.picture.width * one.picture.height for one in runs)
    seconds, size = (total * value for value in a_pixel)
    return Pace(_name(runs[0]), len(runs), passes, passes_second, seconds, size, source)


def _timed(worker: Worker, planned: Planned, side: int) -> tuple[SweepRow, float, int, str]:
    """The row of the run on a crop, wall time, bytes of its pictures, and what the crop is."""
    pixels = middle(planned.picture.pixels(), side)
    height, width = pixels.shape[:2]
    image = replace(planned.run.image, width=width, height=height)
    job = Job(planned.configuration, (Task(replace(planned.run, image=image), pixels),))
    begin = time.perf_counter()
    (finished,) = worker(job)
    seconds = time.perf_counter() - begin
    what = f"{width}x{height} pixels of {planned.picture.source.name}"
    return finished.row, seconds, sum(map(len, finished.images.values())), what


def middle(pixels: Pixels, side: int) -> Pixels:
    """Its middle, at most so many pixels wide and high."""
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _solved(row: SweepRow) -> tuple[float, float]:
    """Passes that a batch takes, and the seconds of solving that are one image's share."""
    return float(row.nfe or 0), row.seconds.get("solve", 0.0)


def _size(store: Store, name: str | None) -> int:
    path = store.path(name or "")
    return path.stat().st_size if name and path.is_file() else 0


def _name(planned: Planned) -> str:
    facts = planned.configuration.facts
    return " + ".join(str(part["name"]) for part in (facts.codec, facts.generator, facts.solver) if part)
